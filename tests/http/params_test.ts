import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FOREIGN } from "../../lib/core/cursor.ts";
import { Batch } from "../../lib/core/message.ts";
import { checkData, checkName, MAX_NAME } from "../../lib/core/names.ts";
import { Refusal } from "../../lib/core/refusal.ts";
import { parseObject } from "../../lib/http/json.ts";
import {
  MAX_PARAMETERS,
  Params,
  readParams,
  type RequestLimits,
  wholeNumber,
} from "../../lib/http/params.ts";
import { KNOWN, type ParameterName } from "../../lib/http/parameter_names.ts";
import { readPublications } from "../../lib/http/publish.ts";
import { joinsOf, MAX_CALLBACK, MAX_TIMEOUT, subscribeRequest } from "../../lib/http/subscribe.ts";
import { jsonp, raw, river, riverV1, sse } from "../../lib/http/transports/formats.ts";
import { bodiesOf } from "../support/server.ts";

const LIMITS: RequestLimits = {
  maxMessage: 8,
  maxBody: 100,
  maxBatch: 5,
  maxChannelsPerClient: 3,
};
const ROOMY: RequestLimits = {
  maxMessage: 1e6,
  maxBody: 1e6,
  maxBatch: 1000,
  maxChannelsPerClient: 128,
};

const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";
const NDJSON = "application/x-ndjson";

function form(text: string): Params {
  return new Params().addForm(text).check();
}

function json(text: string): Params {
  return new Params().addJson(text).check();
}

/** How an action is refused: `STATUS CODE: MESSAGE`. */
function refusal(action: () => unknown): string {
  return shown(assertThrows(action, Refusal));
}

async function rejection(action: () => PromiseLike<unknown>): Promise<string> {
  return shown(await assertRejects(action, Refusal));
}

function shown({ status, code, message }: Refusal): string {
  return `${status} ${code}: ${message}`;
}

/** The refusal of a parameter that is there, but wrong. */
function bad(name: string, message: string): string {
  return `400 bad_parameter: Bad parameter "${name}": ${message}`;
}

const MISSING_NAME = '400 missing_parameter: Parameter "name" is missing';
const MISSING_DATA = '400 missing_parameter: Parameter "data" is missing';
const HALF_PAIR = "it contains half a surrogate pair, which UTF-8 cannot encode";

function subscription(text: string, headers: Record<string, string> = {}) {
  return subscribeRequest(form(text), new Headers(headers), LIMITS);
}

function post(body: BodyInit | null, type?: string): Request {
  const request = new Request("http://river.test/", { method: "POST", body });
  request.headers.delete("content-type");
  if (type !== undefined) request.headers.set("content-type", type);
  // As every client that has the whole body.
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body ?? [];
  if ("length" in bytes) request.headers.set("content-length", String(bytes.length));
  return request;
}

async function publications(request: Request, search = "", limits = LIMITS) {
  return await readPublications(request, form(search), limits, bodiesOf(limits));
}

// Forms

for (
  const [text, data] of [
    ["data=", ""],
    ["data", ""],
    ["data=a=b=", "a=b="],
    ["data=a+b%20c", "a b c"],
    ["data=a%2Bb%26c%3dd%25", "a+b&c=d%"],
    ["data=%C3%A9%e2%82%ac%F0%9F%98%80", "é€😀"],
    ["data=é€😀", "é€😀"],
    ["data=%00%0d%0A%7F", "\0\r\n\x7f"],
    ["data=%EF%BB%BFa", "\ufeffa"],
    ["data=%E2%80%A8\u2029", "\u2028\u2029"],
    ['data="\\', '"\\'],
    ["data=a;b#c?d/", "a;b#c?d/"],
    ["&&data=a&&", "a"],
    ["=x&data=a&=", "a"],
    ["other=%zz&data=a&__proto__=%FF", "a"],
    ["%64ata=a", "a"],
    ["d%61t%61=%61", "a"],
    ["%64%61%74%61", ""],
    ["%2564ata=b&data%3D=c&data=a&%64ata%20=d", "a"],
    ["dat%=b&data%FF=c&data=a&%zz=d&%=e", "a"],
    ["DATA=b&data=a&data2=c& data=d", "a"],
  ]
) {
  Deno.test(`Params.addForm() decodes ${JSON.stringify(text)}`, () => {
    assertEquals(form(text).get("data"), data);
  });
}

const PERCENT = "a percent sign must be written as %25";
const NOT_UTF8 = "it is not UTF-8";

for (
  const [text, reason] of [
    ["%", PERCENT],
    ["100%", PERCENT],
    ["%4", PERCENT],
    ["%zz", PERCENT],
    ["%u00e9", PERCENT],
    ["%C3%A9%", PERCENT],
    ["%FF", NOT_UTF8],
    ["%C3", NOT_UTF8],
    ["%C3x", NOT_UTF8],
    ["%80", NOT_UTF8],
    ["%C0%80", NOT_UTF8],
    ["%ED%A0%80", NOT_UTF8],
    ["%F4%90%80%80", NOT_UTF8],
    ["%E9t%E9", NOT_UTF8],
  ]
) {
  Deno.test(`Params.addForm() refuses the value ${text}, and shows it unless it is a secret`, () => {
    for (const name of ["data", "name", "n%61me"]) {
      const meant = decodeURIComponent(name);
      assertEquals(refusal(() => form(`${name}=${text}`)), bad(meant, `${reason}: "${text}"`));
    }
    assertEquals(refusal(() => form(`token=${text}`)), bad("token", `${reason}: a secret`));
  });
}

/** Holds a form to what the platform finds in it. */
function assertAsPlatform(text: string): void {
  const params = new Params().addForm(text);
  const model = new URLSearchParams(text);
  for (const name of KNOWN) {
    const values = model.getAll(name);
    assertEquals(params.has(name), values.length > 0);
    if (values.length < 2) assertEquals(params.get(name), values[0]);
    else assertMatch(refusal(() => params.get(name)), new RegExp(` ${values.length} times`));
  }
}

