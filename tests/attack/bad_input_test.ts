import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { EventSource } from "eventsource";
import { ASSETS } from "../../lib/http/assets.ts";
import {
  afterRetry,
  type Answer,
  ask,
  errorCode,
  msg,
  publish,
  subscribe,
} from "../support/http.ts";
import { RawConnection, requestHead, sendRaw, UPGRADE } from "../support/raw.ts";
import { type LocalServer, metric, serveHere, UNUSED } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

/** The server is alive, nothing was published, nobody is left over, nothing broke. */
async function assertUnharmed(server: LocalServer): Promise<void> {
  assertEquals(await metric(server, "river_messages_published_total"), 0);
  assertEquals(server.engine.usage(), UNUSED);
  assertEquals([server.hub.size, server.errors], [0, []]);
  await using lines = await subscribe(server, "name=alive");
  await publish(server, "alive", "yes");
  assertEquals(await lines.next(), msg("alive", 1, "yes"));
}

function assertRefused(answer: Answer, status: number, code: string, mention = ""): void {
  assertEquals([answer.status, errorCode(answer)], [status, code], answer.text);
  assertEquals(answer.headers.get("content-type"), "application/json");
  assert(answer.text.endsWith("}\n"));
  assertStringIncludes(answer.text, mention);
}

// Row 5: targets as only somebody who writes HTTP by hand sends them.

const NO_ROUTE = [
  "//publish?name=x&data=a",
  "/%70ublish?name=x&data=a",
  "/publish/?name=x&data=a",
  "/publish%3Fname=x&data=a",
  "/PUBLISH?name=x&data=a",
  "/./publish?name=x&data=a",
  "/a/../publish?name=x&data=a",
  "/__proto__",
  "/constructor",
  "/toString",
];

for (const target of NO_ROUTE) {
  Deno.test(`GET ${target} is not found`, async () => {
    await using server = await serveHere();
    assertRefused(await sendRaw(server, `GET ${target} HTTP/1.1`), 404, "not_found");
    await assertUnharmed(server);
  });
}

const ABSOLUTE: [target: string, status: number][] = [
  ["http://127.0.0.1/publish?name=x&data=a", 200],
  ["http://other.example:81/publish?name=x&data=a", 200],
  ["http://127.0.0.1/?name=x&data=a", 200],
  ["http://127.0.0.1/%70ublish?name=x&data=a", 404],
];

for (const [target, status] of ABSOLUTE) {
  Deno.test(`GET ${target}, an absolute target, leads to its route: ${status}`, async () => {
    await using server = await serveHere();
    const answer = await sendRaw(server, `GET ${target} HTTP/1.1`);
    assertEquals(answer.status, status, answer.text);
    const published = target.includes("/publish");
    assertEquals(server.engine.usage().messages, published ? 1 : 0);
    assertEquals((await publish(server, "x", "alive")).seq, published ? 2 : 1);
  });
}

for (const target of ["?/publish?name=x&data=a", "?a=/publish?name=x&data=a"]) {
  Deno.test(`GET http://127.0.0.1${target}, a target without a path, publishes nothing`, async () => {
    await using server = await serveHere();
    await sendRaw(server, `GET http://127.0.0.1${target} HTTP/1.1`);
    await assertUnharmed(server);
  });
}

// Row 6: methods.

const METHODS: [method: string, path: string, allow: string][] = [
  ["HEAD", "/subscribe?name=x", "GET, POST, OPTIONS"],
  ["TRACE", "/subscribe?name=x", "GET, POST, OPTIONS"],
  ["PUT", "/subscribe?name=x", "GET, POST, OPTIONS"],
  ["PUT", "/publish?name=x&data=a", "GET, POST, OPTIONS"],
  ["HEAD", "/publish?name=x&data=a", "GET, POST, OPTIONS"],
  ["DELETE", "/subscribe?name=x", "GET, POST, OPTIONS"],
  ["BREW", "/publish?name=x&data=a", "GET, POST, OPTIONS"],
  ["constructor", "/publish?name=x&data=a", "GET, POST, OPTIONS"],
  ["POST", "/channels", "GET, HEAD, DELETE, OPTIONS"],
  ["PUT", "/channels/x", "GET, HEAD, DELETE, OPTIONS"],
  ["POST", "/healthz", "GET, HEAD, OPTIONS"],
  ["DELETE", "/metrics", "GET, HEAD, OPTIONS"],
  ["POST", "/", "GET, HEAD, OPTIONS"],
];

