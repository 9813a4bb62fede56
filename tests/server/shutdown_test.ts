import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { mintToken } from "../../lib/access/tokens.ts";
import { TimerWheel } from "../../lib/base/timer_wheel.ts";
import { Hub, ShuttingDownError } from "../../lib/core/hub.ts";
import { close, FrameClient, text } from "../support/frames.ts";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { LateEngine } from "../support/late_engine.ts";
import { RawConnection, requestHead, sendRaw } from "../support/raw.ts";
import {
  logOf,
  memoryLimits,
  serveHere,
  type ServerProcess,
  spawnServer,
} from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const TOKEN = await mintToken(SECRET, {
  publish: ["x"],
  subscribe: [],
  operate: false,
  expires: Infinity,
});

/** Fails if something hangs. */
async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether new connections are refused. */
async function refusing(server: ServerProcess): Promise<boolean> {
  try {
    const response = await fetch(`${server.url}/healthz`);
    await response.body?.cancel();
    return response.status === 503;
  } catch (error) {
    if (error instanceof TypeError) return true;
    throw error;
  }
}

/** A stream that has more to send than its reader takes, so that the server cannot end in peace. */
async function stall(...flags: string[]): Promise<[ServerProcess, RawConnection]> {
  const sizes = ["--max-queue", "1GiB", "--max-message", "1MiB"];
  const server = await spawnServer([...flags, ...sizes]);
  const connection = await RawConnection.open(server);
  await connection.write(requestHead("GET /subscribe?name=x HTTP/1.1"));
  await connection.until("\r\n\r\n");
  const body = "a".repeat(1_000_000);
  for (let i = 0; i < 30; i++) {
    await ask(`${server.url}/publish?name=x`, { method: "POST", body });
  }
  return [server, connection];
}