Deno.test("Params.addForm() decodes as URLSearchParams does", () => {
  const piece = fc.oneof(
    fc.constantFrom("+", "=", ";", "%20", "%2B", "%26", "%3d", "%25", "%00", "%0A", "%EF%BB%BF"),
    fc.constantFrom("%C3%A9", "%e2%80%a8", "%F0%9F%98%80"),
    fc.string({ unit: "binary", maxLength: 3 }).map((text) => text.replace(/[%&]/g, "")),
    fc.string({ unit: "binary", maxLength: 3 }).map(encodeURIComponent),
  );
  const anyName = fc.tuple(fc.constantFrom(...KNOWN, "other"), fc.nat(20)).map(([name, at]) =>
    // One character is percent-encoded, if there are so many.
    name.replace(name.charAt(at) || /$/, (char) => char && `%${char.charCodeAt(0).toString(16)}`)
  );
  const pair = fc.tuple(anyName, fc.array(piece))
    .map(([name, pieces]) => `${name}=${pieces.join("")}`);
  fc.assert(fc.property(fc.array(fc.oneof(pair, fc.constantFrom("", "data"))), (pairs) => {
    assertAsPlatform(pairs.join("&"));
  }));
});

for (
  const [what, rest] of [
    ["separators", "&".repeat(2 ** 20)],
    ["short names", "a&".repeat(990)],
    ["long names", "a".repeat(2 ** 20)],
    ["encoded names", "%61&".repeat(990)],
    ["equals signs", "=&".repeat(990)],
    ["plus signs", "other=" + "+".repeat(2 ** 20)],
  ]
) {
  // Nothing here looks at the clock: work that grows with the square of the length takes seconds.
  Deno.test(`Params.addForm() finds what URLSearchParams does among very many ${what}`, () => {
    assertAsPlatform(rest);
    assertAsPlatform(`data=a&${rest}&id=7&id=8`);
  });
}

Deno.test("Params.addForm() reads back what URLSearchParams prints", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string(), (data, name) => {
    const params = form(`${new URLSearchParams({ data, name, other: name })}`);
    assertEquals([params.get("data"), params.get("name")], [data, name]);
  }));
});

Deno.test("Params.addForm() finds its parameters among as many as are allowed", () => {
  const rest = "&a=1&name=b&keep=1".repeat(332);
  const params = form(`seq=12${rest}&data=x&a=1&a=2`);
  assertEquals([params.get("seq"), params.get("data")], ["12", "x"]);
  assertEquals(
    refusal(() => params.names(128)),
    bad("name", "it is given 332 times, but at most 128 are allowed (--max-channels-per-client)"),
  );
  assertEquals(
    refusal(() => params.get("keep")),
    '400 duplicate_parameter: Parameter "keep" is given 332 times, the first time as "1"',
  );
});

for (const part of ["a=1&", "%&", "&&seq&"]) {
  Deno.test(`Params.addForm() takes 1,000 times "${part}", and refuses one more`, () => {
    assertEquals(form(part.repeat(MAX_PARAMETERS)).has("data"), false);
    assertEquals(
      refusal(() => form(part.repeat(MAX_PARAMETERS + 1))),
      "400 too_many_parameters: A query string or form may have at most 1000 parameters",
    );
  });
}

// Values given once, and names

Deno.test("Params.get() refuses what is given twice, even with the same value", () => {
  assertEquals(
    refusal(() => form("seq=1&seq=1").get("seq")),
    '400 duplicate_parameter: Parameter "seq" is given 2 times, the first time as "1"',
  );
  assertEquals(
    refusal(() => form('data=%22%0A&data="').get("data")),
    '400 duplicate_parameter: Parameter "data" is given 2 times, the first time as "\\"\\n"',
  );
});

Deno.test("Params.get() shows no token that is given twice", () => {
  assertEquals(
    refusal(() => form("token=s3cret&token=s3cret").get("token")),
    '400 duplicate_parameter: Parameter "token" is given 2 times, the first time as a secret',
  );
});

Deno.test("Params.get() and has() tell a missing parameter from an empty one", () => {
  const params = form("data=&seq");
  assertEquals([params.has("data"), params.has("seq"), params.has("id")], [true, true, false]);
  assertEquals([params.get("data"), params.get("seq"), params.get("id")], ["", "", undefined]);
});

Deno.test("Params.set() replaces all values there were", () => {
  assertEquals(form("data=a&data=b").set("data", "c").get("data"), "c");
});

Deno.test("Params lets later values of a parameter replace earlier ones of all sources", () => {
  const params = form("name=a&name=b&data=x&seq=1").addForm("name=c&data=y").addJson(
    '{"data":"z"}',
  );
  assertEquals(params.names(1), ["c"]);
  assertEquals([params.get("data"), params.get("seq")], ["z", "1"]);
});

Deno.test("Params.names() gives the channels in order, up to the limit", () => {
  assertEquals(form("name=b&name=a&name=c").names(3), ["b", "a", "c"]);
  assertEquals(
    refusal(() => form("name=b&name=a&name=c").names(2)),
    bad("name", "it is given 3 times, but at most 2 are allowed (--max-channels-per-client)"),
  );
});

Deno.test("Params.names() refuses no name, an empty one and one given twice", () => {
  assertEquals(refusal(() => form("data=x").names(3)), MISSING_NAME);
  for (const text of ["name=", "name", "name=a&name="]) {
    assertEquals(refusal(() => form(text).names(3)), bad("name", "it is empty"));
  }
  assertEquals(
    refusal(() => form("name=a&name=b&name=%61").names(3)),
    '400 duplicate_parameter: Parameter "name" names the channel "a" twice',
  );
  assertEquals(
    refusal(() => form("name=a&name=b&name=b").names(3)),
    '400 duplicate_parameter: Parameter "name" names the channel "b" twice',
  );
});

