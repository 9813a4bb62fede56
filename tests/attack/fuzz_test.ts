/**
 * Generated input, thousands of cases each: what is read agrees with another reader of the same, and what
 * cannot be read is refused as documented and harms nobody. A failure prints the seed and the path that
 * bring it back (`fc.assert(.., { seed, path })`).
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { WebSocket as NpmWebSocket } from "ws";
import { plainName } from "../../lib/base/spelling.ts";
import { parseCursor, parseCursors, printCursor } from "../../lib/core/cursor.ts";
import { checkName } from "../../lib/core/names.ts";
import { Refusal } from "../../lib/core/refusal.ts";
import { KNOWN } from "../../lib/http/parameter_names.ts";
import { Params, readParams, type RequestLimits } from "../../lib/http/params.ts";
import { readPublications } from "../../lib/http/publish.ts";
import { subscribeRequest } from "../../lib/http/subscribe.ts";
import { msg, publish, subscribe } from "../support/http.ts";
import { RawConnection, requestHead, UPGRADE } from "../support/raw.ts";
import { bodiesOf, serveHere } from "../support/server.ts";
import { openSocket, type SocketLike, SocketReader } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const V1 = "river.v1";
const LIMITS: RequestLimits = {
  maxMessage: 100,
  maxBody: 1000,
  maxBatch: 10,
  maxChannelsPerClient: 3,
};

const utf8 = new TextEncoder();

/** Any text that UTF-8 can carry. */
const anyText = fc.string({ unit: "binary" });
/** Any text that a JavaScript string can hold, half surrogate pairs included. */
const anyString = fc.string({
  unit: fc.oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    fc.constantFrom("\ud800", "\udfff", "\n", "\r", "\0", "\x7f", "\x85", '"', "\\"),
  ),
});
const anyByte = fc.nat(255).map((byte) => "%" + byte.toString(16).padStart(2, "0"));
const anyName = fc.constantFrom(...KNOWN, "__proto__", "constructor", "NAME", "other", "");

/** The refusal that an action ends in; undefined if it ends well. Anything else is thrown on. */
function refusalOf(action: () => unknown): Refusal | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** As `decodeURIComponent`, by way of bytes; undefined where a form is not decoded strictly. */
function strictlyDecoded(text: string): string | undefined {
  if (/%(?![0-9a-f]{2})/i.test(text)) return undefined;
  const bytes: number[] = [];
  for (const part of text.replaceAll("+", " ").split(/(%[0-9a-f]{2})/i)) {
    if (part.startsWith("%")) bytes.push(parseInt(part.slice(1), 16));
    else bytes.push(...utf8.encode(part));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(new Uint8Array(bytes));
  } catch {
    return undefined;
  }
}

/** Forms: most are nearly right. */
const anyForm = fc.array(
  fc.tuple(
    fc.oneof(anyName, anyName.map((name) => name.replace("a", "%61")), anyText),
    fc.constantFrom("=", "=", "=", "", "=="),
    fc.oneof(
      fc.webQueryParameters({ size: "small" }),
      anyText.map(encodeURIComponent),
      anyText,
      fc.array(fc.oneof(anyByte, fc.constantFrom("%", "%e2%82%ac", "+", "a")), { maxLength: 4 })
        .map((parts) => parts.join("")),
    ),
  ).map((parts) => parts.join("")),
  { maxLength: 6 },
).map((parts) => parts.join("&"));

Deno.test("Params.addForm() reads any form as URLSearchParams does, but refuses what it cannot decode", () => {
  let [read, refused] = [0, 0];
  fc.assert(
    fc.property(anyForm, (form) => {
      // Without an ampersand, a question mark in front would be left out.
      const other = new URLSearchParams("&" + form);
      const values = (part: string) => part.includes("=") ? part.slice(part.indexOf("=") + 1) : "";
      const bad = form.split("&").some((part) =>
        KNOWN.includes(strictlyDecoded(part.split("=")[0]) as typeof KNOWN[number]) &&
        strictlyDecoded(values(part)) === undefined
      );
      // Other spellings of it count as well, which no URLSearchParams knows.
      fc.pre(
        !form.split("&").map((part) => strictlyDecoded(part.split("=")[0]) ?? "").some((name) =>
          !(KNOWN as readonly string[]).includes(name) && plainName(name) === "lasteventid"
        ),
      );
      const params = new Params();
      const refusal = refusalOf(() => params.addForm(form).check());
      const twice = other.getAll("token").length > 1;
      if (bad || twice) {
        refused++;
        const code = bad ? "bad_parameter" : "duplicate_parameter";
        assertEquals([refusal?.status, refusal?.code], [400, code]);
        return;
      }
      read++;
      assertEquals(refusal, undefined);
      for (const name of KNOWN) {
        const all = other.getAll(name);
        assertEquals(params.has(name), all.length > 0);
        if (all.length < 2) assertEquals(params.get(name), all[0]);
        else assertEquals(refusalOf(() => params.get(name))?.code, "duplicate_parameter");
      }
    }),
    { numRuns: 10_000 },
  );
  assert(read > 500 && refused > 500, `${read} read, ${refused} refused`);
});

