/**
 * Records what clients see: heads, answers and frames of every route and transport. Recorded before a
 * change and after it, the two show what the change did to clients.
 *
 *     deno run -A tests/tools/record.ts [--tree FOLDER] > FILE
 *
 * What differs from run to run (times, ports, epochs, figures) is written as a name in braces, and so
 * are the words of errors, which may change where their code may not.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { bytesOf } from "../hard/strangers/harness.ts";
import { encodeFrame, OP } from "../support/frames.ts";
import { requestHead, UPGRADE } from "../support/raw.ts";

const { values: { tree } } = parseArgs({ options: { tree: { type: "string", default: "." } } });

const utf8 = new TextEncoder();
const SECRET = "0123456789abcdef0123456789abcdef";
/** Milliseconds after which a connection that is open is left alone. */
const PATIENCE_MS = 1500;

interface Server {
  readonly port: number;
  stop(): Promise<void>;
}

async function start(...flags: string[]): Promise<Server> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--config", `${tree}/deno.json`, `${tree}/main.ts`]
      .concat("--port", "0", ...flags),
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) text += new TextDecoder().decode((await reader.read()).value);
  return {
    port: Number(/:([0-9]+)\//.exec(text)![1]),
    async stop() {
      child.kill("SIGTERM");
      await child.status;
      await reader.cancel();
    },
  };
}

/** All that comes until the end, or for as long as there is patience. */
async function readAll(conn: Deno.TcpConn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const timer = setTimeout(() => conn.close(), PATIENCE_MS);
  try {
    for (;;) {
      const buffer = new Uint8Array(65_536);
      const count = await conn.read(buffer);
      if (count === null) break;
      parts.push(buffer.subarray(0, count));
    }
    conn.close();
  } catch {
    // The time is over.
  }
  clearTimeout(timer);
  return bytesOf(...parts);
}

/** What stands in place of what differs from run to run. */
function settled(text: string, port: number): string {
  return text
    .replaceAll(String(port), "{port}")
    .replace(
      /\b[0-9a-z]{13,15}(?=-[0-9]|"|\b-)/g,
      (word) => /^m[0-9a-z]{12}/.test(word) ? "{epoch}" : word,
    )
    .replace(/^date: .*$/gim, "date: {date}")
    .replace(/retry: [0-9]{4}/g, "retry: {ms}")
    .replace(/retry in [0-9]+ ms/g, "retry in {ms} ms")
    .replace(/"message": ?"(?:[^"\\]|\\.)*"/g, '"message":"{words}"')
    .replace(/^(# HELP \S+) .*$/gm, "$1 {words}")
    .replace(/^([a-z_]+(?:\{.*\})?) [0-9.e+]+$/gm, "$1 {figure}");
}

/** Takes the chunks of a body together: where they are cut is nobody's business. */
function joinChunks(body: string): string {
  let rest = body;
  let all = "";
  for (;;) {
    const end = rest.indexOf("\r\n");
    const size = parseInt(rest, 16);
    if (end < 0 || !(size >= 0)) return all + "{cut}";
    if (size === 0) return all + "{end}";
    all += rest.slice(end + 2, end + 2 + size);
    rest = rest.slice(end + 4 + size);
  }
}

const latin1 = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);

/** A request as a client writes it, and what comes back. */
async function exchange({ port }: Server, request: string): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(utf8.encode(request));
  const answer = latin1(await readAll(conn));
  const split = answer.indexOf("\r\n\r\n");
  const head = answer.slice(0, split).split("\r\n");
  let body = answer.slice(split + 4);
  if (/^transfer-encoding: chunked$/im.test(head.join("\n"))) body = joinChunks(body);
  if (body.length > 4000) {
    const hash = await crypto.subtle.digest("SHA-256", utf8.encode(body));
    body = `{${body.length} bytes, ${[...new Uint8Array(hash).slice(0, 6)].join(".")}}`;
  }
  const fields = head.slice(1).sort();
  return settled([head[0], ...fields, "", body].join("\n"), port);
}

/** A request with what every request has. */
function requestOf(line: string, headers: Record<string, string> = {}, body?: string): string {
  const all: Record<string, string> = { connection: "close", ...headers };
  if (body !== undefined) all["content-length"] = String(utf8.encode(body).length);
  return requestHead(`${line} HTTP/1.1`, all) + (body ?? "");
}