for (const [method, target, allow] of METHODS) {
  Deno.test(`${method} ${target} gets 405 with Allow`, async () => {
    await using server = await serveHere();
    const line = `${method} ${target} HTTP/1.1`;
    const { status, headers } = await sendRaw(server, line, { Connection: "close" });
    assertEquals([status, headers.get("allow")], [405, allow]);
    await assertUnharmed(server);
  });
}

// Row 12: parameters. Each is tried in the query, in a form and in JSON.

const PARAMETERS: [query: string, code: string, named: string][] = [
  ["", "missing_parameter", "name"],
  ["data=a", "missing_parameter", "name"],
  ["name=", "bad_parameter", "name"],
  ["name", "bad_parameter", "name"],
  ["name=x&name=x", "duplicate_parameter", "name"],
  ["name=x&seq=", "bad_parameter", "seq"],
  ["name=x&seq=abc", "bad_parameter", "seq"],
  ["name=x&seq=-1", "bad_parameter", "seq"],
  ["name=x&seq=18446744073709551616", "bad_parameter", "seq"],
  ["name=x&seq=9007199254740992", "bad_parameter", "seq"],
  ["name=x&seq=1e3", "bad_parameter", "seq"],
  ["name=x&seq=1.5", "bad_parameter", "seq"],
  ["name=x&seq=0x10", "bad_parameter", "seq"],
  ["name=x&seq=+1", "bad_parameter", "seq"],
  ["name=x&seq=EPOCH-1", "bad_parameter", "seq"],
  ["name=x&seq=abc-", "bad_parameter", "seq"],
  ["name=x&seq=1,2", "bad_parameter", "seq"],
  ["name=x&name=y&seq=1", "bad_parameter", "seq"],
  ["name=x&name=y&seq=1,x", "bad_parameter", "seq"],
  ["name=x&seq=1&seq=2", "duplicate_parameter", "seq"],
  ["name=x&keep=2", "bad_parameter", "keep"],
  ["name=x&keep=", "bad_parameter", "keep"],
  ["name=x&limit=0", "bad_parameter", "limit"],
  ["name=x&limit=-1", "bad_parameter", "limit"],
  ["name=x&limit=1e1", "bad_parameter", "limit"],
  ["name=x&timeout=0", "bad_parameter", "timeout"],
  ["name=x&timeout=86401", "bad_parameter", "timeout"],
  ["name=x&timeout=Infinity", "bad_parameter", "timeout"],
  ["name=x&format=xml", "bad_parameter", "format"],
  ["name=x&format=__proto__", "bad_parameter", "format"],
  ["name=x&seq=%zz", "bad_parameter", "seq"],
  ["name=%", "bad_parameter", "name"],
  ["name=%ff", "bad_parameter", "name"],
  ["name=%c3%28", "bad_parameter", "name"],
];

for (const [query, code, named] of PARAMETERS) {
  Deno.test(`/subscribe?${query} is refused, naming "${named}"`, async () => {
    await using server = await serveHere();
    const mention = `arameter \\"${named}\\"`;
    assertRefused(await ask(`${server.url}/subscribe?${query}`), 400, code, mention);
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const form = { method: "POST", body: query, headers };
    assertRefused(await ask(`${server.url}/subscribe`, form), 400, code, mention);
    const socket = await sendRaw(server, `GET /websocket?${query} HTTP/1.1`, UPGRADE);
    if (["name", "seq"].includes(named)) assertRefused(socket, 400, code, mention);
    await assertUnharmed(server);
  });
}