const QUERIES = ["", "&format=sse", "&format=raw", "&keep=0", "&callback=cb"];

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} ends 1,000 streams cleanly, closes 50 sockets with 1001, and the exit code is 0`, async () => {
    await using server = await spawnServer();
    const streams = await Promise.all(
      Array.from(
        { length: 1000 },
        (_, i) => subscribe(server, `name=x${QUERIES[i % QUERIES.length]}`),
      ),
    );
    const sockets = await Promise.all(
      Array.from(
        { length: 50 },
        (_, i) => openSocket(server, "name=x", i % 2 === 0 ? "river.v1" : undefined),
      ),
    );
    const subscribers = async () =>
      JSON.parse((await ask(`${server.url}/channels/x`)).text).subscribers;
    await until(async () => await subscribers() === 1050);
    const ended = server.end(signal);
    const rests = await within(8000, "a stream", Promise.all(streams.map((lines) => lines.rest())));
    rests.forEach((rest, i) => {
      if (QUERIES[i % QUERIES.length] === "&format=sse") {
        assertMatch(rest, /^:\nid: [0-9a-z]+-0\n\nretry: (?:[12][0-9]{3}|3000)\n\n$/);
      } else assertEquals(rest, "");
    });
    for (
      const { code, reason } of await within(
        8000,
        "a socket",
        Promise.all(sockets.map(({ closed }) => closed)),
      )
    ) {
      assertEquals(code, 1001);
      assertMatch(reason, /^shutting down: retry in (?:[12][0-9]{3}|3000) ms$/);
    }
    assertEquals(await within(8000, "the process", ended), {
      success: true,
      code: 0,
      signal: null,
    });
    const log = await logOf(server);
    assertMatch(log, new RegExp(`^\\S+ info shutting down signal="${signal}"\\n$`));
  });
}

Deno.test("clients are told to come back at different times", async () => {
  await using server = await spawnServer();
  const sockets = await Promise.all(
    Array.from({ length: 20 }, () => openSocket(server, "name=x", "river.v1")),
  );
  await Promise.all(sockets.map((socket) => socket.line()));
  await within(2000, "the process", server.end());
  const reasons = await Promise.all(sockets.map(async ({ closed }) => (await closed).reason));
  assert(new Set(reasons).size > 10, reasons.join());
});

Deno.test("a second drain waits for the same end as the first", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "name=x", "river.v1");
  await socket.line();
  const both = [server.refuse(), server.refuse()];
  server.hub.drain();
  await within(2000, "both", Promise.all(both));
});

Deno.test("what was accepted before the signal is delivered", async () => {
  await using server = await spawnServer();
  const lines = await subscribe(server, "name=x");
  const socket = await openSocket(server, "name=x", "river.v1");
  await socket.line();
  await publish(server, "x", "a");
  await within(2000, "the process", server.end());
  assertEquals(await lines.rest(), msg("x", 1, "a") + "\n");
  assertEquals(await socket.line(), msg("x", 1, "a"));
  assertEquals((await socket.closed).code, 1001);
});

Deno.test("a second signal exits at once, whatever is still open", async () => {
  const [server, stalled] = await stall("--grace", "8000h");
  await using _server = server;
  using _stalled = stalled;
  const lines = await subscribe(server, "name=x");
  server.process.kill("SIGTERM");
  assertEquals(await within(2000, "the stream", lines.rest()), "");
  await until(() => refusing(server));
  // An earlier one would count as an echo.
  const heard = performance.now();
  await until(() => performance.now() - heard > 100);
  const { code } = await within(2000, "the process", server.end("SIGTERM"));
  assertEquals(code, 1);
  assertMatch(
    await logOf(server),
    /\S+ info shutting down signal="SIGTERM"\n(?:\S+ warn refused .*\n)*\S+ warn ended at once by a second signal signal="SIGTERM"\n$/,
  );
});

Deno.test("--grace: what is open after that time is dropped, and the exit code is 0", async () => {
  const [server, stalled] = await stall("--grace", "100ms");
  await using _server = server;
  using _stalled = stalled;
  const { code } = await within(5000, "the process", server.end());
  const log = await logOf(server);
  assertEquals(code, 0, log);
  assertMatch(log, /^\S+ info shutting down [^\n]+\n\S+ error dropped connections [^\n]+\n$/);
});

for (const line of ["GET /healthz", "GET /", "GET /subscribe?name=x", "POST /publish?name=x"]) {
  Deno.test(`${line} is told to come back while the server drains`, async () => {
    await using server = await serveHere();
    await using socket = await openSocket(server, "name=x", "river.v1");
    await socket.line();
    let drained = false;
    const drain = server.refuse().then(() => drained = true);
    const { status, headers, text } = await sendRaw(server, `${line} HTTP/1.1`);
    assertEquals([status, errorCode({ text })], [503, "shutting_down"]);
    assertMatch(headers.get("retry-after") ?? "", /^[1-9][0-9]*$/);
    assertEquals(headers.get("connection"), "close");
    assert(!drained, "a socket is still open");
    server.hub.drain();
    await drain;
  });
}

Deno.test("GET /healthz?live says until the end that the process lives", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "name=x", "river.v1");
  await socket.line();
  const drain = server.refuse();
  for (const path of ["/healthz?live", "/publish?name=x&data=a&live", "/healthz"]) {
    const { status } = await sendRaw(server, `GET ${path} HTTP/1.1`);
    assertEquals([path, status], [path, path === "/healthz?live" ? 200 : 503]);
  }
  server.hub.drain();
  await drain;
});

Deno.test("an EventSource that comes while the server drains is told to come back: refused, it never would", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "name=x", "river.v1");
  await socket.line();
  const drain = server.refuse();
  const headers = { accept: "text/event-stream", "last-event-id": "abc-1" };
  const answer = await ask(`${server.url}/subscribe?name=x`, { headers });
  assertEquals([answer.status, answer.headers.get("content-type")], [200, "text/event-stream"]);
  assertMatch(answer.text, /^retry: (?:[12][0-9]{3}|3000)\n\n$/);
  assertEquals(server.hub.subscribers("x"), 1);
  const accept = { accept: "text/event-stream" };
  const raw = await sendRaw(server, "GET /subscribe?name=x HTTP/1.1", accept);
  // Kept alive, the connection would hold up the end.
  assertEquals([raw.status, raw.headers.get("connection")], [200, "close"]);
  // As htmx 4 asks.
  const several = { accept: "text/html, text/event-stream" };
  assertEquals((await ask(`${server.url}/subscribe?name=x`, { headers: several })).status, 200);
  for (const format of ["sse", "sse.v1"]) {
    const asked = await ask(`${server.url}/subscribe?name=x&format=${format}&seq=1`);
    assertEquals([asked.status, asked.headers.get("content-type")], [200, "text/event-stream"]);
  }
  for (const query of ["format=river", "format=sses", "name=format=sse", "myformat=sse"]) {
    assertEquals((await ask(`${server.url}/subscribe?${query}`)).status, 503);
  }
  const foreign = { ...headers, origin: "https://elsewhere.example" };
  assertEquals((await ask(`${server.url}/subscribe?name=x`, { headers: foreign })).status, 403);
  for (const path of ["healthz", "publish?name=x&data=a", "publish?format=sse"]) {
    assertEquals((await ask(`${server.url}/${path}`, { headers })).status, 503);
  }
  server.hub.drain();
  await drain;
});

Deno.test("a publish whose body is still being sent when the signal comes is refused: nobody would get it", async () => {
  await using server = await spawnServer();
  const lines = await subscribe(server, "name=x");
  using connection = await RawConnection.open(server);
  const headers = { "Content-Length": "10", "Expect": "100-continue" };
  await connection.write(requestHead("POST /publish?name=x HTTP/1.1", headers));
  // The server reads the body: it has begun with the request.
  assertStringIncludes(await connection.until("\r\n\r\n"), "100 Continue");
  await connection.write("a");
  const ended = server.end();
  await until(() => refusing(server));
  await connection.write("b".repeat(9));
  const answer = await connection.response();
  assertEquals([answer.status, errorCode(answer)], [503, "shutting_down"]);
  assertEquals(await lines.rest(), "");
  assertEquals((await within(2000, "the process", ended)).code, 0);
  assertMatch(
    await logOf(server),
    /^\S+ info shutting down [^\n]+\n(?:\S+ warn refused [^\n]+\n)+$/,
  );
});

/** Ways to publish that wait for something. */
const WAITING: [what: string, type: string, body: string, headers: Record<string, string>][] = [
  ["a body", "text/plain", "abc", {}],
  ["a batch", "application/x-ndjson", '{"name":"x","data":"a"}\n{"name":"y","data":"a"}', {}],
  ["a token that is new here", "text/plain", "abc", { Authorization: `Bearer ${TOKEN}` }],
];

for (const [what, type, body, headers] of WAITING) {
  Deno.test(`a publish that waits for ${what} when the server begins to drain is refused, and its retries with it`, async () => {
    const flags = headers.Authorization === undefined ? [] : [`--token-secret=${SECRET}`];
    await using server = await serveHere(...flags);
    using connection = await RawConnection.open(server);
    const target = what === "a batch" ? "/publish" : "/publish?name=x";
    const head = requestHead(`POST ${target} HTTP/1.1`, {
      "Content-Length": String(body.length),
      "Content-Type": type,
      "Expect": "100-continue",
      ...headers,
    });
    await connection.write(head);
    await connection.until("100 Continue\r\n\r\n");
    const drained = server.refuse();
    server.hub.drain();
    // The same again, behind it on the same connection.
    await connection.write(body + requestHead("GET /publish?name=x&data=b HTTP/1.1", headers));
    for (let i = 0; i < 2; i++) {
      const answer = await connection.response();
      assertEquals([answer.status, errorCode(answer)], [503, "shutting_down"]);
    }
    await drained;
    assertEquals([server.engine.usage().published, server.errors], [0, []]);
  });
}

Deno.test("Hub refuses publications after it began to drain, and a late engine keeps what it had before", async () => {
  const engine = new LateEngine(memoryLimits());
  const hub = new Hub({ engine, wheel: new TimerWheel(), maxQueue: 1000, heartbeat: 1000 });
  await hub.start();
  const before = hub.publish({ channel: "x", data: "a" });
  hub.drain();
  const late = { channel: "y", data: "a" };
  assertThrows(() => hub.publish(late), ShuttingDownError);
  assertThrows(() => hub.publishAll([late, late]), ShuttingDownError);
  assertEquals((await before).seq, 1);
  await engine.idle();
  assertEquals((await engine.usage()).published, 1);
  await hub.close();
});

/** Publishes messages, more of them than a plain WebSocket may have unsent. */
async function publishMany(server: { url: string }, count: number): Promise<void> {
  const body = '{"name":"x","data":"a"}\n'.repeat(count);
  const headers = { "Content-Type": "application/x-ndjson" };
  assertEquals((await ask(`${server.url}/publish`, { method: "POST", body, headers })).status, 200);
}

Deno.test("a WebSocket that reads gets all that was published before the server began to drain, then 1001", async () => {
  await using server = await serveHere();
  await using reader = await openPlain(server, "x");
  await publishMany(server, 10_000);
  const drained = server.refuse();
  server.hub.drain();
  const last = (await reader.take(10_000)).at(-1);
  assertEquals([last, (await reader.closed).code], [msg("x", 10_000, "a"), 1001]);
  await within(2000, "the app", drained);
});

for (const protocol of [undefined, "river.v1"]) {
  Deno.test(`what a WebSocket (${protocol ?? "plain"}) sends while the last messages go out is dropped without a word`, async () => {
    await using server = await serveHere();
    await using reader = await openPlain(server, "x");
    await using sender = await openSocket(server, protocol === undefined ? "name=x" : "", protocol);
    await until(() => server.hub.size === 2);
    await publishMany(server, 10_000);
    const drained = server.refuse();
    server.hub.drain();
    sender.send(protocol === undefined ? "b" : '["pub", {"channel": "x", "data": "b", "id": "1"}]');
    assertEquals((await sender.closed).code, 1001);
    assertEquals((await reader.take(10_000)).at(-1), msg("x", 10_000, "a"));
    await within(2000, "the app", drained);
    assertEquals([server.engine.usage().published, server.errors], [10_000, []]);
  });
}

for (const protocol of [undefined, "river.v1"]) {
  Deno.test(`what a WebSocket (${protocol ?? "plain"}) sends after the server began to drain gets no ack, and is not published`, async () => {
    await using server = await serveHere();
    const query = protocol === undefined ? "?name=x" : "";
    using client = await FrameClient.open(server, query.slice(1), protocol);
    await until(() => server.hub.size === 1);
    const drained = server.refuse();
    server.hub.drain();
    const line = '["pub", {"channel": "x", "data": "a", "id": "1"}]';
    await client.send(text(protocol === undefined ? "a" : line), close(1001));
    const frames: string[] = [];
    for (let frame; (frame = await client.frame()) !== undefined;) {
      frames.push(new TextDecoder().decode(frame.payload));
    }
    await drained;
    assert(!frames.join().includes("ack"), frames.join());
    assertEquals(server.engine.usage().published, 0);
  });
}