/** Texts that are JSON, nearly JSON or none. */
const anyJson = fc.oneof(
  fc.json(),
  fc.dictionary(anyName, fc.jsonValue()).map((object) => JSON.stringify(object)),
  fc.dictionary(anyName, anyString).map((object) => JSON.stringify(object)),
  anyText,
);

Deno.test("Params.addJson() takes strings, and refuses everything that is not an object of strings", () => {
  let read = 0;
  fc.assert(
    fc.property(anyJson, (text) => {
      const params = new Params();
      const refusal = refusalOf(() => params.addJson(text).check());
      if (refusal !== undefined) {
        assertEquals(refusal.status, 400);
        assert(["bad_json", "bad_parameter"].includes(refusal.code));
        return;
      }
      read++;
      const object = JSON.parse(text);
      assert(typeof object === "object" && object !== null && !Array.isArray(object));
      for (const name of KNOWN) {
        assertEquals(params.has(name), Object.hasOwn(object, name));
        if (!params.has(name) || Array.isArray(object[name])) continue;
        const value = object[name];
        assertEquals(params.get(name), typeof value === "string" ? value : String(Number(value)));
      }
    }),
    { numRuns: 10_000 },
  );
  assert(read > 500, `${read} read`);
});

const anyType = fc.oneof(
  fc.constantFrom(
    "application/x-www-form-urlencoded",
    "application/json",
    "application/x-ndjson",
    "application/json; charset=utf-8",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
  ),
  fc.stringMatching(/^[a-z/;= ]{0,20}$/),
);

const anyBody = fc.oneof(
  anyForm,
  anyJson,
  fc.array(anyJson).map((lines) => lines.join("\n")),
  fc.record({ name: fc.string(), data: anyString }).map((object) => JSON.stringify(object)),
  fc.uint8Array({ maxLength: 50 }),
  fc.constant("a".repeat(1001)),
);

/** Any search that a request line can carry. */
const anySearch = anyForm.map((form) => form.replace(/[^!-~]/gu, encodeURIComponent));

Deno.test("a body of any type and any bytes is read or refused with 400, 413 or 415", async () => {
  const statuses = new Map<number, number>();
  const count = (status: number) => void statuses.set(status, (statuses.get(status) ?? 0) + 1);
  await fc.assert(
    fc.asyncProperty(anyType, anySearch, anyBody, async (type, search, body) => {
      const length = typeof body === "string" ? utf8.encode(body).length : body.length;
      const headers = { "content-type": type, "content-length": String(length) };
      const bodies = bodiesOf(LIMITS);
      const readings = [
        (request: Request) => readParams(request, new Params().addForm(search), bodies),
        (request: Request) =>
          readPublications(request, new Params().addForm(search), LIMITS, bodies),
      ];
      for (const read of readings) {
        const request = new Request("http://x/", { method: "POST", body, headers });
        try {
          const result = await read(request);
          if (result instanceof Params) result.check();
          count(200);
          if (result instanceof Params) continue;
          assert(result.length > 0);
          for (const { channel, data } of result) {
            checkName("name", channel);
            assert(data.isWellFormed() && utf8.encode(data).length <= LIMITS.maxMessage);
          }
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          count(error.status);
        }
      }
    }),
    { numRuns: 5000 },
  );
  assertEquals([...statuses.keys()].sort(), [200, 400, 413, 415]);
});