Deno.test("checkName() lets any text pass that has no control characters", () => {
  const names = [
    "a",
    " ",
    "__proto__",
    "constructor",
    "a/b?c#d",
    '"\\',
    "é😀",
    "\ufeff",
    "\u2028",
    "~\xa0",
  ];
  for (const name of [...names, "x".repeat(MAX_NAME), "é".repeat(127) + "x"]) {
    assertEquals(checkName("name", name), undefined);
    assertEquals(form(`name=${encodeURIComponent(name)}`).names(1), [name]);
  }
});

Deno.test("checkName() refuses a byte too many, in UTF-8", () => {
  for (const name of ["x".repeat(MAX_NAME + 1), "é".repeat(128), "😀".repeat(64)]) {
    const start = JSON.stringify(name.slice(0, 64) + (name.length > 64 ? "…" : ""));
    assertEquals(
      refusal(() => checkName("name", name)),
      bad("name", `256 bytes, but 255 are allowed: ${start}`),
    );
  }
});

Deno.test("checkName() refuses control characters of both blocks", () => {
  for (const control of ["\0", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]) {
    const name = `a${control}b`;
    assertEquals(
      refusal(() => checkName("id", name)),
      bad("id", `control characters are not allowed: ${JSON.stringify(name)}`),
    );
  }
});

Deno.test("checkName() refuses half of a surrogate pair and an empty text", () => {
  assertEquals(refusal(() => checkName("channel", "a\ud83d")), bad("channel", HALF_PAIR));
  assertEquals(refusal(() => checkName("channel", "")), bad("channel", "it is empty"));
});

Deno.test("checkData() counts bytes, and lets pass what is just within the limit", () => {
  for (const data of ["", "\0\x01", "12345678", "éééé", "€€xx", "😀😀"]) {
    assertEquals(checkData("data", data, 8), undefined, data);
  }
  for (const data of ["123456789", "ééééx", "€€€", "😀😀x"]) {
    assertEquals(
      refusal(() => checkData("data", data, 8)),
      '413 message_too_large: Parameter "data" has 9 bytes, but 8 are allowed (--max-message)',
      data,
    );
  }
});

Deno.test("checkData() refuses half of a surrogate pair", () => {
  for (const data of ["\ud83d", "a\ude00b", "\ude00\ud83d"]) {
    assertEquals(refusal(() => checkData("data", data, 8)), bad("data", HALF_PAIR));
  }
});

// JSON

Deno.test("Params.addJson() reads strings as they are", () => {
  const params = json('{"name":"a","data":"\\u2028\\u0000\\"😀","id":"7","other":{"data":[null]}}');
  assertEquals(params.names(1), ["a"]);
  assertEquals([params.get("data"), params.get("id")], ['\u2028\0"😀', "7"]);
});

Deno.test("Params.addJson() reads a list of names", () => {
  assertEquals(json('{"name":["a","b"]}').names(3), ["a", "b"]);
});

Deno.test("Params.addJson() takes an empty list of names for no name, also over an earlier one", () => {
  assertEquals(refusal(() => json('{"name":[]}').names(3)), MISSING_NAME);
  assertEquals(refusal(() => form("name=a").addJson('{"name":[]}').names(3)), MISSING_NAME);
});

Deno.test("Params.addJson() reads numbers and booleans where numbers are meant", () => {
  const params = json('{"keep":true,"limit":5,"seq":990,"timeout":1.5,"format":"sse"}');
  const names: ParameterName[] = ["keep", "limit", "seq", "timeout", "format"];
  assertEquals(names.map((name) => params.get(name)), ["1", "5", "990", "1.5", "sse"]);
  assertEquals(json('{"keep":false}').get("keep"), "0");
});

for (
  const [text, name, got] of [
    ['{"data":5}', "data", "a number"],
    ['{"data":true}', "data", "a boolean"],
    ['{"data":null}', "data", "null"],
    ['{"data":["a"]}', "data", "an array"],
    ['{"data":{}}', "data", "an object"],
    ['{"name":5}', "name", "a number"],
    ['{"name":["a",5]}', "name", "a number"],
    ['{"name":[["a"]]}', "name", "an array"],
    ['{"id":7}', "id", "a number"],
    ['{"seq":null}', "seq", "null"],
    ['{"seq":["1"]}', "seq", "an array"],
    ['{"limit":{}}', "limit", "an object"],
  ]
) {
  Deno.test(`Params.addJson() refuses ${text}`, () => {
    assertEquals(refusal(() => json(text)), bad(name, `expected a string, got ${got}`));
  });
}

Deno.test("Params.addJson() takes nothing from prototypes", () => {
  const params = json('{"__proto__":{"name":"a","data":"b"},"constructor":{"name":"c"}}');
  assertEquals(KNOWN.filter((name) => params.has(name)), []);
  assertEquals(Object.hasOwn(Object.prototype, "name"), false);
});

Deno.test("parseObject() reads objects, and quotes a text that is not an object", () => {
  for (const text of [' {"a":1} ', '\ufeff{"a":1}', '\ufeff\n{"a":1}']) {
    assertEquals(parseObject(text, "the frame"), { a: 1 });
  }
  for (const text of ["null", "1", '"{}"', "[]", "[{}]", "true"]) {
    assertEquals(
      refusal(() => parseObject(text, "the frame")),
      "400 bad_json: Expected the frame to be a JSON object",
    );
  }
  const marked = ["\ufeff", "\ufeff\ufeff{}", " \ufeff{}", "{}\ufeff"];
  for (const text of ["", "{", "{}{}", "{'a':1}", '{"a":01}', '{"a":"\n"}', "NaN", ...marked]) {
    assertMatch(
      refusal(() => parseObject(text, "the frame")),
      /^400 bad_json: Cannot parse the frame as JSON: .+/,
    );
  }
});

