import { assertEquals, assertStringIncludes } from "@std/assert";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";

Deno.test("a page of an allowed origin may read why it is refused while the server drains", async () => {
  await using server = await serveHere("--origin", "https://app.test");
  await using socket = await openSocket(server, "name=x", "river.v1");
  await socket.line();
  const drain = server.refuse();
  const headers = { origin: "https://app.test" };
  const answer = await ask(`${server.url}/publish?name=x&data=a`, { headers });
  assertEquals([answer.status, errorCode(answer)], [503, "shutting_down"]);
  assertEquals(answer.headers.get("access-control-allow-origin"), "https://app.test");
  server.hub.drain();
  await drain;
});

Deno.test("a WebSocket handshake at /subscribe is told where to connect", async () => {
  await using server = await serveHere();
  const answer = await sendRaw(server, "GET /subscribe?name=x HTTP/1.1", UPGRADE);
  assertEquals([answer.status, errorCode(answer)], [400, "bad_upgrade"]);
  assertStringIncludes(answer.text, "connect to /websocket");
  // Java and curl offer HTTP/2 to every server.
  const h2c = {
    Connection: "Upgrade, HTTP2-Settings",
    Upgrade: "h2c",
    "HTTP2-Settings": "AAMAAABk",
  };
  const stream = await sendRaw(server, "GET /subscribe?name=x&timeout=0.1 HTTP/1.1", h2c);
  assertEquals(stream.status, 204);
});

Deno.test("a WebSocket handshake whose Upgrade a proxy left out is told so", async () => {
  await using server = await serveHere();
  const { Connection: _, Upgrade: __, ...headers } = UPGRADE;
  const answer = await sendRaw(server, "GET /websocket?name=x HTTP/1.1", headers);
  assertEquals([answer.status, errorCode(answer)], [426, "upgrade_required"]);
  assertStringIncludes(answer.text, "a proxy in between must pass it on");
  const stream = await sendRaw(server, "GET /subscribe?name=x HTTP/1.1", headers);
  assertEquals([stream.status, errorCode(stream)], [400, "bad_upgrade"]);
});

Deno.test("HEAD of /channels and of a channel has the head of GET", async () => {
  await using server = await serveHere();
  await publish(server, "x", "a");
  for (const path of ["channels", "channels/x", "channels?name=x"]) {
    const get = await ask(`${server.url}/${path}`);
    const head = await ask(`${server.url}/${path}`, { method: "HEAD" });
    assertEquals([path, head.status, head.text], [path, 200, ""]);
    assertEquals(head.headers.get("content-type"), get.headers.get("content-type"));
  }
  assertEquals((await ask(`${server.url}/channels/y`, { method: "HEAD" })).status, 404);
});

for (const name of [".", "..", "a/b", "%2e", "ü"]) {
  Deno.test(`the channel ${name} is shown and reset by the parameter name`, async () => {
    await using server = await serveHere();
    await publish(server, name, "a");
    const url = `${server.url}/channels?${new URLSearchParams({ name })}`;
    const shown = JSON.parse((await ask(url)).text);
    assertEquals([shown.channel, shown.history.messages], [name, 1]);
    assertEquals((await ask(url, { method: "DELETE" })).status, 200);
    assertEquals((await ask(url)).status, 404);
  });
}

Deno.test("DELETE /channels without a name deletes nothing", async () => {
  await using server = await serveHere();
  await publish(server, "x", "a");
  const answer = await ask(`${server.url}/channels`, { method: "DELETE" });
  assertEquals([answer.status, errorCode(answer)], [400, "missing_parameter"]);
  assertEquals(server.engine.usage().messages, 1);
});

for (
  const type of [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines; charset=utf-8",
  ]
) {
  Deno.test(`a body of ${type} publishes a message per line`, async () => {
    await using server = await serveHere();
    const body = '{"name":"x","data":"a"}\n{"name":"x","data":"b"}\n';
    const headers = { "Content-Type": type };
    const { text } = await ask(`${server.url}/publish`, { method: "POST", headers, body });
    assertEquals(JSON.parse(text).map(({ seq }: { seq: number }) => seq), [1, 2]);
    await using reader = await subscribe(server, "name=x&seq=0&limit=2");
    assertEquals(await reader.take(2), [msg("x", 1, "a"), msg("x", 2, "b")]);
  });
}

Deno.test("a key beyond ASCII works in the header, as curl sends it: in UTF-8", async () => {
  await using server = await serveHere("--publish-key", "ключ");
  for (const [key, status] of [["ключ", 200], ["клюв", 401]] as const) {
    const headers = { Authorization: `Bearer ${key}` };
    const answer = await sendRaw(server, "GET /publish?name=x&data=a HTTP/1.1", headers);
    assertEquals([key, answer.status], [key, status]);
  }
});