Deno.test("NDJSON is read line by line as it was written", async () => {
  const anyLine = fc.record({
    name: fc.stringMatching(/^[ -~]{1,20}$/),
    data: fc.string({ unit: "binary", maxLength: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyLine, { minLength: 1, maxLength: 5 }),
      fc.constantFrom("\n", "\r\n", "\n\n", "\n \t\n"),
      async (lines, end) => {
        const body = lines.map((line) => JSON.stringify(line)).join(end) + end;
        const headers = {
          "content-type": "application/x-ndjson",
          "content-length": String(utf8.encode(body).length),
        };
        const request = new Request("http://x/", { method: "POST", body, headers });
        const publications = await readPublications(
          request,
          new Params(),
          LIMITS,
          bodiesOf(LIMITS),
        );
        assertEquals(
          publications,
          lines.map(({ name, data }) => ({ channel: name, data, id: undefined })),
        );
      },
    ),
    { numRuns: 2000 },
  );
});

// Positions, callbacks, names.

const anyCursor = fc.record({
  epoch: fc.stringMatching(/^[0-9a-z]{1,32}$/),
  seq: fc.maxSafeNat(),
}, { requiredKeys: ["seq"] });

/** A valid text with one thing changed. */
function mutated(valid: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const at = fc.double({ min: 0, max: 1, noNaN: true });
  return fc.tuple(valid, at, fc.nat(3), fc.oneof(anyString, fc.constantFrom(..."-,0a9Z \n\0")))
    .map(([text, at, drop, insert]) => {
      const start = Math.floor(at * text.length);
      return text.slice(0, start) + insert + text.slice(start + drop);
    });
}

Deno.test("what parseCursor() reads, printCursor() prints again, but for zeros in front", () => {
  let [read, refused] = [0, 0];
  const printed = anyCursor.map(printCursor);
  fc.assert(
    fc.property(fc.oneof(printed, mutated(printed), anyString), (text) => {
      try {
        const cursor = parseCursor(text);
        assertEquals(printCursor(cursor), text.replace(/(^|-)0+(?=[0-9]+$)/, "$1"));
        read++;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        assert(!/^([0-9a-z]{1,32}-)?[0-9]{1,15}$/.test(text), text);
        refused++;
      }
    }),
    { numRuns: 10_000 },
  );
  assert(read > 500 && refused > 500, `${read} read, ${refused} refused`);
});

Deno.test("a list of positions is read item by item, or refused with RangeError", () => {
  const printed = fc.array(fc.option(anyCursor, { nil: undefined }), { minLength: 2 });
  fc.assert(
    fc.property(printed, fc.nat(3), (cursors, more) => {
      const text = cursors.map((cursor) => cursor === undefined ? "" : printCursor(cursor)).join();
      assertEquals(parseCursors(text, cursors.length), cursors);
      if (more === 0) return;
      let refused = false;
      try {
        parseCursors(text, cursors.length + more);
      } catch (error) {
        refused = error instanceof RangeError;
      }
      assert(refused);
    }),
    { numRuns: 3000 },
  );
});

Deno.test("any callback is the path of a function or refused, and runs nothing but itself", () => {
  const valid = fc.stringMatching(/^[a-zA-Z_$][\w$]{0,10}(\.[a-zA-Z_$][\w$]{0,10}){0,3}$/);
  let taken = 0;
  fc.assert(
    fc.property(fc.oneof(valid, mutated(valid), anyString), (callback) => {
      const params = new Params().set("name", "x").set("callback", callback);
      const refusal = refusalOf(() => subscribeRequest(params, new Headers(), LIMITS));
      const parts = callback.split(".");
      const path = callback.length <= 128 &&
        parts.every((part) => part !== "" && !/^[0-9]/.test(part) && !/[^0-9A-Za-z_$]/.test(part));
      if (!path) {
        assertEquals([refusal?.status, refusal?.code], [400, "bad_parameter"]);
        assert(refusal!.message.includes('"callback"'));
        return;
      }
      assertEquals(refusal, undefined);
      taken++;
      // Words of the language are not names of functions: a script with one does nothing.
      const called: unknown[] = [];
      const last = (value: unknown) => void called.push(value);
      const [global, ...rest] = parts;
      const object = rest.reduceRight<unknown>((inner, part) => ({ [part]: inner }), last);
      try {
        new Function(global, `/**/${callback}(["msg"]);`)(object);
      } catch (error) {
        assert(error instanceof SyntaxError || global === "this" || parts.includes("__proto__"));
        return;
      }
      assertEquals(called, [["msg"]]);
    }),
    { numRuns: 5000 },
  );
  assert(taken > 500, `${taken} taken`);
});

/** Whether a text may be the name of a channel, by the words of docs/protocol.md. */
function isName(text: unknown): text is string {
  return typeof text === "string" && text !== "" && text.isWellFormed() && !/\p{Cc}/u.test(text) &&
    utf8.encode(text).length <= 255;
}

const anyChannel = fc.oneof(
  anyString,
  fc.stringMatching(/^[a-z]{1,3}$/),
  fc.string({ unit: "grapheme", minLength: 60, maxLength: 260 }),
  fc.nat(300).map((length) => "ä".repeat(length)),
);

Deno.test("any text is a name of 1 to 255 bytes without controls, or refused", () => {
  let taken = 0;
  fc.assert(
    fc.property(anyChannel, (name) => {
      const refusal = refusalOf(() => checkName("name", name));
      if (isName(name)) taken++;
      assertEquals(
        [refusal?.status, refusal?.code],
        isName(name) ? [undefined, undefined] : [
          400,
          "bad_parameter",
        ],
      );
    }),
    { numRuns: 10_000 },
  );
  assert(taken > 500, `${taken} taken`);
});

// river.v1, on a socket that lives through all of it.

const someChannel = fc.oneof(
  fc.constantFrom("a", "b", "c", "__proto__", "\u2028", ""),
  anyString,
  anyChannel,
);
const someSeq = fc.oneof(
  anyCursor.map(printCursor),
  fc.integer({ min: -2, max: 10 }),
  fc.double(),
  anyString,
  fc.jsonValue(),
);
const someText = fc.oneof(anyString, fc.jsonValue());

const anyCommand = fc.oneof(
  fc.record({ channel: someChannel, seq: someSeq }, { requiredKeys: ["channel"] })
    .map((fields) => ["sub", fields]),
  fc.record({ channel: someChannel }).map((fields) => ["unsub", fields]),
  fc.record({ channel: someChannel, data: anyString, id: anyString }, {
    requiredKeys: ["channel", "data"],
  }).map((fields) => ["pub", fields]),
  fc.record({ channel: someText, data: someText, id: someText, seq: someText }, {
    requiredKeys: [],
  }).chain((fields) => fc.constantFrom("sub", "unsub", "pub", "fly").map((kind) => [kind, fields])),
).map((command) => JSON.stringify(command));

const anyLine = fc.oneof(
  { weight: 4, arbitrary: anyCommand },
  { weight: 2, arbitrary: mutated(anyCommand) },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: anyText },
);