Deno.test("parseObject() says where a text is wrong, and shows nothing of it", () => {
  for (
    const [text, flaw] of [
      ['{"token": topsecret}', "it is not valid JSON"],
      ['{"token": "topsecret" x}', "unexpected character at position 22"],
      ['{"token": "topsecret"', "unexpected character at position 21"],
      ["{", "unexpected character at position 1"],
      ["", "it is cut short"],
    ]
  ) {
    assertEquals(
      refusal(() => parseObject(text, "the body")),
      `400 bad_json: Cannot parse the body as JSON: ${flaw}`,
    );
  }
});

// Bodies

Deno.test("readParams() lets a body win over the query", async () => {
  const query = "name=q&seq=1";
  const bodies: [string, string][] = [
    ["name=b", FORM],
    ["name=b", `${FORM}; charset=UTF-8`],
    ["name=b", ` ${FORM.toUpperCase()} ;x`],
    ['{"name":"b"}', JSON_TYPE],
    ['{"name":"b"}', `${JSON_TYPE};charset=utf-8`],
  ];
  for (const [body, type] of bodies) {
    const params = await readParams(post(body, type), form(query), bodiesOf(LIMITS));
    assertEquals([params.names(1), params.get("seq")], [["b"], "1"], type);
  }
});

Deno.test("readParams() takes no parameters from a body of another type", async () => {
  for (const type of [undefined, "text/plain", NDJSON]) {
    const params = await readParams(post("name=b", type), form("name=q"), bodiesOf(LIMITS));
    assertEquals(params.names(1), ["q"], type);
  }
});

/** A body sent chunk by chunk, without a length; notes how far it was read. */
function chunked(chunks: number, size: number) {
  const seen = { pulled: 0, cancelled: false };
  const body = new ReadableStream({
    // As the runtime's own.
    type: "bytes",
    pull(controller) {
      if (seen.pulled === chunks) {
        controller.close();
        controller.byobRequest?.respond(0);
        return;
      }
      seen.pulled++;
      controller.enqueue(new Uint8Array(size).fill(0x61));
    },
    cancel() {
      seen.cancelled = true;
    },
  }, { highWaterMark: 0 });
  return { seen, body };
}

/** A body of unknown length. */
function streamOf(text: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    type: "bytes",
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
}

const TOO_LARGE = "413 body_too_large: The body is larger than 100 bytes (--max-body)";

Deno.test("readParams() reads a body of just the limit, with length and chunked", async () => {
  const text = "name=b&x=".padEnd(LIMITS.maxBody, "x");
  for (const request of [post(text, FORM), post(streamOf(text), FORM)]) {
    assertEquals((await readParams(request, form(""), bodiesOf(LIMITS))).names(1), ["b"]);
  }
});

Deno.test("readParams() refuses a body by its length without reading it", async () => {
  const { seen, body } = chunked(1, 1);
  const request = post(body, FORM);
  request.headers.set("content-length", "101");
  assertEquals(
    await rejection(async () => await readParams(request, form(""), bodiesOf(LIMITS))),
    TOO_LARGE,
  );
  assertEquals(seen.pulled, 0);
});

Deno.test("readParams() stops reading a chunked body at the limit", async () => {
  const within = chunked(10, 10);
  await readParams(post(within.body), form(""), bodiesOf(LIMITS));
  assertEquals(within.seen, { pulled: 10, cancelled: false });
  const { seen, body } = chunked(1000, 10);
  assertEquals(
    await rejection(async () => await readParams(post(body), form(""), bodiesOf(LIMITS))),
    TOO_LARGE,
  );
  assertEquals(seen, { pulled: 11, cancelled: true });
});

Deno.test("readPublications() puts the chunks of a body together", async () => {
  assertEquals(await publications(post(chunked(3, 2).body, "text/plain"), "name=a"), [
    { channel: "a", data: "aaaaaa", id: undefined },
  ]);
});

Deno.test("readParams() refuses a body that is not UTF-8, of whatever type", async () => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0x61, 0x80]]) {
    for (const type of [undefined, "text/plain", FORM, JSON_TYPE]) {
      const request = post(new Uint8Array(bytes), type);
      assertEquals(
        await rejection(async () => await readParams(request, form(""), bodiesOf(LIMITS))),
        "400 bad_encoding: The body is not UTF-8: name another encoding in Content-Type, " +
          'like "charset=iso-8859-1"',
      );
    }
  }
});

// Publishing

Deno.test("readPublications() answers at once when there is no body to read", () => {
  const query = form("name=b&name=a&data=hi+there&id=7");
  const read = readPublications(new Request("http://river.test/"), query, ROOMY, bodiesOf(ROOMY));
  assert(!(read instanceof Promise));
  assertEquals(read, [
    { channel: "b", data: "hi there", id: "7" },
    { channel: "a", data: "hi there", id: "7" },
  ]);
});

const BODIES: [string, string | undefined, string, string][] = [
  ["a form", FORM, "data=a%2Bb+c", "a+b c"],
  ["a form in capitals with a charset", "Application/X-WWW-Form-URLEncoded; a=b", "data=a", "a"],
  ["a form that says nothing", FORM, "", "query"],
  ["JSON", JSON_TYPE, '{"data":"a\\n"}', "a\n"],
  ["JSON that says nothing", JSON_TYPE, "{}", "query"],
  ["JSON after a byte order mark", JSON_TYPE, '\ufeff{"data":"a"}', "a"],
  ["plain text", "text/plain", "id=%20b+", "id=%20b+"],
  ["plain text that is empty", "text/plain", "", "query"],
  ["a type of its own", "application/vnd.x", '{"a":1}', '{"a":1}'],
  ["a byte order mark", "text/plain", "\ufeffa", "\ufeffa"],
  ["NUL", "text/plain", "\0", "\0"],
  ["no type", undefined, "a&b", "a&b"],
  ["neither a type nor a body", undefined, "", "query"],
];