const FOREIGN_IDS = ["abc", "-1", "1e3", "1478833333:0", "1,2", "%%", "\u00e9", "x".repeat(5000)];

for (const value of FOREIGN_IDS) {
  const what = value.length > 100 ? "very long" : value;
  Deno.test(`an event id of another server (${what}) is not an error: it gets a gap and all of the history`, async () => {
    await using server = await serveHere();
    const epoch = (await publish(server, "x", "1")).epoch;
    const expected = `["open", {"channel": "x", "cursor": "0-0"}]\n` +
      `["gap", {"channel": "x", "from": 1, "to": 0, "epoch": "${epoch}", "reason": "restart"}]\n` +
      `["msg", {"channel": "x", "seq": 1, "data": "1"}]\n`;
    const at = `${server.url}/subscribe?name=x&limit=1&format=river.v1`;
    const byHeader = await ask(at, { headers: { "Last-Event-ID": value } });
    assertEquals([byHeader.status, byHeader.text], [200, expected]);
    assertEquals(byHeader.headers.get("river-cursor"), "0-0");
    for (const parameter of ["lastEventId", "last_event_id"]) {
      const answer = await ask(`${at}&${parameter}=${encodeURIComponent(value)}`);
      assertEquals([answer.status, answer.text], [200, expected]);
    }
    assertEquals(server.errors, []);
  });
}

Deno.test("an EventSource that comes from another server gets a gap for each channel, and stays connected", async () => {
  await using server = await serveHere();
  const { epoch } = await publish(server, "x", "x1");
  const headers = { accept: "text/event-stream", "Last-Event-ID": "1478833333:0" };
  const { text } = await ask(`${server.url}/subscribe?name=y&name=x&limit=1`, { headers });
  const gaps = [...text.matchAll(/^event: gap\nid: .*\ndata: (.*)$/gm)].map(([, data]) =>
    JSON.parse(data)
  );
  assertEquals(
    gaps.map(({ channel, from, to, reason }) => [channel, from, to, reason]),
    [["y", 1, 0, "restart"], ["x", 1, 0, "restart"]],
  );
  assertMatch(text, new RegExp(`id: [0-9a-z]+-0,${epoch}-1\ndata: x1\n`));
});

const PUBLICATIONS: [what: string, type: string, body: BodyInit, code: string][] = [
  ["no data", "application/x-www-form-urlencoded", "name=x", "missing_parameter"],
  [
    "data twice",
    "application/x-www-form-urlencoded",
    "name=x&data=a&data=b",
    "duplicate_parameter",
  ],
  ["bad UTF-8 in a form", "application/x-www-form-urlencoded", "name=x&data=%ff", "bad_parameter"],
  [
    "a surrogate in a form",
    "application/x-www-form-urlencoded",
    "name=x&data=%ed%a0%80",
    "bad_parameter",
  ],
  ["a bare percent sign", "application/x-www-form-urlencoded", "name=x&data=100%", "bad_parameter"],
  ["bad UTF-8 in a text", "text/plain", new Uint8Array([0x61, 0xff]), "bad_encoding"],
  ["bad UTF-8 in JSON", "application/json", new Uint8Array([0x22, 0xff, 0x22]), "bad_encoding"],
  ["broken JSON", "application/json", '{"name":"x",', "bad_json"],
  ["no JSON", "application/json", "", "bad_json"],
  ["a list for JSON", "application/json", "[]", "bad_json"],
  ["null for JSON", "application/json", "null", "bad_json"],
  ["data that is an object", "application/json", '{"name":"x","data":{}}', "bad_parameter"],
  ["data that is null", "application/json", '{"name":"x","data":null}', "bad_parameter"],
  ["a name that is a number", "application/json", '{"name":1,"data":"a"}', "bad_parameter"],
  ["names that are lists", "application/json", '{"name":[["x"]],"data":"a"}', "bad_parameter"],
  ["no names", "application/json", '{"name":[],"data":"a"}', "missing_parameter"],
  ["a surrogate in JSON", "application/json", '{"name":"x","data":"\\udc00"}', "bad_parameter"],
  ["a surrogate in a name", "application/json", '{"name":"\\udc00","data":"a"}', "bad_parameter"],
  ["an empty id", "application/json", '{"name":"x","data":"a","id":""}', "bad_parameter"],
  [
    "a long id",
    "application/json",
    `{"name":"x","data":"a","id":"${"i".repeat(256)}"}`,
    "bad_parameter",
  ],
  [
    "a line end in an id",
    "application/json",
    '{"name":"x","data":"a","id":"a\\nb"}',
    "bad_parameter",
  ],
];