const NpmSocket: new (url: string, protocols?: string[]) => SocketLike = NpmWebSocket;

/** What river.v1 must answer to a line; also keeps the channels subscribed to. */
function answerTo(line: string, subscribed: Set<string>): string | undefined {
  const context: Record<string, string> = {};
  const error = () => JSON.stringify(["error", context]);
  let command: unknown;
  try {
    command = JSON.parse(line);
  } catch {
    return error();
  }
  if (!Array.isArray(command) || command.length !== 2 || typeof command[0] !== "string") {
    return error();
  }
  const [kind, fields] = command;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return error();
  const { channel, data, id, seq } = fields;
  if (typeof id === "string") context.id = id;
  if (typeof channel === "string") context.channel = channel;
  switch (kind) {
    case "sub": {
      const position = typeof seq === "string" || typeof seq === "number" ? String(seq) : "";
      const known = seq === undefined ||
        (/^([0-9a-z]{1,32}-)?[0-9]{1,16}$/.test(position) &&
          Number(position.split("-").at(-1)) <= Number.MAX_SAFE_INTEGER);
      if (!isName(channel) || !known || subscribed.has(channel) || subscribed.size >= 128) {
        return error();
      }
      subscribed.add(channel);
      return JSON.stringify(["open", { channel }]);
    }
    case "unsub":
      return subscribed.delete(channel) ? undefined : error();
    case "pub":
      if (!isName(channel) || typeof data !== "string" || !data.isWellFormed()) return error();
      if (id !== undefined && typeof id !== "string") return error();
      return id === undefined ? undefined : JSON.stringify(["ack", { id, channel }]);
    default:
      return error();
  }
}