for (const [what, type, body, data] of BODIES) {
  Deno.test(`readPublications() reads a body of ${what}`, async () => {
    assertEquals(await publications(post(body, type), "name=x&data=query"), [
      { channel: "x", data, id: undefined },
    ]);
  });
}

const REFUSED: [string, string | undefined, string, string][] = [
  ["no name", FORM, "data=x", MISSING_NAME],
  ["no data", FORM, "name=a", MISSING_DATA],
  ["nothing at all", undefined, "", MISSING_NAME],
  ["no name for a body", "text/plain", "hi", MISSING_NAME],
  [
    "data twice",
    FORM,
    "name=a&data=x&data=y",
    '400 duplicate_parameter: Parameter "data" is given 2 times, the first time as "x"',
  ],
  [
    "too much data",
    FORM,
    "name=a&data=%C3%A9%C3%A9%C3%A9%C3%A9x",
    '413 message_too_large: Parameter "data" has 9 bytes, but 8 are allowed (--max-message)',
  ],
  ["half a pair", JSON_TYPE, '{"name":"a","data":"\\ud83d"}', bad("data", HALF_PAIR)],
  ["a name of half a pair", JSON_TYPE, '{"name":"\\ud83d","data":""}', bad("name", HALF_PAIR)],
  ["an empty id", FORM, "name=a&data=x&id=", bad("id", "it is empty")],
  [
    "an id with a line break",
    FORM,
    "name=a&data=x&id=7%0A",
    bad("id", 'control characters are not allowed: "7\\n"'),
  ],
  ["an empty list of names", JSON_TYPE, '{"name":[],"data":"x"}', MISSING_NAME],
  ["a list", JSON_TYPE, '[{"name":"a"}]', "400 bad_json: Expected the body to be a JSON object"],
];

for (const [what, type, body, expected] of REFUSED) {
  Deno.test(`readPublications() refuses ${what}`, async () => {
    assertEquals(await rejection(() => publications(post(body, type))), expected);
  });
}

Deno.test("readPublications() refuses an id that is too long", async () => {
  const search = (length: number) => `name=a&data=x&id=${"i".repeat(length)}`;
  const [{ id }] = await publications(post(null), search(MAX_NAME));
  assertEquals(id, "i".repeat(MAX_NAME));
  assertMatch(
    await rejection(() => publications(post(null), search(MAX_NAME + 1))),
    /^400 bad_parameter: Bad parameter "id": 256 bytes, but 255 are allowed: "i+…"$/,
  );
});

Deno.test("readPublications() reads a publication a line", async () => {
  const body = '{"name":"a","data":"1"}\r\n\n  \n{"name":["b","c"],"data":"2","id":"7"}';
  assertEquals(await publications(post(body, NDJSON)), [
    { channel: "a", data: "1", id: undefined },
    { channel: "b", data: "2", id: "7" },
    { channel: "c", data: "2", id: "7" },
  ]);
  assertEquals(
    await publications(post(`${body}\n`, NDJSON), "data=q").then((all) => all.length),
    3,
  );
  assertEquals(
    await rejection(() => publications(post(body, NDJSON), "name=a")),
    '400 bad_parameter: Line 1: Bad parameter "name": it is in the address and in the body',
  );
});

