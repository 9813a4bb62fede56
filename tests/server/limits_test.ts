import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RiverServer } from "../../lib/river.ts";
import { FrameClient, text } from "../support/frames.ts";
import {
  ask,
  errorCode,
  LineReader,
  msg,
  publish,
  publishUntilCut,
  subscribe,
} from "../support/http.ts";
import { RawConnection, requestHead } from "../support/raw.ts";
import { metric, serveHere } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const HEAD = requestHead("POST /publish?name=x HTTP/1.1", { "Content-Length": "100" });

Deno.test("--body-timeout answers a slow body with 408 and publishes nothing", async () => {
  await using server = await serveHere("--body-timeout", "300ms");
  using slow = await RawConnection.open(server);
  await slow.write(HEAD + "a");
  const answer = await slow.response();
  assertEquals([answer.status, errorCode(answer)], [408, "body_too_slow"]);
  assertEquals(answer.headers.get("connection"), "close");
  assertEquals(await metric(server, 'river_refusals_total{status="408",code="body_too_slow"}'), 1);
  assertEquals(await server.engine.info("x"), undefined);
  // The rest of the body comes too late, and is not a request of its own.
  await slow.write("b".repeat(99) + HEAD + "c".repeat(100));
  await slow.rest();
  assertEquals(await server.engine.info("x"), undefined);
  assertEquals(server.errors, []);
});

Deno.test("--body-timeout holds for chunked bodies and for /subscribe", async () => {
  await using server = await serveHere("--body-timeout", "300ms");
  for (const path of ["/publish?name=x", "/subscribe?name=x"]) {
    using slow = await RawConnection.open(server);
    await slow.write(requestHead(`POST ${path} HTTP/1.1`, { "Transfer-Encoding": "chunked" }));
    await slow.write("5\r\nabcde\r\n");
    assertEquals((await slow.response()).status, 408);
  }
  assertEquals([server.hub.size, server.errors], [0, []]);
});

Deno.test("--body-timeout ends a body whose trailers do not end", async () => {
  await using server = await serveHere("--body-timeout", "300ms");
  using slow = await RawConnection.open(server);
  const head = requestHead("POST /publish?name=x HTTP/1.1", { "Transfer-Encoding": "chunked" });
  // More of them than the runtime reads, which it does not tell.
  await slow.write(`${head}1\r\na\r\n0\r\nA: ${"a".repeat(70_000)}\r\n\r\n`);
  assertEquals((await slow.response()).status, 408);
  assertEquals([server.engine.usage().published, server.errors], [0, []]);
});

Deno.test("--body-timeout lets a body pass that comes in pieces, but in time", async () => {
  await using server = await serveHere("--body-timeout", "60s");
  using connection = await RawConnection.open(server);
  await connection.write(HEAD);
  for (let i = 0; i < 10; i++) await connection.write("0123456789");
  assertEquals((await connection.response()).status, 200);
  assertEquals((await server.engine.info("x"))?.seq, 1);
});

Deno.test("--publish-rate refuses with 429 and Retry-After what one address publishes beyond it", async () => {
  await using server = await serveHere("--publish-rate", "2");
  await publish(server, "x", "1");
  await publish(server, "x", "2");
  const answer = await ask(`${server.url}/publish?name=x&data=3`);
  assertEquals([answer.status, errorCode(answer)], [429, "too_many_requests"]);
  assertMatch(answer.headers.get("retry-after")!, /^[1-9]$/);
  assertEquals((await server.engine.info("x"))?.seq, 2);
  assertEquals(
    await metric(server, 'river_refusals_total{status="429",code="too_many_requests"}'),
    1,
  );
});

Deno.test("--publish-rate holds for requests whose bodies end at the same time", async () => {
  await using server = await serveHere("--publish-rate", "1");
  const connections = await Promise.all(
    Array.from({ length: 30 }, () => RawConnection.open(server)),
  );
  const expecting = requestHead("POST /publish?name=x HTTP/1.1", {
    "Content-Length": "100",
    "Expect": "100-continue",
  });
  await Promise.all(connections.map((connection) => connection.write(expecting)));
  // All of them are let in before one body is there.
  await Promise.all(connections.map((connection) => connection.until("100 Continue\r\n\r\n")));
  const began = performance.now();
  await Promise.all(connections.map((connection) => connection.write("a".repeat(100))));
  const answers = await Promise.all(connections.map((connection) => connection.response()));
  const accepted = answers.filter(({ status }) => status === 200).length;
  const most = 1 + Math.ceil((performance.now() - began) / 1000);
  assert(accepted >= 1 && accepted <= most && most < 30, `${accepted} of 30 were accepted`);
  assertEquals(answers.filter(({ status }) => status === 429).length, 30 - accepted);
  for (const connection of connections) connection[Symbol.dispose]();
});