for (const [what, type, body, code] of PUBLICATIONS) {
  Deno.test(`publishing with ${what} is refused`, async () => {
    await using server = await serveHere();
    const query = type === "text/plain" ? "?name=x" : "";
    const headers = { "content-type": type };
    const answer = await ask(`${server.url}/publish${query}`, { method: "POST", body, headers });
    assertRefused(answer, 400, code);
    await assertUnharmed(server);
  });
}

for (const head of ["Content-Length: 10", "Transfer-Encoding: chunked"]) {
  Deno.test(`a body (${head}) whose client goes away is not an error of the server`, async () => {
    await using server = await serveHere();
    using watcher = await RawConnection.open(server);
    for (const path of ["publish", "subscribe"]) {
      using connection = await RawConnection.open(server);
      const [name, value] = head.split(": ");
      const headers = { [name]: value, "Expect": "100-continue" };
      await connection.write(requestHead(`POST /${path}?name=x HTTP/1.1`, headers));
      await connection.until("100 Continue\r\n\r\n");
      await connection.write(value === "10" ? "abc" : "3\r\nabc\r\n");
    }
    await until(async () =>
      (await ask(`${server.url}/metrics`)).text.includes("river_refusals_total{")
    );
    await watcher.write(requestHead("GET /healthz HTTP/1.1"));
    assertEquals((await watcher.response()).status, 200);
    await assertUnharmed(server);
  });
}

// Rows 13 and 14: data that is text in JSON, in an event stream and in a script.

const DATA: [what: string, data: string][] = [
  ["nothing", ""],
  ["quotes and backslashes", `"'\\"\\\\n</script>`],
  [
    "control characters",
    Array.from({ length: 32 }, (_, i) => String.fromCharCode(i)).join("") + "\x7f\x80",
  ],
  ["NUL", "a\0b"],
  ["U+2028 and U+2029", "a\u2028b\u2029c"],
  ["astral characters", "a😀𐍈"],
  ["a byte order mark", "\ufeffa"],
  ["CR", "a\rid: 9-9\rdata: b"],
  ["LF", "a\nid: 9-9\nevent: gap\nretry: 1\n: c"],
  ["CRLF", "a\r\nid: 9-9\r\n\r\ndata: b\r\n"],
  ["an event's end", "\n\nid:9\ndata: b\n\n"],
  ["spaces", "  a  "],
];

/** A message as an independent reader of event streams sees it. */
function firstEvent(url: string): Promise<{ data: string; lastEventId: string }> {
  const source = new EventSource(url);
  return new Promise((resolve, reject) => {
    source.onmessage = ({ data, lastEventId }) => resolve({ data, lastEventId });
    source.onerror = (error) => reject(error);
    source.addEventListener("gap", () => reject(new Error("a gap was injected")));
  }).finally(() => source.close()) as Promise<{ data: string; lastEventId: string }>;
}