Deno.test("readPublications() lets others have their turn while it reads very many lines", async () => {
  const names = Array.from({ length: 120_000 }, (_, i) => String(i * 131_072));
  const body = names.map((name) => `{"name":"${name}","data":""}`).join("\n");
  const limits = { ...ROOMY, maxBody: 1e7, maxBatch: 1e6 };
  let turns = 0;
  const count = () => {
    turns++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  const read = await publications(post(streamOf(body), NDJSON), "", limits);
  clearImmediate(immediate);
  assertEquals(read.map(({ channel }) => channel), names);
  // Some of them come while the body itself is read.
  assert(turns > 8, `${turns} turns`);
});

Deno.test("readPublications() names the line that is wrong, and takes none", async () => {
  const good = '{"name":"a","data":""}';
  const lines: [string, string][] = [
    ['{"data":""}', '400 missing_parameter: Line 3: Parameter "name" is missing'],
    ['{"name":"a"}', '400 missing_parameter: Line 3: Parameter "data" is missing'],
    ['{"name":"","data":""}', '400 bad_parameter: Line 3: Bad parameter "name": it is empty'],
    [
      '{"name":"a","data":"123456789"}',
      '413 message_too_large: Line 3: Parameter "data" has 9 bytes, but 8 are allowed (--max-message)',
    ],
    ["[]", "400 bad_json: Line 3: Expected the body to be a JSON object"],
  ];
  for (const [wrong, expected] of lines) {
    const body = `${good}\n\n${wrong}\n${good}`;
    assertEquals(
      await rejection(() => publications(post(body, NDJSON), "data=q")),
      expected,
    );
  }
});

for (const type of ["multipart/form-data; boundary=x", "Multipart/Form-Data", "multipart/mixed"]) {
  Deno.test(`a body of ${type} is refused with 415, which says what to send instead`, async () => {
    const body = '--x\r\nContent-Disposition: form-data; name="data"\r\n\r\nhi\r\n--x--\r\n';
    const expected = "415 unsupported_type: Cannot read a multipart body: " +
      "send application/x-www-form-urlencoded, application/json, application/x-ndjson, " +
      "or the data itself as text/plain";
    assertEquals(
      await rejection(() => publications(post(body, type), "name=a&data=b", ROOMY)),
      expected,
    );
    assertEquals(
      await rejection(() => readParams(post(body, type), form("name=a"), bodiesOf(ROOMY))),
      expected,
    );
  });
}

Deno.test("readPublications() refuses lines that are all empty", async () => {
  for (const body of ["", "\n", " \r\n\t\n"]) {
    assertEquals(
      await rejection(() => publications(post(body, NDJSON))),
      "400 missing_parameter: The body contains no messages",
    );
  }
});

// Subscribing

Deno.test("subscribeRequest() streams river lines unless told otherwise", () => {
  assertEquals(subscription("name=x"), {
    joins: [{ channel: "x" }],
    format: river,
    transport: "stream",
    once: false,
    limit: undefined,
    timeout: undefined,
    positions: new Map([["x", ""]]),
  });
});

const EVENTS = { accept: "text/html, text/event-stream" };

const TRANSPORTS: [string, Record<string, string>, unknown, string, boolean][] = [
  ["keep=1", {}, river, "stream", false],
  ["keep=0", {}, river, "long-poll", true],
  ["format=river", EVENTS, river, "stream", false],
  ["format=sse", {}, sse, "sse", false],
  ["", EVENTS, sse, "sse", false],
  ["", { accept: "TEXT/EVENT-STREAM" }, sse, "sse", false],
  ["", { accept: "text/html, Text/Event-Stream;q=0.9" }, sse, "sse", false],
  ["format=river.v1", EVENTS, riverV1, "stream", false],
  ["format=river.v1&keep=0", {}, riverV1, "long-poll", true],
  ["format=raw", EVENTS, raw, "stream", false],
  ["format=raw&keep=0", {}, raw, "long-poll", true],
  ["format=sse&keep=0", {}, sse, "long-poll", true],
  ["", { accept: "*/*" }, river, "stream", false],
];

for (const [query, headers, format, transport, once] of TRANSPORTS) {
  const accept = headers.accept ? `, accepting ${headers.accept}` : "";
  Deno.test(`subscribeRequest() turns "${query}"${accept} into ${transport}`, () => {
    const asked = subscription(`name=x&${query}`, headers);
    assert(asked.format === format);
    assertEquals([asked.transport, asked.once], [transport, once]);
  });
}

Deno.test("subscribeRequest() keeps positions for event streams of several channels", () => {
  const { format, positions, transport } = subscription("name=b&name=a&format=sse");
  assert(format !== sse);
  assertEquals([format.contentType, transport], ["text/event-stream", "sse"]);
  assertEquals([...positions.keys()], ["b", "a"]);
});

Deno.test("subscribeRequest() starts an event stream's positions from those it was given", () => {
  const { positions } = subscription("name=b&name=a&format=sse&seq=k3f9x2-12,0");
  assertEquals([...positions], [["b", "k3f9x2-12"], ["a", "0"]]);
});

Deno.test("subscribeRequest() leaves its positions alone as an event stream goes on", () => {
  const { format, positions } = subscription("name=b&name=a&format=sse&seq=k3f9x2-12,0");
  const message = { channel: "a", epoch: "e", seq: 1, data: "x", bytes: 1, time: 0 };
  assertEquals(format.messages(new Batch([message])), "id: k3f9x2-12,e-1\ndata: x\n\n");
  assertEquals([...positions], [["b", "k3f9x2-12"], ["a", "0"]]);
});

Deno.test("subscribeRequest() wraps in a callback, once, whatever keep and format say", () => {
  for (
    const query of [
      "callback=app.$cb_1",
      "jsonp=app.$cb_1&keep=1",
      "jsonp=app.$cb_1&format=sse",
      "jsonp=app.$cb_1&format=river.v1",
    ]
  ) {
    const asked = subscription(`name=x&${query}`);
    assertEquals([asked.transport, asked.once], ["jsonp", true]);
    assertEquals(asked.format.contentType, jsonp("cb").contentType);
  }
});

Deno.test("subscribeRequest() takes callback rather than its alias jsonp", () => {
  assertMatch(
    refusal(() => subscription("name=x&callback=1&jsonp=cb")),
    /^400 bad_parameter: Bad parameter "callback": /,
  );
});

for (
  const callback of ["a", "_", "$", "cb", "a1", "jQuery1_2", "a.b.$c", "x".repeat(MAX_CALLBACK)]
) {
  Deno.test(`subscribeRequest() takes the callback ${callback}`, () => {
    assertEquals(subscription(`name=x&callback=${callback}`).transport, "jsonp");
  });
}

Deno.test("subscribeRequest() refuses a callback that is more than the name of a function", () => {
  const script = [
    "alert(1)//",
    "a;b",
    "a b",
    "a[0]",
    "a['b']",
    "a=b",
    "<script>",
    "a\n",
    "a\u2028",
  ];
  const names = ["", "1a", ".a", "a.", "a..b", "a.1", "a-b", "é", "\ufeffa", "a\0", "a\\u0062"];
  for (const callback of [...script, ...names, "CWS\x07\x0e000x\x9c"]) {
    for (const name of ["callback", "jsonp"]) {
      assertEquals(
        refusal(() => subscription(`name=x&${name}=${encodeURIComponent(callback)}`)),
        bad(
          name,
          `expected the name of a function, like "cb" or "app.cb", got ${JSON.stringify(callback)}`,
        ),
      );
    }
  }
});

Deno.test("subscribeRequest() refuses a callback of too many characters", () => {
  for (const length of [MAX_CALLBACK + 1, 1000]) {
    assertEquals(
      refusal(() => subscription(`name=x&callback=${"a".repeat(length)}`)),
      bad("callback", `it has ${length} characters, but at most 128 are allowed`),
    );
  }
});

for (
  const [query, name, reason] of [
    ["keep=2", "keep", 'expected 0 or 1, got "2"'],
    ["keep=", "keep", 'expected 0 or 1, got ""'],
    ["keep=true", "keep", 'expected 0 or 1, got "true"'],
    ["keep=00", "keep", 'expected 0 or 1, got "00"'],
    ["format=xml", "format", 'expected river, river.v1, sse, sse.v1 or raw, got "xml"'],
    ["format=SSE", "format", 'expected river, river.v1, sse, sse.v1 or raw, got "SSE"'],
    ["format=", "format", 'expected river, river.v1, sse, sse.v1 or raw, got ""'],
    ["format=__proto__", "format", 'expected river, river.v1, sse, sse.v1 or raw, got "__proto__"'],
    [
      "format=constructor",
      "format",
      'expected river, river.v1, sse, sse.v1 or raw, got "constructor"',
    ],
  ]
) {
  Deno.test(`subscribeRequest() refuses ${query}`, () => {
    assertEquals(refusal(() => subscription(`name=x&${query}`)), bad(name, reason));
  });
}

Deno.test("subscribeRequest() refuses each of its parameters when it is given twice", () => {
  for (const name of KNOWN.slice(KNOWN.indexOf("keep"), KNOWN.indexOf("token"))) {
    assertEquals(
      refusal(() => subscription(`name=x&${name}=1&${name}=1`)),
      `400 duplicate_parameter: Parameter "${name}" is given 2 times, the first time as "1"`,
    );
  }
});

Deno.test("subscribeRequest() reads limits and timeouts, up to their edges", () => {
  for (const [text, limit] of [["1", 1], ["007", 7], ["9007199254740991", 2 ** 53 - 1]] as const) {
    assertEquals(subscription(`name=x&limit=${text}`).limit, limit);
  }
  for (
    const [text, ms] of [["0.001", 1], ["1", 1000], ["2.5", 2500], ["86400", 86_400_000]] as const
  ) {
    assertEquals(subscription(`name=x&timeout=${text}`).timeout, ms);
  }
  const limits = ["", "0", "-1", "1e3", "1.5", "0x1", "9007199254740992", "18446744073709551616"];
  for (const text of [...limits, " 1", "a"]) {
    assertEquals(
      refusal(() => subscription(`name=x&limit=${text}`)),
      bad("limit", `expected a whole number from 1 to 9007199254740991, got "${text}"`),
    );
  }
  for (
    const text of ["", "0", "0.000", "-1", "1e3", "86401", "86400.001", ".5", "1.", "1.0001", "1s"]
  ) {
    assertEquals(
      refusal(() => subscription(`name=x&timeout=${text}`)),
      bad(
        "timeout",
        `expected a number of seconds, more than 0 and at most ${MAX_TIMEOUT}, got "${text}"`,
      ),
    );
  }
});

Deno.test("wholeNumber() holds a parameter to its range", () => {
  const read = (text: string) => wholeNumber(form(text), "limit", 5, 9);
  assertEquals(["limit=5", "limit=9", "after=7"].map(read), [5, 9, undefined]);
  for (const text of ["4", "10"]) {
    assertEquals(
      refusal(() => read(`limit=${text}`)),
      bad("limit", `expected a whole number from 5 to 9, got "${text}"`),
    );
  }
});

// Positions

function joins(text: string, lastEventId?: string) {
  const headers = new Headers(lastEventId === undefined ? {} : { "last-event-id": lastEventId });
  return joinsOf(form(text), headers, 3);
}

Deno.test("joinsOf() wants live messages only unless it is given a position", () => {
  assertEquals(joins("name=b&name=a"), [{ channel: "b" }, { channel: "a" }]);
});

Deno.test("joinsOf() gives each channel its position, in order", () => {
  assertEquals(joins("name=b&name=a&seq=k3f9x2-12,0"), [
    { channel: "b", cursor: { epoch: "k3f9x2", seq: 12 } },
    { channel: "a", cursor: { seq: 0 } },
  ]);
});

Deno.test("joinsOf() believes the header before a library's parameter, last_event_id and seq", () => {
  const sources: [string, string | undefined, number | undefined][] = [
    ["name=x&seq=1", undefined, 1],
    ["name=x&seq=1&last_event_id=2", undefined, 2],
    ["name=x&lastEventId=3&last_event_id=2", undefined, 3],
    ["name=x&seq=1&lastEventId=3&last_event_id=2", "4", 4],
    ["name=x&seq=1", "3", 3],
    ["name=x&seq=1&last_event_id=&lastEventId=", "", 1],
    ["name=x&last_event_id=", "", undefined],
    ["name=x&seq=abc", "3", 3],
  ];
  for (const [text, header, seq] of sources) {
    assertEquals(joins(text, header)[0].cursor?.seq, seq, `${text}, ${header}`);
  }
});

for (
  const spelling of [
    ...[
      "lastEventId",
      "lastEventID",
      "lasteventid",
      "last-event-id",
      "Last-Event-ID",
      "LastEventID",
    ],
    ...["Last_Event_Id", "last%2Devent%2Did", "evs_last_event_id"],
  ]
) {
  Deno.test(`joinsOf() takes ${spelling} for last_event_id, as libraries send it`, () => {
    assertEquals(joins(`name=x&seq=1&${spelling}=k3f9x2-12`)[0].cursor, {
      epoch: "k3f9x2",
      seq: 12,
    });
    // A library adds its own to an address that may have one.
    assertEquals(joins(`name=x&${spelling}=1&${spelling}=2`)[0].cursor, { seq: 2 });
  });
}

Deno.test("joinsOf() refuses a seq that is not a position, and names it", () => {
  for (const text of ["abc", "-1", "18446744073709551616", "1e3", "a-", "9007199254740992"]) {
    const reason = `Cannot parse the position "${text}": ` +
      'expected "990" or "mi9x2k3fq7d0v-990", with a number up to 2^53-1';
    assertEquals(refusal(() => joins(`name=x&seq=${text}`)), bad("seq", reason));
  }
  assertEquals(refusal(() => joins("name=x&seq=")), bad("seq", "it is empty"));
});

Deno.test("joinsOf() takes an event id that is not a position for one of another server", () => {
  const ids = ["abc", "1478833333:0", "-1", "18446744073709551616", "k3f9x2-1,k3f9x2-2", "é", ","];
  for (const id of [...ids, "x".repeat(10_000), "k3f9x2-1, k3f9x2-1", "0-0"]) {
    const text = `name=x&last_event_id=${id}`;
    assertEquals(joins(text), [{ channel: "x", cursor: FOREIGN }], id);
    assertEquals(joins(`name=x&lastEventId=${id}`), [{ channel: "x", cursor: FOREIGN }], id);
    assertEquals(joins("name=x", id), [{ channel: "x", cursor: FOREIGN }], id);
  }
  const both = [{ channel: "x", cursor: FOREIGN }, { channel: "y", cursor: FOREIGN }];
  assertEquals(joins("name=x&name=y", "k3f9x2-1"), both);
  assertEquals(joins("name=x&name=y", "k3f9x2-1, k3f9x2-2, k3f9x2-3"), both);
  const second = [{ channel: "x", cursor: FOREIGN }, { channel: "y", cursor: { seq: 7 } }];
  assertEquals(joins("name=x&name=y", "abc, 7"), second);
});

Deno.test("joinsOf() wants as many positions as channels", () => {
  const reason = (text: string, channels: string) =>
    bad(
      "seq",
      `Cannot match the positions "${text}" to ${channels}: expected one per channel, in order`,
    );
  assertEquals(refusal(() => joins("name=x&seq=1,2")), reason("1,2", "1 channel"));
  assertEquals(refusal(() => joins("name=x&name=y&seq=1")), reason("1", "2 channels"));
});

Deno.test("joinsOf() starts a channel from now on whose position is empty in a list", () => {
  const expected = [
    { channel: "b" },
    { channel: "a", cursor: { epoch: "k3f9x2", seq: 12 } },
  ];
  assertEquals(joins("name=b&name=a&seq=,k3f9x2-12"), expected);
  assertEquals(joins("name=b&name=a&last_event_id=,k3f9x2-12"), expected);
  assertEquals(joins("name=b&name=a", ",k3f9x2-12"), expected);
  assertEquals(joins("name=a&name=b&seq=,").map(({ cursor }) => cursor), [undefined, undefined]);
});

Deno.test("joinsOf() refuses names before it looks at positions", () => {
  assertEquals(refusal(() => joins("seq=abc")), MISSING_NAME);
  assertEquals(
    refusal(() => joins("name=a&name=b&name=c&name=d&seq=abc")),
    bad("name", "it is given 4 times, but at most 3 are allowed (--max-channels-per-client)"),
  );
});

// Anything

/** Runs an action that may refuse; any other error fails the test. */
async function mayRefuse(action: () => unknown): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    assert(error.status >= 400 && error.status < 500, shown(error));
    assert(error.message.length < 500, "a long value is cut");
  }
}

