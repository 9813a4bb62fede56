/**
 * Bodies of requests that are read with more work, or kept with more memory, than they look like.
 *
 * @module
 */
import { mintToken } from "../../../lib/access/tokens.ts";
import { requestHead } from "../../support/raw.ts";
import { bytesOf, ENDED, type Input, KEYED, LOCKED, post, type Row, SECRET } from "./harness.ts";

const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";
const NDJSON = "application/x-ndjson";
const TEXT = "text/plain";
/** Just under `--max-body`. */
const SIZE = 1_048_000;

/** A text of `unit` again and again, of at most `size` bytes, between `before` and `after`. */
function filled(unit: string, before = "", after = "", size = SIZE): string {
  const length = new TextEncoder().encode(unit).length;
  return before + unit.repeat(Math.floor((size - before.length - after.length) / length)) + after;
}

/** Texts from `make`, joined until they have `size` bytes. */
function listed(make: (i: number) => string, separator: string, size = SIZE): string {
  const items: string[] = [];
  for (let i = 0, length = 0; length < size - 1000; i++) {
    items.push(make(i));
    length += items[i].length + separator.length;
  }
  return items.join(separator);
}

function lines(make: (i: number) => object, count = Infinity, size = SIZE): string {
  let left = count;
  const all: string[] = [];
  for (let i = 0, length = 0; left-- > 0 && length < size - 1000; i++) {
    all.push(JSON.stringify(make(i)));
    length += all[i].length + 1;
  }
  return all.join("\n");
}

/** JSON to publish, with something else in it that takes up the room. */
function padded(before: string, unit: string, after: string): string {
  return filled(unit, `{"name":"a","data":"hi","x":${before}`, `${after}}`);
}

/** JSON to publish, with something in something in it. */
function nested(open: string, close: string, depth: number): string {
  return `{"name":"a","data":"hi","x":${open.repeat(depth)}0${close.repeat(depth)}}`;
}

/** What an honest publisher of so many bytes sends: messages of a few hundred bytes. */
const honestLines = () =>
  post(NDJSON, lines((i) => ({ name: `honest-${i % 100}`, data: "x".repeat(300) })));
const honestJson = () =>
  post(
    JSON_TYPE,
    padded('["', "x".repeat(60_000) + '","', '"]'),
  );
const honestForm = () => post(FORM, filled("x", "name=a&data=hi&pad="));
const honestText = () => post(TEXT, "x".repeat(SIZE), { target: "/publish?name=a" });

/** A body in chunks of `piece` bytes. */
function chunked(count: number, piece: string, type = TEXT, target = "/publish?name=a"): Input {
  const head = requestHead(`POST ${target} HTTP/1.1`, {
    "Content-Type": type,
    "Transfer-Encoding": "chunked",
  });
  const chunk = `${piece.length.toString(16)}\r\n${piece}\r\n`;
  return { bytes: bytesOf(head, chunk.repeat(count), "0\r\n\r\n") };
}

/** Numbers that the runtime's own hash puts in the same place. */
const colliding = (i: number) => String(131_072 * (i + 1));
/** As long, but spread. */
const spread = (i: number) => `n${String(i).padStart(9, "0")}`;

const token = await mintToken(SECRET, {
  publish: Array.from({ length: 550 }, (_, i) => `p${i}*`).concat("*"),
  subscribe: [],
  operate: false,
  expires: Infinity,
});
const fewPatterns = await mintToken(SECRET, {
  publish: ["*"],
  subscribe: [],
  operate: false,
  expires: Infinity,
});