for (const [what, data] of DATA) {
  Deno.test(`data with ${what} comes out as it went in, on all transports`, async () => {
    await using server = await serveHere();
    const { epoch } = await publish(server, "x", data);
    await publish(server, "x", "next");
    const at = `${server.url}/subscribe?name=x&seq=0`;
    const expected = ["msg", { channel: "x", seq: 1, data }];
    const lines = (await ask(`${at}&limit=2`)).text.split("\n");
    assertEquals([lines.length, lines[2]], [3, ""]);
    assertEquals(JSON.parse(lines[0]), expected);

    const script = (await ask(`${at}&callback=cb`)).text;
    const calls: unknown[] = [];
    new Function("cb", script)((call: unknown) => calls.push(call));
    assertEquals(calls[0], expected);
    assertEquals(calls.length, 2);
    assert(!/[\u2028\u2029]/.test(script));

    for (const protocol of [undefined, "river.v1"]) {
      await using socket = await openSocket(server, "name=x&seq=0", protocol);
      if (protocol !== undefined) await socket.line();
      assertEquals(JSON.parse(await socket.line()), expected);
    }

    // An event stream has one kind of line end.
    const normal = data.replace(/\r\n?/g, "\n");
    assertEquals(await firstEvent(`${at}&format=sse`), { data: normal, lastEventId: `${epoch}-1` });
    const events = afterRetry((await ask(`${at}&format=sse&limit=2`)).text).split("\n\n");
    assertEquals([events.length, events[0], events[3]], [4, `:\nid: ${epoch}-0`, ""]);

    const raw = (await ask(`${at}&format=raw&limit=2`)).text;
    assertEquals(raw, normal.replaceAll("\n", " ") + "\nnext\n");
  });
}

// Row 15: channels.

const CHANNELS = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "a/b",
  "..",
  "ä",
  "a".repeat(255),
  "ü".repeat(127),
];

for (const channel of CHANNELS) {
  Deno.test(`a channel ${channel.slice(0, 20)} of ${channel.length} is one as any other`, async () => {
    await using server = await serveHere();
    const name = encodeURIComponent(channel);
    await using lines = await subscribe(server, `name=${name}&name=other`);
    await publish(server, "other", "o");
    assertEquals((await publish(server, channel, "a")).seq, 1);
    assertEquals(await lines.take(2), [msg("other", 1, "o"), msg(channel, 1, "a")]);
    const info = await sendRaw(server, `GET /channels/${name} HTTP/1.1`);
    assertEquals(JSON.parse(info.text).channel, channel);
    assertEquals(server.engine.usage().channels, 2);
  });
}

const BAD_CHANNELS: [what: string, name: string][] = [
  ["of 256 bytes", "a".repeat(256)],
  ["of 256 bytes in 128 characters", "ä".repeat(128)],
  ["with NUL", "a\0"],
  ["with a line end", "a\nb"],
  ["with DEL", "a\x7f"],
  ["with a C1 control", "a\x85"],
];

for (const [what, channel] of BAD_CHANNELS) {
  Deno.test(`a channel ${what} is refused`, async () => {
    await using server = await serveHere();
    const name = encodeURIComponent(channel);
    for (
      const target of [
        `/publish?name=${name}&data=a`,
        `/subscribe?name=${name}`,
        `/channels/${name}`,
      ]
    ) {
      assertRefused(await ask(server.url + target), 400, "bad_parameter", '\\"name\\"');
    }
    const socket = await sendRaw(server, `GET /websocket?name=${name} HTTP/1.1`, UPGRADE);
    assertRefused(socket, 400, "bad_parameter", '\\"name\\"');
    await assertUnharmed(server);
  });
}

// Row 16: many parameters.