const anyValue = fc.oneof(
  fc.string({ unit: "binary", maxLength: 600 }),
  fc.string({ unit: fc.constantFrom(..."%0123456789abcdef-,.+=") }),
  fc.constantFrom("", "0", "1", "-1", "1e3", "sse", "cb", "alert(1)", "a".repeat(300), "\ud83d"),
);
const anyForm = fc.array(fc.tuple(fc.constantFrom(...KNOWN, "__proto__", ""), anyValue))
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));
const anyJson = fc.oneof(
  fc.json(),
  fc.dictionary(fc.constantFrom(...KNOWN), fc.jsonValue()).map((object) => JSON.stringify(object)),
  fc.string({ unit: "binary" }),
);

Deno.test("subscribeRequest() throws nothing but Refusal, whatever the query", async () => {
  await fc.assert(fc.asyncProperty(anyForm, async (text) => {
    await mayRefuse(() => subscription(text));
    await mayRefuse(() => subscription(`name=x&${text}`));
  }));
});

Deno.test("readPublications() rejects with nothing but Refusal, whatever the body", async () => {
  const anyBody = fc.oneof(anyForm, anyJson, fc.uint8Array({ maxLength: 150 }));
  const anyType = fc.constantFrom(
    ...[undefined, FORM, JSON_TYPE, NDJSON, "text/plain", "multipart/form-data", ""],
  );
  await fc.assert(fc.asyncProperty(anyBody, anyType, anyForm, async (body, type, search) => {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body);
    await mayRefuse(async () => {
      for (const { channel, data, id } of await publications(post(bytes, type), search)) {
        checkName("name", channel);
        checkData("data", data, LIMITS.maxMessage);
        if (id !== undefined) checkName("id", id);
      }
    });
  }));
});

