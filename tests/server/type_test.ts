import { assertEquals, assertStringIncludes } from "@std/assert";
import { ask, errorCode, msg, subscribe } from "../support/http.ts";
import { serveHere } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";

/** A river line of a message with a type. */
function typed(channel: string, seq: number, type: string, data: string): string {
  return `["msg", {"channel": "${channel}", "seq": ${seq}, "type": "${type}", "data": "${data}"}]`;
}

Deno.test("the type of a message is the event's name in event streams, and in lines where it was set", async () => {
  await using server = await serveHere();
  const accept = { accept: "text/event-stream" };
  await using stream = await subscribe(server, "name=x");
  await using sse = await subscribe(server, "name=x", accept);
  await using whole = await subscribe(server, "name=x&format=sse.v1");
  await using raw = await subscribe(server, "name=x&format=raw");
  await using lines = await openSocket(server, "name=x", "river.v1");
  await using plain = await openPlain(server, "x");
  await lines.line();
  await ask(`${server.url}/publish?name=x&data=a&type=alarm`);
  await ask(`${server.url}/publish?name=x&data=b`);
  const expected = [typed("x", 1, "alarm", "a"), msg("x", 2, "b")];
  assertEquals(await stream.take(2), expected);
  assertEquals(await lines.take(2), expected);
  assertEquals(await plain.take(2), expected);
  assertEquals(await raw.take(2), ["a", "b"]);
  const events = (await sse.take(10)).filter((line) => !/^(?:id: .*|:)?$/.test(line));
  assertEquals(events, ["event: alarm", "data: a", "data: b"]);
  const objects = (await whole.take(9)).filter((line) => line.startsWith("data: "));
  assertEquals(objects, [
    'data: {"channel": "x", "seq": 1, "type": "alarm", "data": "a"}',
    'data: {"channel": "x", "seq": 2, "data": "b"}',
  ]);
});

Deno.test("a type comes back with the history, by every way to publish", async () => {
  await using server = await serveHere();
  const post = (type: string, body: string) =>
    ask(`${server.url}/publish`, { method: "POST", headers: { "Content-Type": type }, body });
  await post("application/x-www-form-urlencoded", "name=x&data=1&type=t");
  await post("application/json", '{"name":"x","data":"2","type":"t"}');
  await post("application/x-ndjson", '{"name":"x","data":"3","type":"t"}\n{"name":"x","data":"4"}');
  await using socket = await openSocket(server, "", "river.v1");
  socket.send('["pub", {"channel": "x", "data": "5", "type": "t", "id": "1"}]');
  await socket.line();
  await using reader = await subscribe(server, "name=x&seq=0");
  assertEquals(await reader.take(5), [
    ...[1, 2, 3].map((n) => typed("x", n, "t", String(n))),
    msg("x", 4, "4"),
    typed("x", 5, "t", "5"),
  ]);
});

for (
  const [type, words] of [
    ["gap", "a name that event streams use themselves"],
    ["Message", "a name that event streams use themselves"],
    ["open", "a name that event streams use themselves"],
    ["error", "a name that event streams use themselves"],
    ["", "it is empty"],
    ["a\nb", "control characters"],
    [" a", "begins or ends with whitespace"],
    ["a".repeat(65), "65 bytes, but 64 are allowed"],
    ["ü".repeat(33), "66 bytes, but 64 are allowed"],
  ]
) {
  Deno.test(`the type ${JSON.stringify(type).slice(0, 12)} is refused: ${words}`, async () => {
    await using server = await serveHere();
    const query = new URLSearchParams({ name: "x", data: "a", type });
    const answer = await ask(`${server.url}/publish?${query}`);
    assertEquals([answer.status, errorCode(answer)], [400, "bad_parameter"]);
    assertStringIncludes(answer.text, words);
    await using socket = await openSocket(server, "", "river.v1");
    socket.send(JSON.stringify(["pub", { channel: "x", data: "a", type }]));
    assertStringIncludes(await socket.line(), words);
    assertEquals(server.engine.usage().published, 0);
  });
}

Deno.test("several channels in one event stream of whole messages can be told apart, and resumed", async () => {
  await using server = await serveHere();
  await using whole = await subscribe(server, "name=a&name=b&format=sse.v1");
  await ask(`${server.url}/publish?name=b&data=1&type=t`);
  await ask(`${server.url}/publish?name=a&data=2`);
  const lines: string[] = [];
  while (lines.filter((line) => line.startsWith("data: ")).length < 2) {
    lines.push((await whole.next())!);
  }
  assertEquals(lines.filter((line) => line.startsWith("data: ")), [
    'data: {"channel": "b", "seq": 1, "type": "t", "data": "1"}',
    'data: {"channel": "a", "seq": 1, "data": "2"}',
  ]);
  const id = lines.findLast((line) => line.startsWith("id: "))!.slice(4);
  await ask(`${server.url}/publish?name=b&data=3`);
  const headers = { "Last-Event-ID": id };
  await using again = await subscribe(server, "name=a&name=b&format=sse.v1&limit=1", headers);
  assertStringIncludes(await again.rest(), '"channel": "b", "seq": 2, "data": "3"');
});