/** Bodies of JSON, and the statuses that are right. */
const parsed: [name: string, body: string, expected: number[]][] = [
  [
    "JSON with numbers as strings that collide",
    `{"name":"a","data":"hi","x":[${listed((i) => `"${65_536 * (i + 1)}"`, ",")}]}`,
    [200, 400],
  ],
  [
    "JSON with members whose names collide",
    `{"name":"a","data":"hi",${listed((i) => `"${colliding(i)}":0`, ",")}}`,
    [200, 400],
  ],
  [
    "JSON with members whose names are numbers beyond an index and collide",
    `{"name":"a","data":"hi",${listed((i) => `"${4_294_967_296 + 131_072 * i}":0`, ",")}}`,
    [200, 400],
  ],
  [
    "JSON of many members",
    `{"name":"a","data":"hi",${listed((i) => `"m${i}":0`, ",")}}`,
    [200, 400],
  ],
  ["JSON that gives a member again and again", filled(',"name":"a"', '{"data":""', "}"), [
    200,
    400,
  ]],
  ["JSON of arrays in arrays", nested("[", "]", 500_000), [200, 400]],
  ["JSON of objects in objects", nested('{"":', "}", 200_000), [200, 400]],
  ["JSON of brackets that do not close", filled("["), [400]],
  ["JSON of objects that do not close", filled('{"a":'), [400]],
  ["JSON of empty arrays", padded("[", "[],", "0]"), [200, 400]],
  ["JSON of empty objects", padded("[", "{},", "0]"), [200, 400]],
  ["JSON of small objects", padded("[", '{"a":1},', "0]"), [200, 400]],
  ["JSON of small numbers", padded("[", "1,", "0]"), [200, 400]],
  ["JSON of fractions", padded("[", ".5,".replace(".", "0."), "0]"), [200, 400]],
  ["JSON of short strings", padded("[", '"",', "0]"), [200, 400]],
  [
    "JSON of different short strings",
    `{"name":"a","data":"hi","x":[${listed((i) => `"${i.toString(36)}"`, ",")}]}`,
    [200, 400],
  ],
  ["JSON of a number with a million digits", padded("1", "1", ""), [200, 400]],
  ["JSON of a fraction with a million digits", padded("0.", "1", ""), [200, 400]],
  ["JSON of a number with a long exponent", padded("1e", "1", ""), [200, 400]],
  ["JSON of spaces", filled(" ", "", '{"name":"a","data":"hi"}'), [200, 400]],
  ["JSON of escapes", padded('"', "\\u0041", '"'), [200, 400]],
  ["JSON of halves of surrogate pairs", padded('"', "\\ud800", '"'), [200, 400]],
  ["JSON of emoji", padded('"', "😀", '"'), [200, 400]],
  ["JSON with a name of escapes", `{"name":"${filled("\\u0041", "", "", SIZE - 100)}"}`, [400]],
  ["JSON with data of escaped controls", filled("\\n", '{"name":"a","data":"', '"}'), [413]],
  ["JSON with many channels", filled('"",', '{"data":"","name":[', '"a"]}'), [400]],
  ["JSON with many values as data", filled("0,", '{"name":"a","data":[', "0]}"), [400]],
  ["JSON that is wrong at its end", filled("x", '{"name":"a","data":"hi","x":"', '"'), [400]],
  ["JSON that is a string", filled("x", '"', '"'), [400]],
];