Deno.test("--publish-rate counts the messages of a request, and lets a large one be paid for", async () => {
  await using server = await serveHere("--publish-rate", "10");
  const body = '{"name":"x","data":"a"}\n'.repeat(50);
  const headers = { "content-type": "application/x-ndjson" };
  const first = await ask(`${server.url}/publish`, { method: "POST", body, headers });
  assertEquals([first.status, (await server.engine.info("x"))?.seq], [200, 50]);
  const next = await ask(`${server.url}/publish?name=x&data=b`);
  assertEquals([next.status, next.headers.get("retry-after")], [429, "5"]);
});

Deno.test("--publish-rate counts nothing for requests that are refused", async () => {
  await using server = await serveHere("--publish-rate", "1");
  for (let i = 0; i < 5; i++) {
    assertEquals((await ask(`${server.url}/publish?name=x`)).status, 400);
  }
  await publish(server, "x", "1");
});

Deno.test("--publish-rate holds for sockets: an error line, and the end of a plain one", async () => {
  await using server = await serveHere("--publish-rate", "1");
  await using lines = await openSocket(server, "", "river.v1");
  const command = (id: string) => `["pub", {"channel": "x", "data": "${id}", "id": "${id}"}]`;
  lines.send(command("1"), command("2"));
  assertEquals(await lines.line(), '["ack", {"id": "1", "channel": "x", "seq": 1}]');
  assertMatch(await lines.line(), /^\["error", \{"code": "too_many_requests", .*"id": "2"/);
  await using plain = await openSocket(server, "name=y");
  plain.send("a");
  assertEquals((await plain.closed).code, 1013);
  assertEquals(server.engine.usage().published, 1);
});

Deno.test("--publish-rate that is set later holds for the sockets that are there, too", async () => {
  await using server = await serveHere();
  await using plain = await openPlain(server, "x");
  server.reload({ publishRate: 1 });
  plain.send("a");
  plain.send("b");
  assertEquals((await plain.closed).code, 1013);
  await using other = await openPlain(server, "y");
  server.reload({ publishRate: 0 });
  other.send("c");
  other.send("d");
  await until(() => server.engine.usage().published === 3);
});

Deno.test("--connection-rate refuses with 429 what one address opens beyond it", async () => {
  await using server = await serveHere("--connection-rate", "2");
  await using _stream = await subscribe(server, "name=x");
  await using _socket = await openSocket(server, "name=x");
  const answer = await ask(`${server.url}/subscribe?name=x`);
  assertEquals([answer.status, errorCode(answer)], [429, "too_many_requests"]);
  assert(Number(answer.headers.get("retry-after")) >= 1);
  assertEquals(server.hub.size, 2);
});

Deno.test("--max-connections-per-client refuses with 429 what one address opens beyond it, and nobody else", async () => {
  await using server = await serveHere(
    "--max-connections-per-client",
    "2",
    "--trust-proxy",
    "--open",
  );
  const from = (address: string) => ({ "x-forwarded-for": address });
  const again = () =>
    ask(`${server.url}/subscribe?name=x&timeout=0.1`, { headers: from("192.0.2.1") });
  {
    await using _one = await subscribe(server, "name=x", from("192.0.2.1"));
    await using _two = await subscribe(server, "name=x", from("192.0.2.1"));
    const answer = await again();
    assertEquals([answer.status, errorCode(answer)], [429, "too_many_connections"]);
    assertEquals(answer.headers.get("retry-after"), "5");
    assertMatch(answer.text, /2 subscribers \(--max-connections-per-client\)"/);
    await using _other = await subscribe(server, "name=x", from("192.0.2.2"));
  }
  await until(async () => await metric(server, "river_connections") === 0);
  assertEquals((await again()).status, 204);
  await using _socket = await openSocket(server, "name=x");
  await until(() => server.hub.size === 1);
});

/** The status of a subscription that comes from this address at the other end of the connection. */
async function statusFrom(
  server: RiverServer,
  peer: string,
  headers: HeadersInit = {},
): Promise<number> {
  const request = new Request("http://127.0.0.1/subscribe?name=x", { headers });
  const completed = new Promise<void>(() => {});
  const remoteAddr = { transport: "tcp", hostname: peer, port: 1 } as const;
  return (await server.handle(request, { remoteAddr, completed })).status;
}

Deno.test("--max-connections-per-client is a quarter of --max-connections unless it is set, and loopback is spared", async () => {
  await using server = await serveHere("--max-connections", "10");
  for (const status of [200, 200, 200, 429]) {
    assertEquals(await statusFrom(server, "192.0.2.1"), status);
  }
  assertEquals(await statusFrom(server, "192.0.2.2"), 200);
  for (const peer of ["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1", "::1"]) {
    assertEquals(await statusFrom(server, peer), 200);
  }
});

Deno.test("--max-connections-per-client counts clients behind a proxy that is trusted, and all behind one that is not if it is set", async () => {
  await using trusting = await serveHere("--max-connections=10", "--trust-proxy", "--open");
  const from = (address: string) => ({ "x-forwarded-for": address });
  for (const status of [200, 200, 200, 429]) {
    assertEquals(await statusFrom(trusting, "127.0.0.1", from("192.0.2.1")), status);
  }
  assertEquals(await statusFrom(trusting, "127.0.0.1", from("192.0.2.2")), 200);
  await using set = await serveHere("--max-connections-per-client=1");
  for (const [address, status] of [["192.0.2.1", 200], ["192.0.2.2", 429]] as const) {
    assertEquals(await statusFrom(set, "127.0.0.1", from(address)), status);
  }
  await using none = await serveHere("--max-connections-per-client=0", "--max-connections=10");
  for (let i = 0; i < 10; i++) assertEquals(await statusFrom(none, "192.0.2.1"), 200);
  assertEquals(await statusFrom(none, "192.0.2.1"), 503);
});

Deno.test("--max-connections-per-client 1 lets each address open one", async () => {
  await using server = await serveHere("--max-connections-per-client", "1");
  await using _one = await subscribe(server, "name=x");
  const second = await ask(`${server.url}/subscribe?name=x`);
  assertEquals([second.status, errorCode(second)], [429, "too_many_connections"]);
  assertMatch(second.text, /Behind a proxy, set --trust-proxy to tell clients apart"/);
});

Deno.test("river.v1 is closed with 1008 after 1,000 refused lines in one frame, and told of each", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "", "river.v1");
  socket.send(...Array(999).fill("?"), '["pub", {"channel": "x", "data": "a"}]');
  for (const answer of await socket.take(999)) assertMatch(answer, /"bad_command"/);
  socket.send(...Array(100_000).fill("?"));
  for (const answer of await socket.take(1000)) assertMatch(answer, /"bad_command"/);
  assertEquals((await socket.closed).code, 1008);
  assertEquals([server.engine.usage().published, server.hub.size], [1, 0]);
});

Deno.test("--max-queue: a river.v1 socket that asks and asks, but takes no answers, is cut", async () => {
  await using server = await serveHere("--max-queue", "64KiB", "--max-inbox", "1GiB");
  const client = await FrameClient.open(server, "", "river.v1");
  await until(() => server.hub.size === 1);
  const sub = '["sub", {"channel": "x"}]\n["unsub", {"channel": "x"}]';
  const frame = Array(1000).fill(sub).join("\n");
  // The sockets of the system take a few megabytes first.
  for (let i = 0; i < 500 && server.hub.size === 1; i++) {
    // It may be cut, and its connection broken off, while we send.
    await client.send(text(frame)).catch((error) => {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    });
  }
  await until(() => server.hub.size === 0, 30_000);
  assertEquals(await metric(server, 'river_disconnections_total{reason="slow"}'), 1);
  client[Symbol.dispose]();
  await until(async () => await metric(server, "river_connections") === 0);
});

Deno.test("--trust-proxy tells clients apart by the last item of X-Forwarded-For", async () => {
  const from = (forwarded: string) => ({ headers: { "x-forwarded-for": forwarded } });
  for (
    const [flags, statuses] of [[[], [200, 429, 429]], [["--trust-proxy", "--open"], [
      200,
      429,
      200,
    ]]]
  ) {
    await using server = await serveHere("--publish-rate", "1", ...flags as string[]);
    const given = [];
    for (const forwarded of ["192.0.2.1", "192.0.2.9, 192.0.2.1", "192.0.2.1, 192.0.2.2"]) {
      given.push((await ask(`${server.url}/publish?name=x&data=a`, from(forwarded))).status);
    }
    assertEquals(given, statuses, String(flags));
  }
});

Deno.test("a stuck connection counts against --max-connections until it has gone", async () => {
  await using server = await serveHere("--max-queue", "64KiB", "--max-connections", "2");
  {
    using stuck = await RawConnection.open(server);
    await stuck.write(requestHead("GET /subscribe?name=x HTTP/1.1"));
    await using fast = await subscribe(server, "name=x");
    await publishUntilCut(server, fast);
    assertEquals(await metric(server, "river_connections_stuck"), 1);
    assertEquals(await metric(server, "river_connections"), 2);
    const refused = await ask(`${server.url}/subscribe?name=x`);
    assertEquals([refused.status, errorCode(refused)], [503, "too_many_connections"]);
    assertEquals(refused.headers.get("retry-after"), "5");
  }
  await until(async () => await metric(server, "river_connections") === 0);
  assertEquals(await metric(server, "river_connections_stuck"), 0);
  const response = await fetch(`${server.url}/subscribe?name=x&seq=0&limit=1`);
  await using reader = new LineReader(response);
  assertEquals(await reader.next(), msg("x", 1, "a".repeat(60_000)));
});

Deno.test("a connection that has taken all counts no longer once its stream has ended", async () => {
  await using server = await serveHere();
  for (const query of ["limit=1", "keep=0", "callback=cb"]) {
    const pending = fetch(`${server.url}/subscribe?name=x&${query}`);
    await until(() => server.hub.subscribers("x") === 1);
    await publish(server, "x", "a");
    await (await pending).text();
    await until(async () => await metric(server, "river_connections") === 0);
  }
  assertEquals(await metric(server, "river_connections_stuck"), 0);
});
