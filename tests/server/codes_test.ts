/**
 * The code of a refusal is what programs look at: each has one of its own, which stays.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { errorCode } from "../support/http.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";

const CODES: [
  request: string,
  headers: Record<string, string>,
  body: string,
  status: number,
  code: string,
][] = [
  ["GET /nowhere", {}, "", 404, "not_found"],
  ["PUT /publish", {}, "", 405, "method_not_allowed"],
  ["GET /healthz", { Host: "a/b" }, "", 400, "bad_host"],
  ["GET /subscribe?name=x", { "Content-Length": "1" }, "a", 400, "unexpected_body"],
  ["GET /publish?data=a", {}, "", 400, "missing_parameter"],
  ["GET /publish?name=x&name=x&data=a", {}, "", 400, "duplicate_parameter"],
  ["GET /publish?name=x&data=%ff", {}, "", 400, "bad_parameter"],
  ["GET /publish?name=x&data=a&b", {}, "", 400, "bad_form"],
  ["GET /subscribe?name=x&limt=1", {}, "", 400, "unknown_parameter"],
  [`GET /publish?${"a&".repeat(1001)}`, {}, "", 400, "too_many_parameters"],
  [
    "POST /publish?name=x",
    { "Content-Length": "1", "Content-Type": "text/plain; charset=klingon" },
    "a",
    415,
    "unsupported_charset",
  ],
  [
    "POST /publish?name=x",
    { "Content-Length": "1", "Content-Encoding": "gzip" },
    "a",
    415,
    "unsupported_encoding",
  ],
  ["GET /channels/%ff", {}, "", 400, "bad_encoding"],
  ["GET /channels/x", {}, "", 404, "unknown_channel"],
  [
    "POST /publish?name=x",
    { "Content-Length": "3\r\nContent-Length: 3" },
    "abc",
    400,
    "bad_length",
  ],
  ["POST /publish?name=x", { "Content-Length": "9999999" }, "a", 413, "body_too_large"],
  [
    "POST /publish",
    { "Content-Length": "1", "Content-Type": "multipart/form-data; boundary=a" },
    "a",
    415,
    "unsupported_type",
  ],
  [
    "POST /publish",
    { "Content-Length": "1", "Content-Type": "application/json" },
    "a",
    400,
    "bad_json",
  ],
  ["GET /websocket?name=x", {}, "", 426, "upgrade_required"],
  ["GET /websocket?name=x", { ...UPGRADE, Connection: "close" }, "", 400, "bad_upgrade"],
  [
    "GET /websocket?name=x",
    { ...UPGRADE, "Sec-WebSocket-Version": "12" },
    "",
    426,
    "bad_websocket_version",
  ],
  ["GET /websocket?name=x", { ...UPGRADE, "Sec-WebSocket-Key": "a" }, "", 400, "bad_websocket_key"],
];

for (const [request, headers, body, status, code] of CODES) {
  Deno.test(`${request.slice(0, 80)} with ${JSON.stringify(headers)} gets ${status} ${code}`, async () => {
    await using server = await serveHere();
    const answer = await sendRaw(server, `${request} HTTP/1.1`, headers, body);
    assertEquals([answer.status, errorCode(answer)], [status, code]);
  });
}

Deno.test("a handshake without a key is told that it has none", async () => {
  await using server = await serveHere();
  const { "Sec-WebSocket-Key": _, ...headers } = UPGRADE;
  const { text } = await sendRaw(server, "GET /websocket?name=x HTTP/1.1", headers);
  assertStringIncludes(text, 'got \\"\\"');
});

const UNKNOWN: [request: string, headers: Record<string, string>, body: string][] = [
  ["GET /publish?nam=x", {}, ""],
  ["POST /publish", { "Content-Type": "application/x-www-form-urlencoded" }, "name=x&data=a&b"],
  ["POST /publish", { "Content-Type": "application/json" }, '{"name":"x"}'],
  ["POST /publish?name=x&id=", { "Content-Type": "application/json" }, "[1]"],
  ["POST /publish?nam=x", { "Content-Type": "text/plain" }, "a"],
  ["GET /subscribe?nam=x", {}, ""],
  ["GET /subscribe?name=x&seq=a&callback=1", {}, ""],
  ["POST /subscribe", { "Content-Type": "application/x-www-form-urlencoded" }, "name=x&seq=a"],
  ["GET /websocket?nam=x", UPGRADE, ""],
  ["GET /websocket?name=x&name=y", UPGRADE, ""],
  ["GET /channels?limit=a", {}, ""],
  ["GET /metrics", {}, ""],
];

for (const [request, headers, body] of UNKNOWN) {
  Deno.test(`${request} with a mistake and ${JSON.stringify(body)} without a token gets 401`, async () => {
    await using server = await serveHere(`--token-secret=${"s".repeat(32)}`);
    const length: Record<string, string> = body === ""
      ? {}
      : { "Content-Length": String(body.length) };
    const answer = await sendRaw(server, `${request} HTTP/1.1`, { ...headers, ...length }, body);
    assertEquals([answer.status, errorCode(answer)], [401, "missing_token"]);
  });
}