Deno.test("Params.addJson() reads keys that all hash alike about as fast as others", () => {
  // The runtime's hash of a text that looks like a number is no secret: these all fall into few buckets.
  const msOf = (key: (i: number) => string) => {
    const texts: string[] = [];
    for (let i = 0; i < 40_000; i += 200) {
      const keys = Array.from({ length: 200 }, (_, j) => `"${key(i + j + 1)}":0`);
      texts.push(`{"name":"a",${keys.join(",")}}`);
    }
    const start = performance.now();
    for (const text of texts) new Params().addJson(text);
    return performance.now() - start;
  };
  const others = msOf((i) => `k${i}`);
  const ms = msOf((i) => String(i * 65_536));
  assert(ms < 100 + others * 10, `it took ${ms} ms, others ${others} ms`);
});

Deno.test("Params.names() compares names that all hash alike about as fast as others", () => {
  const msOf = (name: (i: number) => string) => {
    const all: Params[] = [];
    for (let i = 0; i < 50_000; i += 125) {
      const names = Array.from({ length: 125 }, (_, j) => name(i + j + 1));
      all.push(new Params().addJson(JSON.stringify({ name: names })));
    }
    const start = performance.now();
    for (const params of all) params.names(125);
    return performance.now() - start;
  };
  const others = msOf((i) => `k${i}`);
  const ms = msOf((i) => String(i * 65_536));
  assert(ms < 100 + others * 10, `it took ${ms} ms, others ${others} ms`);
});