const CODES = [
  "bad_command",
  "unknown_command",
  "missing_parameter",
  "bad_parameter",
  "already_subscribed",
  "not_subscribed",
  "too_many_channels",
];

Deno.test("any lines of river.v1 are answered one by one, and the next command works", async () => {
  await using server = await serveHere();
  // The runtime's own client writes frames in two parts, the second of which may have to wait.
  await using socket = await SocketReader.open(
    new NpmSocket(`ws://127.0.0.1:${server.port}/websocket`, [V1]),
  );
  const subscribed = new Set<string>();
  const told = new Map<string, number>();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(anyLine, { minLength: 1, maxLength: 8 }), async (lines) => {
      const end = JSON.stringify(["pub", { channel: "end", data: "", id: `end ${++run}` }]);
      // As UTF-8 carries it: half of a surrogate pair cannot be sent.
      const frame = lines.join("\n").toWellFormed();
      socket.send(frame, end);
      const expected = [];
      for (const line of frame.split("\n")) {
        const answer = line === "" ? undefined : answerTo(line, subscribed);
        if (answer !== undefined) expected.push(answer);
      }
      const answers: string[] = [];
      for (;;) {
        const [kind, { code, message, cursor: _cursor, seq: _seq, ...rest }] = JSON.parse(
          await socket.line(),
        );
        if (kind === "msg" || kind === "gap") continue;
        if (kind === "ack" && rest.id === `end ${run}`) break;
        if (kind === "error") assert(CODES.includes(code) && typeof message === "string", code);
        told.set(code ?? kind, (told.get(code ?? kind) ?? 0) + 1);
        answers.push(JSON.stringify([kind, rest]));
      }
      assertEquals(answers.toSorted(), expected.toSorted());
    }),
    // The channels stay subscribed to from one case to the next, so that no case can be made smaller.
    { numRuns: 3000, endOnFailure: true },
  );
  assertEquals(server.errors, []);
  for (const each of [...CODES.slice(0, 6), "open", "ack"]) {
    assert((told.get(each) ?? 0) > 10, `${each}: ${JSON.stringify(Object.fromEntries(told))}`);
  }
  assertEquals([...subscribed].every((channel) => server.hub.subscribers(channel) === 1), true);
});

Deno.test("any frames leave a socket alive or closed with the code of the first that is not allowed", async () => {
  await using server = await serveHere("--max-message", "50", "--max-body", "200");
  const anyFrame = fc.oneof(
    { weight: 6, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
    { weight: 1, arbitrary: fc.nat(100).map((length) => "a".repeat(length)) },
    { weight: 1, arbitrary: fc.nat(100).map((length) => "€".repeat(length)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }) },
  );
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(anyFrame, { maxLength: 6 }), fc.boolean(), async (frames, lines) => {
      const channel = `frames ${run++}`;
      const name = `name=${encodeURIComponent(channel)}`;
      await using socket = await openSocket(server, name, lines ? V1 : undefined);
      let expected: number | undefined;
      let published = 0;
      for (const frame of frames) {
        const size = typeof frame === "string" ? utf8.encode(frame).length : 0;
        if (typeof frame !== "string") expected = 1003;
        else if (size > (lines ? 200 : 50)) expected = 1009;
        else if (!lines) published++;
        socket.socket.send(frame as string);
        // A client that keeps sending may miss the close.
        if (expected !== undefined) break;
      }
      if (expected !== undefined) assertEquals((await socket.closed).code, expected);
      else {
        const data = "alive";
        socket.send(lines ? JSON.stringify(["pub", { channel, data }]) : data);
        while (await socket.line() !== msg(channel, published + 1, data));
      }
      assertEquals((await publish(server, channel, "next")).seq, published + (expected ? 1 : 2));
    }),
    { numRuns: 1000 },
  );
  await until(() => server.hub.size === 0);
  assertEquals(server.errors, []);
});

// HTTP, written by hand.

/** A value of a header. Some are not text. */
const anyValue = fc.oneof(
  fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/),
  fc.string({
    unit: fc.integer({ min: 0x80, max: 0xff }).map((code) => String.fromCharCode(code)),
  }),
  fc.constantFrom("", "null", "*", "13", "websocket", "Upgrade", "river.v1", "a,b", "12-3", "0"),
  fc.constantFrom("text/event-stream", "http://127.0.0.1", "https://example.com", "cross-site"),
);

