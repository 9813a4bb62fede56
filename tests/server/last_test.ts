import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { serveHere } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";

/** A server with messages 1 to 5 in `x`, of which the last three are kept. */
async function withHistory() {
  const server = await serveHere("--history", "3");
  for (let i = 1; i <= 5; i++) await publish(server, "x", String(i));
  return server;
}

const numbered = (...seqs: number[]) => seqs.map((seq) => msg("x", seq, String(seq)));

for (
  const [last, seqs] of [[1, [5]], [2, [4, 5]], [3, [3, 4, 5]], [4, [3, 4, 5]], [100, [
    3,
    4,
    5,
  ]]] as const
) {
  Deno.test(`last=${last} starts with the newest so many messages that are kept, without a gap`, async () => {
    await using server = await withHistory();
    await using stream = await subscribe(server, `name=x&last=${last}`);
    assertMatch(stream.response.headers.get("river-cursor")!, new RegExp(`-${seqs[0] - 1}$`));
    await using socket = await openSocket(server, `name=x&last=${last}`, "river.v1");
    await using plain = await openPlain(server, "x", `&last=${last}`);
    await publish(server, "x", "6");
    const expected = numbered(...seqs, 6);
    assertEquals(await stream.take(expected.length), expected);
    assertStringIncludes(await socket.line(), `-${seqs[0] - 1}"}]`);
    assertEquals(await socket.take(expected.length), expected);
    assertEquals(await plain.take(expected.length), expected);
  });
}

Deno.test("last=1 gives a long-poll the present value at once, and waits where there is none", async () => {
  await using server = await withHistory();
  const poll = await ask(`${server.url}/subscribe?name=x&last=1&keep=0`);
  assertEquals(poll.text, numbered(5)[0] + "\n");
  const none = await ask(`${server.url}/subscribe?name=y&last=1&keep=0&timeout=0.1`);
  assertEquals([none.status, none.text], [204, ""]);
});

Deno.test("a position beside last wins, so that an EventSource resumes", async () => {
  await using server = await withHistory();
  const { epoch } = await publish(server, "x", "6");
  const headers = { "Last-Event-ID": `${epoch}-4` };
  await using resumed = await subscribe(server, "name=x&last=1&limit=2", headers);
  assertEquals(await resumed.rest(), numbered(5, 6).join("\n") + "\n");
  await using given = await subscribe(server, `name=x&last=1&seq=${epoch}-3&limit=3`);
  assertEquals(await given.rest(), numbered(4, 5, 6).join("\n") + "\n");
  await publish(server, "y", "1");
  await using mixed = await subscribe(server, `name=x&name=y&last=1&seq=${epoch}-5,&limit=2`);
  const lines = (await mixed.rest()).trim().split("\n").sort();
  assertEquals(lines, [...numbered(6), msg("y", 1, "1")]);
});

Deno.test("sub takes last as well, and refuses what is not a number of messages", async () => {
  await using server = await withHistory();
  await using socket = await openSocket(server, "", "river.v1");
  socket.send('["sub", {"channel": "x", "last": 2}]');
  assertStringIncludes(await socket.line(), '["open", {"channel": "x", ');
  assertEquals(await socket.take(2), numbered(4, 5));
  for (const last of [0, -1, 1.5, "2", 1_000_001, null]) {
    socket.send(JSON.stringify(["sub", { channel: "y", last }]));
    assertStringIncludes(await socket.line(), '["error", {"code": "bad_parameter"');
  }
  for (const last of ["0", "-1", "1.5", "x", "1000001"]) {
    const answer = await ask(`${server.url}/subscribe?name=x&last=${last}`);
    assertEquals([answer.status, errorCode(answer)], [400, "bad_parameter"]);
  }
});

Deno.test("an event stream with last tells its position before its first event", async () => {
  await using server = await withHistory();
  await using stream = await subscribe(server, "name=x&last=2&format=sse&limit=2");
  const text = await stream.rest();
  assertMatch(text, /^:\nid: [0-9a-z]+-3\n\n(?:id: [0-9a-z]+-\d\ndata: \d\n\n){2}/);
});