const forms: [name: string, body: string, expected: number[]][] = [
  ["a form of %&", filled("%&"), [400]],
  ["a form of %=", filled("%=&"), [400]],
  ["a form of names with bad escapes", filled("%ff=1&", "name=a&data=hi&"), [200, 400]],
  ["a form of names with escapes", filled("%61=1&", "name=a&data=hi&"), [200, 400]],
  ["a form of known names with escapes", filled("n%61me=a&", "data=hi&"), [400]],
  ["a form of &", filled("&", "name=a&data=hi"), [200, 400]],
  ["a form of =", filled("=", "name=a&data=hi&"), [200, 400]],
  ["a form of =&", filled("=&", "name=a&data=hi&"), [200, 400]],
  ["a form of +", filled("+", "name=a&data="), [413]],
  ["a form of + in an unknown parameter", filled("+", "name=a&data=hi&x="), [200, 400]],
  ["a form of + in a name", filled("+", "data=hi&name="), [400]],
  ["a form of + in an unknown name", filled("+", "name=a&data=hi&"), [200, 400]],
  ["a form of % in data", filled("%", "name=a&data="), [400, 413]],
  ["a form of escapes in data", filled("%41", "name=a&data="), [413]],
  ["a form of escapes that are not UTF-8", filled("%ff", "name=a&data="), [400, 413]],
  ["a form of many channels", filled("name=a&", "", "data=hi"), [400]],
  ["a form of many different channels", `${listed((i) => `name=${i}`, "&")}&data=hi`, [400]],
  ["a form of many data", filled("data=&", "", "name=a"), [400]],
  ["a form with a token of +", filled("+", "name=a&data=hi&token="), [200, 400, 401]],
  ["a form with a token of escapes", filled("%41", "name=a&data=hi&token="), [200, 400, 401]],
  ["a form with a token of dots", filled(".", "name=a&data=hi&token="), [200, 400, 401]],
  ["a form with many tokens", filled("token=a&", "name=a&data=hi&"), [400, 401]],
];

/** V8 describes the shape of each line's object anew, and forgets it late. */
const OWN_MEMBERS = "NDJSON whose lines have members of their own";
const SHAPES = 128 * 2 ** 20;

const texts: [name: string, type: string, body: string | Uint8Array, expected: number[]][] = [
  ["text of bytes that are not UTF-8", TEXT, new Uint8Array(SIZE).fill(0xff), [400]],
  [
    "text whose last byte is not UTF-8",
    TEXT,
    bytesOf("x".repeat(SIZE - 1), new Uint8Array([255])),
    [
      400,
      413,
    ],
  ],
  ["text of emoji", TEXT, filled("😀"), [413]],
  ["text of replacement characters", TEXT, filled("\uFFFD"), [413]],
  ["text of byte order marks", TEXT, filled("\uFEFF"), [413]],
  ["text of zeros", TEXT, new Uint8Array(SIZE), [413]],
  ["text in UTF-16", "text/plain; charset=utf-16le", filled("x"), [400, 413, 415]],
  ["text in GB 18030", "text/plain; charset=gb18030", new Uint8Array(SIZE).fill(0x81), [
    400,
    413,
    415,
  ]],
  ["text in ISO 2022-JP", "text/plain; charset=iso-2022-jp", filled("\x1b(B"), [400, 413, 415]],
  ["a form of several parts", "multipart/form-data; boundary=x", filled("--x\r\n"), [415]],
  ["NDJSON of line ends", NDJSON, filled("\n"), [400]],
  ["NDJSON of line ends and a space", NDJSON, filled(" \n"), [400]],
  ["NDJSON of blank lines", NDJSON, filled("  \n"), [400]],
  ["NDJSON of CRLF", NDJSON, filled("\r\n"), [400]],
  ["NDJSON of one character a line, behind blank lines", NDJSON, filled("\n", "", "{"), [400]],
  ["NDJSON of one character a line", NDJSON, filled("{\n"), [400]],
  ["NDJSON of empty objects", NDJSON, filled("{}\n"), [400]],
  ["NDJSON that is wrong in its last line", NDJSON, filled('{"name":"a","data":""}\n', "", "x"), [
    400,
  ]],
  ["NDJSON of nothing but spaces", NDJSON, filled(" "), [400]],
  [
    "NDJSON of a line with many members",
    NDJSON,
    `{"name":"a","data":"",${listed((i) => `"m${i}":0`, ",")}}`,
    [200, 400],
  ],
  [
    OWN_MEMBERS,
    NDJSON,
    listed((i) => `{"name":"a","data":"","k${i}":0}`, "\n"),
    [200, 400],
  ],
  [
    "NDJSON of a message over the limit behind thousands of good ones",
    NDJSON,
    `${filled('{"name":"a","data":""}\n', "", "", SIZE - 70_000)}{"name":"a","data":"${
      "x".repeat(66_000)
    }"}`,
    [413],
  ],
];