const MANY: [what: string, form: string, code: string | undefined][] = [
  ["unknown ones", "x=1&".repeat(10_000) + "name=x&data=a", "too_many_parameters"],
  ["that cannot be decoded", "%&".repeat(10_000) + "name=x&data=a", "too_many_parameters"],
  ["separators", "&".repeat(10_000) + "name=x&data=a", undefined],
  [
    "names",
    Array.from({ length: 10_000 }, (_, i) => `name=c${i}`).join("&") + "&data=a",
    "too_many_parameters",
  ],
  ["equal names", "name=x&".repeat(10_000) + "data=a", "too_many_parameters"],
  ["data", "name=x" + "&data=a".repeat(10_000), "too_many_parameters"],
];

for (const [what, body, code] of MANY) {
  Deno.test(`10,000 parameters, ${what}: ${code ?? "published"}`, async () => {
    await using server = await serveHere();
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const answer = await ask(`${server.url}/publish`, { method: "POST", body, headers });
    if (code === undefined) {
      assertEquals(answer.status, 200);
      assertEquals((await publish(server, "x", "alive")).seq, 2);
    } else {
      assertRefused(answer, 400, code);
      assert(answer.text.length < 500, "the error repeats the request");
      await assertUnharmed(server);
    }
  });
}

Deno.test("10,000 parameters in a query and in JSON are refused as in a form", async () => {
  await using server = await serveHere();
  const query = await ask(`${server.url}/publish?${"x=1&".repeat(10_000)}name=x&data=a`);
  assertRefused(query, 400, "too_many_parameters");
  const members = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`x${i}`, i]));
  const body = JSON.stringify({ ...members, name: "x", data: "a" });
  const headers = { "content-type": "application/json" };
  assertRefused(
    await ask(`${server.url}/publish`, { method: "POST", body, headers }),
    400,
    "bad_json",
    "more than 2000 strings",
  );
  await assertUnharmed(server);
});

// Row 17: callbacks.

const BAD_CALLBACKS = [
  "",
  "alert(1)//",
  "a".repeat(129),
  "a".repeat(1000),
  "CWS\x07\x0e000",
  "a b",
  "a;b",
  "a-b",
  "1a",
  "a.",
  ".a",
  "a..b",
  "a[0]",
  "ä",
  "a\n",
  "<script>",
];

for (const parameter of ["callback", "jsonp"]) {
  for (const callback of BAD_CALLBACKS) {
    const shown = JSON.stringify(callback.slice(0, 20));
    Deno.test(`${parameter}=${shown} of ${callback.length} is refused`, async () => {
      await using server = await serveHere();
      const query = new URLSearchParams({ name: "x", [parameter]: callback });
      const answer = await ask(`${server.url}/subscribe?${query}`);
      assertRefused(answer, 400, "bad_parameter", `\\"${parameter}\\"`);
      assertEquals(answer.headers.get("x-content-type-options"), "nosniff");
      await assertUnharmed(server);
    });
  }
}

for (const callback of ["cb", "$", "_a1", "jQuery123_456", "a.b.c", "a".repeat(128)]) {
  Deno.test(`callback=${callback.slice(0, 20)} is called`, async () => {
    await using server = await serveHere();
    await publish(server, "x", "a");
    const { text, headers } = await ask(
      `${server.url}/subscribe?name=x&seq=0&callback=${callback}`,
    );
    assertEquals(text, `/**/${callback}(${msg("x", 1, "a")});\n`);
    assertMatch(headers.get("content-type") ?? "", /^text\/javascript\b/);
    assertEquals(headers.get("x-content-type-options"), "nosniff");
  });
}

// Row 18: JSONP replay.

Deno.test("every replayed message is wrapped in a call of its own", async () => {
  await using server = await serveHere();
  const data = Array.from({ length: 20 }, (_, i) => `m${i}`);
  for (const text of data) await publish(server, "x", text);
  const { text } = await ask(`${server.url}/subscribe?name=x&seq=0&jsonp=cb`);
  assertEquals(text, data.map((text, i) => `/**/cb(${msg("x", i + 1, text)});\n`).join(""));
});

// Row 19: what the first river wrote into its script.