/** A socket's life: what is sent, and the frames that come back. */
async function socket(
  { port }: Server,
  query: string,
  headers: Record<string, string>,
  frames: readonly (string | Uint8Array)[],
): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const head = requestHead(`GET /websocket${query} HTTP/1.1`, { ...UPGRADE, ...headers });
  await conn.write(utf8.encode(head));
  await new Promise((resolve) => setTimeout(resolve, 150));
  for (const sent of frames) {
    const op = typeof sent === "string" ? OP.text : OP.binary;
    await conn.write(encodeFrame({ op, payload: sent }));
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  const bytes = await readAll(conn);
  const split = latin1(bytes).indexOf("\r\n\r\n");
  const received = latin1(bytes.subarray(0, split)).split("\r\n");
  const lines = [received[0], ...received.slice(1).sort(), ""];
  let at = split + 4;
  if (!received[0].includes(" 101 ")) {
    return settled([...lines, latin1(bytes.subarray(at))].join("\n"), port);
  }
  while (at + 2 <= bytes.length) {
    const op = bytes[at] & 15;
    let size = bytes[at + 1] & 127;
    at += 2;
    if (size === 126) {
      size = bytes[at] * 256 + bytes[at + 1];
      at += 2;
    }
    const data = bytes.subarray(at, at + size);
    at += size;
    lines.push(
      op === 8
        ? `close ${data[0] * 256 + data[1]} ${new TextDecoder().decode(data.subarray(2))}`
        : `${["", "text", "binary"][op] ?? `op ${op}`} ${new TextDecoder().decode(data)}`,
    );
  }
  return settled(lines.join("\n"), port);
}

const FORM = { "content-type": "application/x-www-form-urlencoded" };
const JSON_TYPE = { "content-type": "application/json" };
const NDJSON = { "content-type": "application/x-ndjson" };
const V1 = { "sec-websocket-protocol": "river.v1" };

