import { assertEquals } from "@std/assert";
import { curl } from "../support/curl.ts";
import { publish } from "../support/http.ts";
import { javaClient } from "../support/java.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";

// docs/limits.md: Offers of HTTP/2.

Deno.test("without a proxy, requests of Java's HttpClient that offer HTTP/2 are 400, and so is its WebSocket", async () => {
  await using server = await serveHere();
  await publish(server, "java", "before");
  assertEquals(await javaClient(server), ["POST: 400", "SSE: 400", "WebSocket: 400"]);
});

Deno.test("without a proxy, Java's HttpClient works with HTTP/1.1, except for its WebSocket", async () => {
  await using server = await serveHere();
  assertEquals(await javaClient(server, "HTTP_1_1"), [
    "POST: 200",
    "SSE: data: posted",
    "WebSocket: 400",
  ]);
});

Deno.test("without a proxy, curl publishes with HTTP/1.1 and HTTP/2, and gets 400 if it offers an upgrade", async () => {
  await using server = await serveHere();
  for (
    const [flag, status] of [
      ["--http1.1", "200"],
      ["--http2-prior-knowledge", "200"],
      ["--http2", "400"],
    ]
  ) {
    const args = ["-o", "/dev/null", "-w", "%{http_code}", "-d", "name=a&data=1"];
    await using process = curl(flag, ...args, `${server.url}/publish`);
    assertEquals([flag, await process.output()], [flag, status]);
  }
});

Deno.test("the runtime refuses an upgrade with a length or a body, whatever it offers, and nothing else", async () => {
  await using server = await serveHere();
  const offer = { "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c" };
  const chunked = { "Transfer-Encoding": "chunked" };
  const refused: [string, Record<string, string>, string?][] = [
    ["POST", { ...offer, "Content-Length": "1" }, "a"],
    ["POST", { ...offer, "Content-Length": "0" }],
    ["POST", { ...offer, ...chunked }, "1\r\na\r\n0\r\n\r\n"],
    ["GET", { ...offer, "Content-Length": "0" }],
    ["DELETE", { ...offer, "Content-Length": "0" }],
    ["GET", { ...UPGRADE, "Content-Length": "0" }],
  ];
  for (const [method, headers, body] of refused) {
    const path = "/publish?name=x&data=a";
    const line = `${method} ${path} HTTP/1.1`;
    const { status, text } = await sendRaw(server, line, headers, body);
    assertEquals([method, headers, status, text], [method, headers, 400, ""]);
  }
  const served: [string, Record<string, string>, string?][] = [
    ["GET", offer],
    ["POST", offer],
    ["POST", { "Upgrade": "h2c", "Content-Length": "1" }, "a"],
    ["POST", { "Connection": "Upgrade", "Content-Length": "1" }, "a"],
  ];
  for (const [method, headers, body] of served) {
    const line = `${method} /publish?name=x&data=a HTTP/1.1`;
    const { status } = await sendRaw(server, line, headers, body);
    assertEquals([method, headers, status], [method, headers, 200]);
  }
});