for (const domain of ['";alert(1)//', "'-alert(1)-'", "</script><script>alert(1)</script>"]) {
  Deno.test(`/lib.js?domain=${domain} is the same as any other /lib.js`, async () => {
    await using server = await serveHere();
    const plain = await ask(`${server.url}/lib.js`);
    assertEquals(plain.text, ASSETS.get("/lib.js")!.text);
    for (const query of [encodeURIComponent(domain), domain]) {
      const { status, text, headers } = await ask(`${server.url}/lib.js?domain=${query}`);
      assertEquals([status, text], [200, plain.text]);
      for (const [name, value] of headers) assert(!value.includes("alert"), name);
    }
    await assertUnharmed(server);
  });
}

// Row 20: handshakes.

const KEY = UPGRADE["Sec-WebSocket-Key"];

const HANDSHAKES: [
  what: string,
  method: string,
  change: Record<string, string>,
  status: number,
  header: [string, string] | undefined,
][] = [
  ["version 12", "GET", { "Sec-WebSocket-Version": "12" }, 426, ["sec-websocket-version", "13"]],
  ["no version", "GET", { "Sec-WebSocket-Version": "" }, 426, ["sec-websocket-version", "13"]],
  ["no key", "GET", { "Sec-WebSocket-Key": "" }, 400, undefined],
  ["a short key", "GET", { "Sec-WebSocket-Key": "YQ==" }, 400, undefined],
  [
    "a key that is not base64",
    "GET",
    { "Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!==" },
    400,
    undefined,
  ],
  ["a key and more", "GET", { "Sec-WebSocket-Key": `${KEY}a` }, 400, undefined],
  ["more and a key", "GET", { "Sec-WebSocket-Key": `aa${KEY}` }, 400, undefined],
  ["no Upgrade", "GET", { Upgrade: "" }, 426, ["upgrade", "websocket"]],
  ["another Upgrade", "GET", { Upgrade: "h2c" }, 426, ["upgrade", "websocket"]],
  ["no Connection: Upgrade", "GET", { Connection: "keep-alive" }, 400, undefined],
  ["another option that ends so", "GET", { Connection: "x-upgrade" }, 400, undefined],
  ["POST", "POST", {}, 405, ["allow", "GET, OPTIONS"]],
];

Deno.test("a WebSocket handshake is told which version is spoken, and which it asked for", async () => {
  await using server = await serveHere();
  const { "Sec-WebSocket-Version": _, ...headers } = UPGRADE;
  const { text } = await sendRaw(server, "GET /websocket?name=x HTTP/1.1", headers);
  assertStringIncludes(
    text,
    JSON.stringify('Bad header "Sec-WebSocket-Version": expected 13, got ""'),
  );
});

for (const [what, method, change, status, header] of HANDSHAKES) {
  Deno.test(`a WebSocket handshake with ${what} gets ${status}`, async () => {
    await using server = await serveHere();
    const headers = Object.fromEntries(
      Object.entries({ ...UPGRADE, ...change }).filter(([, value]) => value !== ""),
    );
    const answer = await sendRaw(server, `${method} /websocket?name=x HTTP/1.1`, headers);
    assertEquals(answer.status, status);
    errorCode(answer);
    if (header) assertEquals(answer.headers.get(header[0])?.toLowerCase(), header[1].toLowerCase());
    await assertUnharmed(server);
    await using socket = await openSocket(server, "name=x");
    socket.send("a");
    await using lines = await subscribe(server, "name=x&seq=0");
    assertEquals(await lines.next(), msg("x", 1, "a"));
  });
}

// Row 21: origins.