/** Requests to a server that is open to everybody, in order. */
const OPEN: Record<string, string> = {
  "publish by GET": requestOf("GET /publish?name=a&data=hello"),
  "publish a form": requestOf("POST /publish", FORM, "name=a&data=w%C3%B6rld+2"),
  "publish to two": requestOf("POST /publish", FORM, "name=a&name=b&data=both"),
  "publish JSON": requestOf("POST /publish", JSON_TYPE, '{"name":"a","data":"j","id":"i1"}'),
  "publish it again": requestOf("POST /publish", JSON_TYPE, '{"name":"a","data":"j","id":"i1"}'),
  "publish NDJSON": requestOf(
    "POST /publish",
    NDJSON,
    '{"name":"a","data":"n1"}\n{"name":"b","data":"n2"}\n',
  ),
  "publish text": requestOf("POST /publish?name=a", { "content-type": "text/plain" }, "two\nlines"),
  "publish nothing": requestOf("POST /publish", FORM, ""),
  "publish without a name": requestOf("GET /publish?data=x"),
  "publish a mistake": requestOf("POST /publish", FORM, "name=a&data=fish&chips"),
  "publish a misspelled name": requestOf("POST /publish", FORM, "nme=a&data=x"),
  "publish bad JSON": requestOf("POST /publish", JSON_TYPE, '{"name":'),
  "publish bad UTF-8": requestOf("GET /publish?name=a&data=%FF"),
  "publish multipart": requestOf("POST /publish", {
    "content-type": "multipart/form-data; boundary=x",
  }, "--x--"),
  "publish gzip": requestOf("POST /publish?name=a", { "content-encoding": "gzip" }, "x"),
  "publish too much": requestOf(
    "POST /publish?name=a",
    { "content-type": "text/plain" },
    "x".repeat(70_000),
  ),
  "publish by PUT": requestOf("PUT /publish", FORM, "name=a&data=x"),
  "publish from a page": requestOf(
    "POST /publish",
    { ...FORM, origin: "http://127.0.0.1" },
    "name=a&data=p",
  ),
  "publish from another page": requestOf("POST /publish", {
    ...FORM,
    origin: "https://evil.example",
  }, "name=a&data=p"),
  "publish from an image": requestOf("GET /publish?name=a&data=x", {
    "sec-fetch-site": "cross-site",
  }),
  "preflight": requestOf("OPTIONS /publish", {
    origin: "http://127.0.0.1",
    "access-control-request-method": "POST",
  }),
  "preflight from elsewhere": requestOf("OPTIONS /publish", { origin: "https://evil.example" }),
  ...Object.fromEntries(["river", "river.v1", "sse", "raw"].flatMap((format) => [
    [`history as ${format}`, requestOf(`GET /subscribe?name=a&seq=0&limit=3&format=${format}`)],
    [
      `two channels as ${format}`,
      requestOf(`GET /subscribe?name=a&name=b&seq=2,0&timeout=0.3&format=${format}`),
    ],
    [`nothing as ${format}`, requestOf(`GET /subscribe?name=quiet&timeout=0.2&format=${format}`)],
    [`a gap as ${format}`, requestOf(`GET /subscribe?name=a&seq=zz-1&limit=1&format=${format}`)],
    [`ahead as ${format}`, requestOf(`GET /subscribe?name=a&seq=999&timeout=0.2&format=${format}`)],
  ])),
  "long-poll": requestOf("GET /subscribe?name=a&seq=1&keep=0"),
  "JSONP": requestOf("GET /subscribe?name=a&seq=1&callback=cb"),
  "JSONP with a bad callback": requestOf("GET /subscribe?name=a&seq=1&callback=c-b"),
  "an EventSource": requestOf("GET /subscribe?name=a&timeout=0.2", { accept: "text/event-stream" }),
  "an EventSource that resumes": requestOf("GET /subscribe?name=a&limit=1", {
    accept: "text/event-stream",
    "last-event-id": "5",
  }),
  "an EventSource with another's id": requestOf("GET /subscribe?name=a&limit=1", {
    accept: "text/event-stream",
    "last-event-id": "1478833333:0",
  }),
  "subscribe by POST": requestOf("POST /subscribe", FORM, "name=a&seq=0&limit=2"),
  "subscribe to nothing": requestOf("GET /subscribe"),
  "subscribe with a bad position": requestOf("GET /subscribe?name=a&seq=abc"),
  "subscribe with a bad format": requestOf("GET /subscribe?name=a&format=xml"),
  "subscribe with a bad limit": requestOf("GET /subscribe?name=a&limit=0"),
  "subscribe with a body": requestOf("GET /subscribe?name=a", {}, "x"),
  "channels": requestOf("GET /channels"),
  "a page of channels": requestOf("GET /channels?limit=1"),
  "a channel": requestOf("GET /channels/a"),
  "no channel": requestOf("GET /channels/none"),
  "reset a channel": requestOf("DELETE /channels/b"),
  "channels by POST": requestOf("POST /channels", FORM, ""),
  "channels from elsewhere": requestOf("GET /channels", { Host: "river.example" }),
  "health": requestOf("GET /healthz"),
  "health, the head": requestOf("HEAD /healthz"),
  "metrics": requestOf("GET /metrics"),
  "metrics, the head": requestOf("HEAD /metrics"),
  "nothing there": requestOf("GET /nothing"),
  "a bad host": requestOf("GET /healthz", { Host: "a/b" }),
  "the chat without a slash": requestOf("GET /chat-demo"),
  ...Object.fromEntries(
    [
      "/",
      "/client.js",
      "/lib.js",
      "/chat-demo/",
      "/chat-demo/chat.js",
      "/chat-demo/chat.css",
      "/uplot.css",
      "/uplot.js",
      "/style.css",
      "/favicon.ico",
    ]
      .flatMap((path) => [
        [`the file ${path}`, requestOf(`GET ${path}`)],
        [`the head of ${path}`, requestOf(`HEAD ${path}`)],
      ]),
  ),
  "a WebSocket without an upgrade": requestOf("GET /websocket?name=a"),
};