const anyHeader = fc.constantFrom(
  "Accept",
  "Authorization",
  "Connection",
  "Content-Type",
  "Cookie",
  "Host",
  "Last-Event-ID",
  "Origin",
  "Referer",
  "Sec-Fetch-Site",
  "Sec-WebSocket-Extensions",
  "Sec-WebSocket-Key",
  "Sec-WebSocket-Protocol",
  "Sec-WebSocket-Version",
  "Upgrade",
  "X-Forwarded-For",
);

const anyHeaders = fc.dictionary(anyHeader, anyValue, { maxKeys: 4 });

/** Targets: most are read to the end, some are not even targets. */
const anyTarget = fc.oneof(
  { weight: 4, arbitrary: anySearch },
  { weight: 2, arbitrary: anySearch.map((search) => `name=x&data=a&${search}`) },
  { weight: 2, arbitrary: fc.constantFrom("name=x", "name=x&name=y&seq=0,0", "name=x&data=a") },
  { weight: 1, arbitrary: fc.stringMatching(/^[!-~]{0,40}$/) },
);

interface AnyRequest {
  readonly method: string;
  readonly path: string;
  readonly search: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** What each route may answer with. */
const STATUSES: Record<string, number[]> = {
  "/publish": [200, 204, 400, 403, 405, 413, 415],
  "/subscribe": [200, 204, 400, 403, 405, 413, 415],
  "/websocket": [101, 204, 400, 403, 405, 426],
  "/channels": [200, 204, 400, 403, 404, 405],
};

/** Sends a request, a byte a character, and gives the status. */
async function statusOf(
  server: { port: number },
  { method, path, search, headers, body }: AnyRequest,
): Promise<number> {
  using connection = await RawConnection.open(server);
  const length: Record<string, string> = method === "POST"
    ? { "Content-Length": String(body.length) }
    : {};
  const head = requestHead(`${method} ${path}?${search} HTTP/1.1`, { ...headers, ...length });
  const text = head + (method === "POST" ? body : "");
  await connection.write(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  if (method === "HEAD") {
    return Number(/^HTTP\/1\.1 ([0-9]{3}) /.exec(await connection.until("\r\n\r\n"))![1]);
  }
  const { status, headers: answered, text: answer } = await connection.response();
  // What the runtime refuses by itself has no words.
  if (status >= 400 && answered.get("content-type") === "application/json") {
    const { error: { code, message } } = JSON.parse(answer);
    assert(/^[a-z_]+$/.test(code) && message !== "");
  }
  return status;
}

Deno.test("any request gets a status that its route documents, and never 500", async () => {
  await using server = await serveHere();
  const got = new Map<string, number>();
  const anyRequest: fc.Arbitrary<AnyRequest> = fc.record({
    method: fc.constantFrom("GET", "GET", "GET", "POST", "POST", "POST", "OPTIONS", "PUT", "HEAD"),
    path: fc.constantFrom(...Object.keys(STATUSES)),
    search: anyTarget,
    headers: fc.oneof(
      anyHeaders,
      fc.constant(UPGRADE),
      fc.tuple(fc.constant(UPGRADE), anyHeaders).map(([upgrade, others]) => ({
        ...upgrade,
        ...others,
      })),
      fc.tuple(anyType, anyHeaders).map(([type, others]) => ({
        ...others,
        "Content-Type": type,
      })),
    ),
    body: anyBody.map((body) => {
      const bytes = typeof body === "string" ? utf8.encode(body) : body;
      return String.fromCharCode(...bytes);
    }),
  });
  await fc.assert(
    fc.asyncProperty(anyRequest, async (request) => {
      const status = await statusOf(server, request);
      assert(STATUSES[request.path].includes(status), `${status}`);
      got.set(`${request.path} ${status}`, (got.get(`${request.path} ${status}`) ?? 0) + 1);
    }),
    { numRuns: 4000 },
  );
  for (const each of ["/publish 200", "/subscribe 200", "/websocket 101", "/publish 400"]) {
    assert((got.get(each) ?? 0) > 3, `${each}: ${JSON.stringify(Object.fromEntries(got))}`);
  }
  await until(() => server.hub.size === 0);
  assertEquals(server.errors, []);
  await using lines = await subscribe(server, "name=alive");
  await publish(server, "alive", "yes");
  assertEquals(await lines.next(), msg("alive", 1, "yes"));
});