const FOREIGN: [origin: string, flags: string[]][] = [
  ["http://evil.example", []],
  ["null", []],
  ["", []],
  ["http://127.0.0.1", []],
  ["http://127.0.0.1:1", []],
  ["http://127.0.0.1.evil.example", []],
  ["null", ["--origin", "example.com"]],
  ["http://evilexample.com", ["--origin", "example.com"]],
  ["http://example.com.evil.net", ["--origin", "example.com"]],
  ["http://a.example.com", ["--origin", "example.com"]],
  ["http://example.com", ["--origin", "*.example.com"]],
  ["http://evilexample.com", ["--origin", "*.example.com"]],
  ["http://a.example.com.evil.net", ["--origin", "*.example.com"]],
  ["http://evil.net/.example.com", ["--origin", "*.example.com"]],
  ["http://example.com", ["--origin", "https://example.com"]],
  ["https://example.com:444", ["--origin", "https://example.com"]],
];

const TARGETS = [
  "GET /subscribe?name=x",
  "GET /publish?name=x&data=a",
  "OPTIONS /publish",
  "GET /websocket?name=x",
];

for (const [origin, flags] of FOREIGN) {
  Deno.test(`Origin "${origin}" with [${flags}] is refused before anything else`, async () => {
    await using server = await serveHere(...flags);
    for (const target of TARGETS) {
      const headers = { ...UPGRADE, Host: `127.0.0.1:${server.port}`, Origin: origin };
      const answer = await sendRaw(server, `${target} HTTP/1.1`, headers);
      assertRefused(answer, 403, "forbidden_origin");
      assertEquals(answer.headers.get("access-control-allow-origin"), null);
    }
    await assertUnharmed(server);
  });
}

const ALLOWED: [origin: (host: string) => string, flags: string[]][] = [
  [(host) => `http://${host}`, []],
  [(host) => `https://${host}`, []],
  [() => "http://example.com", ["--origin", "example.com"]],
  [() => "https://example.com:8443", ["--origin", "example.com"]],
  [() => "https://example.com:8443", ["--origin", "other.org", "--origin", "example.com:8443"]],
  [() => "https://a.b.example.com", ["--origin", "*.example.com"]],
  [() => "https://example.com", ["--origin", "https://EXAMPLE.com"]],
  [() => "http://anybody.example", ["--origin", "*"]],
  [() => "null", ["--origin", "*"]],
];

for (const [originOf, flags] of ALLOWED) {
  Deno.test(`Origin ${originOf("HOST")} with [${flags}] is allowed everywhere`, async () => {
    await using server = await serveHere(...flags);
    const host = `127.0.0.1:${server.port}`;
    const origin = originOf(host);
    for (const target of ["GET /publish?name=x&data=a", "OPTIONS /publish", "GET /publish"]) {
      const { headers } = await sendRaw(server, `${target} HTTP/1.1`, {
        Host: host,
        Origin: origin,
      });
      assertEquals(headers.get("access-control-allow-origin"), origin);
      assertEquals(
        headers.get("access-control-expose-headers"),
        "River-Cursor, Retry-After, WWW-Authenticate",
      );
      assertStringIncludes(headers.get("vary") ?? "", "Origin");
    }
    const upgrade = { ...UPGRADE, Host: host, Origin: origin };
    assertEquals((await sendRaw(server, "GET /websocket?name=x HTTP/1.1", upgrade)).status, 101);
  });
}

Deno.test("a preflight names the methods and headers that are allowed", async () => {
  await using server = await serveHere("--origin", "example.com");
  const { status, headers } = await sendRaw(server, "OPTIONS /publish HTTP/1.1", {
    "Origin": "https://example.com",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,traceparent",
  });
  assertEquals(status, 204);
  assertEquals(headers.get("access-control-allow-methods"), "GET, POST, OPTIONS");
  assertEquals(
    headers.get("access-control-allow-headers"),
    "authorization,traceparent",
  );
  assertEquals(headers.get("access-control-max-age"), "600");
});

Deno.test("a request without Origin gets no CORS headers", async () => {
  await using server = await serveHere("--origin", "*");
  const { headers } = await ask(`${server.url}/publish?name=x&data=a`);
  assertEquals(headers.get("access-control-allow-origin"), null);
});