/** Bodies sent to a server that is open. */
function toOpen(
  rows: [name: string, type: string, body: string | Uint8Array, expected: number[]][],
  honest: () => Input,
): Row[] {
  return rows.map(([name, type, body, expected]) => ({
    name,
    memory: name === OWN_MEMBERS ? SHAPES : undefined,
    hostile: () =>
      post(type, body, { target: /^text|to=a/.test(type) ? "/publish?name=a" : "/publish" }),
    honest,
    expected,
  }));
}

/** The same sent to a server where the sender shows nothing. */
function toKeyed(rows: readonly Row[]): Row[] {
  return rows.map((row) => ({
    ...row,
    name: `${row.name}, without a key`,
    flags: KEYED,
    expected: [...new Set([...row.expected.filter((status) => status !== 200), 400, 401])],
  }));
}

function pieces(name: string, input: () => Input, expected: number[], times?: number): Row[] {
  return [true, false].map((open) => ({
    name: open ? name : `${name}, without a token`,
    flags: open ? [] : LOCKED,
    hostile: input,
    honest: () => post(TEXT, "x".repeat(input().bytes.length), { target: "/publish?name=a" }),
    expected: open ? expected : [400, 401, 413, ENDED],
    times,
  }));
}

const ofJson = toOpen(
  parsed.map(([name, body, expected]) => [name, JSON_TYPE, body, expected]),
  honestJson,
);
/** JSON that is a message itself, or nearly, posted to a channel in the address. */
const ofWebhooks = toOpen(
  [
    [
      "a webhook with members whose names collide",
      `{${listed((i) => `"${colliding(i)}":0`, ",")}}`,
    ],
    ["a webhook with strings that collide", `[${listed((i) => `"${65_536 * (i + 1)}"`, ",")}]`],
    ["a webhook with data again and again", filled('"data" : [], ', "{", '"x":0}')],
    ["a webhook with escaped data", filled('"d\\u0061t\\u0061":{},', "{", '"x":0}')],
    ["a webhook of arrays in arrays", `{"x":${"[".repeat(500_000)}0${"]".repeat(500_000)}}`],
  ].map(([name, body]) => [name, `${JSON_TYPE}; to=a`, body, [413]]),
  honestJson,
);
const ofForms = toOpen(
  forms.map(([name, body, expected]) => [name, FORM, body, expected]),
  honestForm,
);
const ofTexts = toOpen(texts, honestText);

/** Room for the channels that honest inputs make too. */
const MANY_CHANNELS = ["--max-channels", "1000000"];