const signed = async (claims: unknown): Promise<string> => {
  const base64 = (bytes: Uint8Array) =>
    btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll(
      "=",
      "",
    );
  const text = [{ alg: "HS256", typ: "JWT" }, claims].map((part) =>
    base64(utf8.encode(JSON.stringify(part)))
  ).join(".");
  const key = await crypto.subtle.importKey(
    "raw",
    utf8.encode(SECRET),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return `${text}.${
    base64(new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8.encode(text))))
  }`;
};

function show(name: string, answer: string): void {
  console.log(`## ${name}\n${answer.replaceAll("\r", "\\r")}\n`);
}

async function record(server: Server, requests: Record<string, string>): Promise<void> {
  for (const [name, request] of Object.entries(requests)) {
    show(name, await exchange(server, request));
  }
}

const open = await start("--history", "8");
await record(open, OPEN);
const lines = [
  '["sub", {"channel": "a", "seq": 0}]',
  '["sub", {"channel": "a"}]\n["sub", {"channel": "n"}]',
  '["pub", {"channel": "n", "data": "mine", "id": "1"}]',
  '["pub", {"channel": "n", "data": "quiet"}]\n["pub", {"channel": ""}]',
  '["unsub", {"channel": "n"}]\n["unsub", {"channel": "n"}]',
  '[]\nnonsense\n["shout", {}]',
  "",
];
show("river.v1", await socket(open, "", V1, lines));
show("river.v1 with channels", await socket(open, "?name=a&name=b&seq=8,0", V1, []));
show("river.v1 that sends bytes", await socket(open, "", V1, [new Uint8Array([1])]));
show("river.v1 with mistakes", await socket(open, "", V1, ["?\n".repeat(30)]));
show("a plain socket", await socket(open, "?name=p&seq=0", {}, ["one", "two"]));
show("a plain socket without a name", await socket(open, "", {}, []));
show(
  "a socket of another page",
  await socket(open, "?name=a", { origin: "https://evil.example" }, []),
);
show(
  "a socket of another version",
  await socket(open, "?name=a", { "Sec-WebSocket-Version": "8" }, []),
);
const last = socket(open, "?name=z", V1, []);
await new Promise((resolve) => setTimeout(resolve, 400));
await open.stop();
show("river.v1 at the end", await last);

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const keyed = await start("--publish-key", "s3cret");
await record(keyed, {
  "a key: none": requestOf("POST /publish", FORM, "name=a&data=x"),
  "a key: wrong": requestOf("POST /publish", { ...FORM, ...bearer("no") }, "name=a&data=x"),
  "a key: right": requestOf("POST /publish", { ...FORM, ...bearer("s3cret") }, "name=a&data=x"),
  "a key: in the form": requestOf("POST /publish", FORM, "name=a&data=x&token=s3cret"),
  "a key: channels": requestOf("GET /channels"),
  "a key: subscribe": requestOf("GET /subscribe?name=a&seq=0&limit=1"),
});
await keyed.stop();

const locked = await start("--token-secret", SECRET);
const token = await signed({ river: { publish: ["a*"], subscribe: ["a", "b*"] } });
const expired = await signed({ exp: 1, river: { subscribe: ["*"] } });
await record(locked, {
  "a token: none": requestOf("GET /subscribe?name=a&timeout=0.1"),
  "a token: expired": requestOf("GET /subscribe?name=a&timeout=0.1", bearer(expired)),
  "a token: publish": requestOf("POST /publish", { ...FORM, ...bearer(token) }, "name=ab&data=x"),
  "a token: publish elsewhere": requestOf(
    "POST /publish",
    { ...FORM, ...bearer(token) },
    "name=b&data=x",
  ),
  "a token: subscribe": requestOf(`GET /subscribe?name=a&timeout=0.1&token=${token}`),
  "a token: subscribe elsewhere": requestOf("GET /subscribe?name=c&timeout=0.1", bearer(token)),
  "a token: metrics": requestOf("GET /metrics", bearer(token)),
  "a token: in a cookie": requestOf("GET /subscribe?name=a&timeout=0.1", {
    cookie: `river_token=${token}`,
  }),
});
show(
  "a token: river.v1",
  await socket(locked, `?token=${token}`, V1, [
    '["sub", {"channel": "a"}]\n["sub", {"channel": "z"}]\n["pub", {"channel": "z", "data": ""}]',
  ]),
);
show("a token: no socket", await socket(locked, "?name=a", {}, []));
await locked.stop();