/** All rows about bodies. */
export const bodies: Row[] = [
  {
    name: "NDJSON with channels whose names collide",
    flags: MANY_CHANNELS,
    hostile: () => post(NDJSON, lines((i) => ({ name: colliding(i), data: "" }), 32_766)),
    honest: (n) => post(NDJSON, lines((i) => ({ name: `${n}${spread(i)}`, data: "" }), 32_766)),
    expected: [200],
    times: 2,
    channels: 32_766,
  },
  {
    name: "NDJSON with channels whose names begin as numbers that collide",
    flags: MANY_CHANNELS,
    hostile: () => post(NDJSON, lines((i) => ({ name: `${colliding(i)} `, data: "" }), 32_766)),
    honest: (n) => post(NDJSON, lines((i) => ({ name: `${n}${spread(i)}`, data: "" }), 32_766)),
    expected: [200],
    times: 2,
    channels: 32_766,
  },
  {
    name: "NDJSON with ids that collide",
    hostile: () => post(NDJSON, lines((i) => ({ name: "a", data: "", id: colliding(i) }), 20_000)),
    honest: (n) =>
      post(NDJSON, lines((i) => ({ name: "a", data: "", id: `${n}${spread(i)}` }), 20_000)),
    expected: [200],
    times: 2,
    // An id is remembered as a channel is.
    channels: 20_000,
  },
  {
    name: "NDJSON of 128 channels a line",
    hostile: () =>
      post(
        NDJSON,
        lines(() => ({ name: Array.from({ length: 128 }, (_, i) => `${i}`), data: "" })),
      ),
    honest: honestLines,
    expected: [200, 413],
  },
  {
    name: "NDJSON of 128 new channels a line",
    flags: MANY_CHANNELS,
    hostile: () =>
      post(
        NDJSON,
        lines((line) => ({
          name: Array.from({ length: 128 }, (_, i) => `${line * 128 + i}`),
          data: "",
        }), 390),
      ),
    // As many channels as fit into a body with one a line.
    honest: (n) => post(NDJSON, lines((i) => ({ name: `${n}${spread(i)}`, data: "" }), 32_766)),
    expected: [200],
    times: 1,
    channels: 50_000,
  },
  {
    name: "NDJSON of as many messages as --max-batch allows, for one channel",
    hostile: () => post(NDJSON, lines(() => ({ name: "c0", data: "" }))),
    honest: honestLines,
    expected: [200],
    times: 16,
  },
  {
    name: "NDJSON beyond --max-batch",
    flags: ["--max-batch", "1000"],
    hostile: () => post(NDJSON, lines(() => ({ name: "c0", data: "" }))),
    honest: honestLines,
    expected: [413],
  },
  {
    name: "NDJSON of empty messages, to a token with 551 patterns",
    flags: [...LOCKED, ...MANY_CHANNELS],
    hostile: () =>
      post(NDJSON, lines((i) => ({ name: `c${i}`, data: "" })), {
        headers: { authorization: `Bearer ${token}` },
      }),
    honest: () =>
      post(NDJSON, lines((i) => ({ name: `c${i}`, data: "" })), {
        headers: { authorization: `Bearer ${fewPatterns}` },
      }),
    expected: [200, 400, 401],
    times: 1,
    channels: 30_000,
  },
  {
    name: "NDJSON with new ids while --max-ids are remembered",
    flags: [...MANY_CHANNELS, "--max-ids", "20000"],
    hostile: (n) => post(NDJSON, lines((i) => ({ name: "a", data: "", id: `${n}-${i}` }), 20_000)),
    honest: (n) => post(NDJSON, lines((i) => ({ name: `a${n}-${i}`, data: "" }), 20_000)),
    expected: [200],
    times: 4,
    // An id is remembered as a channel is.
    channels: 20_000,
  },
  ...ofWebhooks,
  ...ofJson,
  ...ofForms,
  ...ofTexts,
  ...toKeyed([...ofJson.slice(0, 6), ...ofForms.filter(({ name }) => /%&|token/.test(name))]),
  ...pieces("a body in 20,000 chunks of a byte", () => chunked(20_000, "x"), [200, 400], 4),
  ...pieces("a body in 100,000 chunks of a byte", () => chunked(100_000, "x"), [400, 413], 1),
  ...pieces("a body in 30,000 chunks of 20 bytes", () => chunked(30_000, "x".repeat(20)), [
    400,
    413,
  ], 2),
  ...pieces(
    "a form to /subscribe in 20,000 chunks of a byte",
    () => chunked(20_000, "&", FORM, "/subscribe?name=a&timeout=0.01"),
    [200, 204, 400],
    4,
  ),
  ...pieces(
    "NDJSON in 20,000 chunks of a byte",
    () => chunked(20_000, "\n", NDJSON, "/publish"),
    [400],
    4,
  ),
  ...pieces("a chunk with a long extension", () => ({
    bytes: bytesOf(
      requestHead("POST /publish?name=a HTTP/1.1", {
        "Content-Type": TEXT,
        "Transfer-Encoding": "chunked",
      }),
      `1;${"x".repeat(1_000_000)}\r\nx\r\n0\r\n\r\n`,
    ),
  }), [200, 400, ENDED]),
];
