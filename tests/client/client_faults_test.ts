/**
 * `client.js` when the network or the server is not as it should be.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { mintToken } from "../../lib/access/tokens.ts";
import { River, type RiverOptions, type Status, type Transport } from "../../static/client.js";
import { Proxy } from "../support/proxies.ts";
import { numbers, publishNow, TestClient, TRANSPORTS } from "../support/river_client.ts";
import { serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

/** What a client waits for in seconds takes a `factor`th of the time, until this is disposed of. */
function hurry(factor: number): Disposable {
  const { setTimeout } = globalThis;
  globalThis.setTimeout =
    ((job: () => void, ms = 0) => setTimeout(job, ms / factor)) as typeof setTimeout;
  return { [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout) };
}

/** Somebody else's server, and how often it was asked. */
interface Stranger extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly requests: { readonly at: number; readonly path: string; readonly form: string }[];
}

type Answer = (form: URLSearchParams, request: Request) => Response | Promise<Response>;

/** Serves whatever `answer` says. */
function serveStrangely(answer: Answer): Stranger {
  const requests: { at: number; path: string; form: string }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const form = new URLSearchParams(await request.text());
    requests.push({ at: performance.now(), path: new URL(request.url).pathname, form: `${form}` });
    return answer(form, request);
  });
  const { port } = server.addr;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Answers a handshake with a socket that sends these frames, and closes if told so. */
function socketOf(request: Request, frames: string[], close?: [number, string]): Response {
  const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "river.v1" });
  socket.onopen = () => {
    for (const frame of frames) socket.send(frame);
    if (close !== undefined) socket.close(...close);
  };
  return response;
}

/** A stream that stays open after these lines, until `signal` says that the client has gone. */
function streamOf(text: string, signal: AbortSignal): Response {
  return new Response(
    new ReadableStream<Uint8Array>({
      start(controller) {
        if (text !== "") controller.enqueue(new TextEncoder().encode(text));
        signal.addEventListener("abort", () => controller.close());
      },
    }),
  );
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const OPEN = '["open", {"channel": "x", "cursor": "e-0"}]\n';
const ONE = '["msg", {"channel": "x", "seq": 1, "data": "one"}]\n';

/** Waits for a status and gives it. */
async function statusOf(client: TestClient, condition: (status: Status) => boolean) {
  return (await client.statuses.until((all) => all.some(condition))).find(condition)!;
}

/** One client for each transport, all behind one proxy. */
async function throughOneProxy(transports = TRANSPORTS) {
  const server = await serveHere();
  const proxy = new Proxy(server);
  const clients = transports.map((transport) => new TestClient(proxy, { transports: [transport] }));
  const heard = clients.map((client) => client.hear("x"));
  await Promise.all(heard.map((one) => one.opened()));
  await until(() => server.hub.subscribers("x") === transports.length);
  return {
    server,
    proxy,
    clients,
    heard,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client[Symbol.dispose]();
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const { now } = Date;

/** What tells a client that it may have lost its connections. */
const RETURNS: [string, () => unknown, (readonly Transport[])?][] = [
  ["the network is back", () => dispatchEvent(new Event("online"))],
  ["the machine has slept", () => Date.now = () => now() + 30_000],
  // A socket takes a second and a half to be found dead.
  ["the page is shown", () => dispatchEvent(new Event("visibilitychange")), ["stream"]],
  [
    "the page comes out of the cache",
    () => dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true })),
    ["stream", "longpoll"],
  ],
];

for (const [what, happens, transports] of RETURNS) {
  Deno.test(`when ${what}, connections that are open but dead are replaced at once`, async () => {
    await using all = await throughOneProxy(transports);
    const { server, proxy, heard } = all;
    publishNow(server, "x");
    await Promise.all(heard.map((one) => one.reaches(1)));
    proxy.swallow();
    publishNow(server, "x", 2);
    const began = performance.now();
    happens();
    for (const one of heard) assertEquals(await one.reaches(3), [1, 2, 3]);
    const took = performance.now() - began;
    Date.now = now;
    assert(took < 3500, `${took} ms`);
  });
}

Deno.test("a page that is shown for the first time checks nothing", async () => {
  await using all = await throughOneProxy();
  const { length } = all.proxy.requests;
  dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
  await pause(100);
  assertEquals(all.proxy.requests.length, length);
});

Deno.test("a socket that lives answers the check and is kept", async () => {
  await using server = await serveHere();
  await using proxy = new Proxy(server);
  using client = new TestClient(proxy);
  const heard = client.hear("x");
  await heard.opened();
  for (let i = 0; i < 3; i++) dispatchEvent(new Event("online"));
  await until(() => proxy.tail.includes("not_subscribed"));
  await pause(1700);
  publishNow(server, "x");
  await heard.reaches(1);
  assertEquals(proxy.requests, ["GET /websocket"]);
  assertEquals([client.states, heard.errors.items], [
    ["connecting websocket", "open websocket"],
    [],
  ]);
});

for (const transport of TRANSPORTS) {
  Deno.test(`over ${transport}, offline is shown at once, and open again if the server is still there`, async () => {
    await using server = await serveHere();
    await using proxy = new Proxy(server);
    using client = new TestClient(proxy, { transports: [transport] });
    const heard = client.hear("x");
    await heard.opened();
    dispatchEvent(new Event("offline"));
    assertEquals(client.river.status, { state: "offline" });
    await client.opened(2);
    proxy.repoint({ port: 1 });
    proxy.cut();
    const waiting = await statusOf(client, ({ delay }) => delay !== undefined);
    assertEquals(waiting.state, "offline");
    proxy.repoint(server);
    dispatchEvent(new Event("online"));
    await client.opened(3);
    const states = client.statuses.items.slice(2).map(({ state }) => state);
    assertEquals(states.filter((state) => state !== "offline" && state !== "open").slice(1), []);
  });
}

Deno.test("a client that waits for long tries at once when the network is back", async () => {
  await using full = serveStrangely(() =>
    new Response(null, { status: 503, headers: { "retry-after": "60" } })
  );
  await using server = await serveHere();
  await using proxy = new Proxy(full);
  using client = new TestClient(proxy, { transports: ["stream"] });
  const heard = client.hear("x");
  const published = client.river.publish("x", "a");
  const { delay = 0 } = await statusOf(client, ({ delay }) => delay !== undefined);
  assert(delay >= 30_000 && delay <= 60_000, `${delay}`);
  await until(() => proxy.count("/publish") === 1);
  await pause(50);
  proxy.repoint(server);
  dispatchEvent(new Event("online"));
  await heard.opened();
  await published;
});

// What servers answer.

for (
  const [retryAfter, least, most] of [
    ["7", 7000, 14_000],
    ["4000000", 30_000, 60_000],
    ["1e308", 30_000, 60_000],
    ["-5", 50, 5000],
    ["0", 50, 5000],
    ["Infinity", 50, 5000],
    ["soon", 50, 5000],
  ] as const
) {
  Deno.test(`Retry-After: ${retryAfter} is a wait of ${least} to ${most} ms`, async () => {
    await using server = serveStrangely(() =>
      new Response(null, { status: 429, headers: { "retry-after": retryAfter } })
    );
    const clients = numbers(1, 5).map(() => new TestClient(server, { transports: ["longpoll"] }));
    const delays = new Set<number>();
    for (const client of clients) {
      using _ = client;
      client.hear("x");
      const { delay = 0 } = await statusOf(client, ({ delay }) => delay !== undefined);
      assert(delay >= least && delay <= most, `${delay}`);
      delays.add(delay);
    }
    assertEquals(delays.size, clients.length, "not all at the same time");
  });
}

Deno.test("a socket that is closed with an absurd delay is opened again within a minute", async () => {
  await using server = serveStrangely((_, request) =>
    socketOf(request, [OPEN], [1001, `retry in ${"9".repeat(80)} ms`])
  );
  using client = new TestClient(server, { transports: ["websocket"] });
  client.hear("x");
  const { delay = 0 } = await statusOf(client, ({ delay }) => delay !== undefined);
  assert(delay >= 30_000 && delay <= 60_000, `${delay}`);
});

/** Servers that answer at once, over and over, and bring nothing. */
const USELESS: Record<string, [Transport, Answer]> = {
  "an empty long-poll": ["longpoll", () => new Response("")],
  "204 to a long-poll": ["longpoll", () => new Response(null, { status: 204 })],
  "a long-poll that only opens": ["longpoll", () => new Response(OPEN)],
  "a long-poll that repeats a message": [
    "longpoll",
    () => new Response(OPEN.replace("0", "1") + ONE),
  ],
  "a stream that ends once it is open": ["stream", () => new Response(OPEN)],
  "a stream of something else": ["stream", () => new Response("<html>\n")],
  "a socket that closes once it is open": [
    "websocket",
    (_, request) => socketOf(request, [OPEN], [1000, ""]),
  ],
  "a socket that says nothing and closes": [
    "websocket",
    (_, request) => socketOf(request, [], [1013, "no room"]),
  ],
  "a handshake that is refused": ["websocket", () => new Response(null, { status: 403 })],
  "503 without Retry-After": ["stream", () => new Response(null, { status: 503 })],
  "a token that is refused for another each time": [
    "stream",
    () => new Response(null, { status: 401 }),
  ],
};

Deno.test("an answer that brings nothing is followed by a pause that grows", async (t) => {
  let asked = 0;
  const options = (transport: Transport): RiverOptions => ({
    transports: [transport],
    token: () => `${asked++}`,
  });
  await Promise.all(
    Object.entries(USELESS).map(([name, [transport, answer]]) =>
      t.step({
        name,
        sanitizeOps: false,
        sanitizeResources: false,
        sanitizeExit: false,
        async fn() {
          await using server = serveStrangely(answer);
          using client = new TestClient(server, options(transport));
          client.hear("x");
          await pause(2500);
          const { length } = server.requests;
          assert(length >= 2 && length <= 10, `${length} requests in 2.5 s`);
        },
      })
    ),
  );
});

let answers = 0;
/** Long-polls that are answered at once, over and over, by what is new and yet no progress. */
const ENDLESS: Record<string, () => string> = {
  "two servers that take turns": () => OPEN.replace("e-", `e${++answers}-`) + ONE,
  "a server whose restarts have no end": () =>
    `${OPEN}["gap", {"channel": "x", "from": 1, "to": 0, "epoch": "f", "reason": "restart"}]\n${ONE}`,
  "a position that moves without a message": () => OPEN.replace("-0", `-${++answers}`),
};

for (const [name, lines] of Object.entries(ENDLESS)) {
  Deno.test(`a long-poll does not hurry after ${name}`, async () => {
    await using server = serveStrangely(() => new Response(lines()));
    using client = new TestClient(server, { transports: ["longpoll"] });
    client.hear("x");
    await pause(1500);
    const { length } = server.requests;
    assert(length >= 2 && length <= 26, `${length} requests in 1.5 s`);
  });
}

const ABSURD = [
  "{}",
  "5",
  "null",
  "[]",
  '["msg"]',
  '["msg", null]',
  '["msg", {"channel": "x", "seq": "1", "data": "a"}]',
  '["msg", {"channel": "x", "seq": 1e300, "data": "a"}]',
  '["msg", {"channel": "x", "seq": -1, "data": "a"}]',
  '["msg", {"channel": "x", "seq": 1, "data": {}}]',
  '["open", {"channel": "x"}]',
  '["open", {"channel": "x", "cursor": 5}]',
  '["open", {"channel": "x", "cursor": "e-x"}]',
  '["gap", {"channel": "x", "from": 1, "to": 1e300, "epoch": "e", "reason": "evicted"}]',
  '["gap", {"channel": "x", "from": 1, "to": 2.5, "epoch": "e", "reason": "evicted"}]',
  '["gap", {"channel": "x", "from": 1, "to": 2, "epoch": {}, "reason": "evicted"}]',
  '["error", {"channel": "x", "message": 5}]',
  "not JSON",
  '["open"',
];
const HARMLESS = [
  '["toString", {"channel": "x"}]',
  '["news", {"channel": "x"}]',
  '["msg", {"channel": "__proto__", "seq": 1, "data": "a"}]',
  '["error", {"message": "no channel"}]',
  '["msg", {"channel": "x", "seq": 0, "data": "old"}]',
  '["constructor", {"channel": "x"}]',
  '["hasOwnProperty", {"channel": "x"}]',
  '["__proto__", {"channel": "x"}]',
  "",
];

for (const transport of ["websocket", "stream"] as const) {
  Deno.test(`over ${transport}, lines that are not river's are never given to anybody, and what comes after is`, async () => {
    // The first connection of each client brings the line, all others what is right.
    const seen = new Set<string>();
    const lines = [...ABSURD, ...HARMLESS];
    await using server = serveStrangely((form, request) => {
      const token = form.get("token") ?? new URL(request.url).searchParams.get("token")!;
      const line = seen.has(token) ? ONE : `${lines[Number(token)]}\n`;
      seen.add(token);
      const last = Number(token) >= ABSURD.length ? ONE : "";
      return transport === "websocket"
        ? socketOf(request, [OPEN, line, last])
        : streamOf(OPEN + line + last, request.signal);
    });
    await Promise.all(lines.map(async (line, i) => {
      using client = new TestClient(server, { transports: [transport], token: `${i}` });
      const heard = client.hear("x");
      await heard.reaches(1);
      const { messages, gaps, errors } = heard;
      assertEquals(
        [messages.items, gaps.items, errors.items],
        [[{ channel: "x", seq: 1, data: "one" }], [], []],
        line,
      );
      assertEquals(
        client.statuses.items.some(({ delay }) => delay !== undefined),
        i < ABSURD.length,
      );
    }));
  });
}

Deno.test("a socket that sends heartbeats, but never answers, is given up", async () => {
  await using server = serveStrangely((_, request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "river.v1" });
    const timer = setInterval(() => socket.readyState === socket.OPEN && socket.send(""), 20);
    socket.onclose = () => clearInterval(timer);
    return response;
  });
  using _ = hurry(20);
  using client = new TestClient(server, { transports: ["websocket"] });
  client.hear("x");
  await statusOf(client, ({ state }) => state === "reconnecting");
});

Deno.test("a stream whose first line never ends is given up", async () => {
  await using server = serveStrangely((_, { signal }) =>
    new Response(
      new ReadableStream<Uint8Array>({
        start(controller) {
          const timer = setInterval(() => controller.enqueue(new Uint8Array([32])), 20);
          signal.addEventListener("abort", () => {
            clearInterval(timer);
            controller.close();
          });
        },
      }),
    )
  );
  using _ = hurry(20);
  using client = new TestClient(server, { transports: ["stream"] });
  client.hear("x");
  await statusOf(client, ({ delay }) => delay !== undefined);
  assertEquals(client.states.slice(0, 2), ["connecting stream", "reconnecting"]);
});

// Publishing.

const RECEIPT = Response.json({ channel: "x", seq: 1, epoch: "e", subscribers: 0 });

for (
  const [name, tries, answer, words] of [
    ["413 of a proxy", 1, () => new Response("<html>", { status: 413 }), /413/],
    ["404 of a proxy", 1, () => new Response("", { status: 404 }), /404/],
    ["408", 1, () => new Response("", { status: 408 }), /408/],
    ["502 of a proxy", 4, () => new Response("<html>", { status: 502 }), /502/],
    ["500", 4, () => Response.json({ error: { message: "broken" } }, { status: 500 }), /broken/],
    [
      "429 with an absurd Retry-After",
      4,
      () => new Response("", { status: 429, headers: { "retry-after": "-5" } }),
      /429/,
    ],
    ["200 with a page", 4, () => new Response("<html>"), /Bad answer from the server: 200/],
    ["200 with null", 4, () => new Response("null"), /Bad answer/],
    ["200 with a list", 4, () => new Response("[]"), /Bad answer/],
    ["200 with an absurd number", 4, () => new Response('{"seq": 1e300}'), /Bad answer/],
    [
      "an error that is not an object",
      1,
      () => new Response('{"error": 5}', { status: 400 }),
      /400/,
    ],
    ["an answer that does not come", 4, () => new Promise(() => {}), /did not answer within 10 s/],
    [
      "an answer that does not end",
      4,
      (_, { signal }) => streamOf('{"seq": 1', signal),
      /did not answer within 10 s/,
    ],
  ] as [string, number, Answer, RegExp][]
) {
  Deno.test(`publish() that gets ${name} rejects after ${tries} tr${tries > 1 ? "ies" : "y"}`, async () => {
    const gone: Promise<unknown>[] = [];
    await using server = serveStrangely((form, request) => {
      const { signal } = request;
      const left = new Promise<Response>((resolve) =>
        signal.addEventListener("abort", () => resolve(RECEIPT.clone()))
      );
      gone.push(left);
      return Promise.race([answer(form, request), left]);
    });
    using _ = hurry(100);
    using client = new TestClient(server);
    const error = await assertRejects(() => client.river.publish("x", "a"), Error);
    assertMatch(error.message, words);
    assertEquals(server.requests.length, tries);
    assertEquals(new Set(server.requests.map(({ form }) => form)).size, 1, "the same id each time");
    const times = server.requests.map(({ at }) => at);
    // Pauses are a quarter of 500 ms at least.
    for (let i = 1; i < tries; i++) assert(times[i] - times[i - 1] >= 125 / 100, `${times}`);
  });
}

Deno.test("publish() takes nothing but text, and says how to make it", async () => {
  await using server = await serveHere();
  using client = new TestClient(server);
  for (const data of [{ x: 1 }, 5, null, undefined, ["a"], new Date()]) {
    const error = await assertRejects(() => client.river.publish("x", data as never), TypeError);
    assertMatch(
      error.message,
      /^Bad data: expected a string, got \w+: use JSON\.stringify\(data\)/,
    );
  }
  await assertRejects(() => client.river.publish(5 as never, "a"), TypeError, "Bad channel");
  await client.river.publish("x", JSON.stringify({ x: 1 }));
  assertEquals(server.engine.usage().published, 1);
});

Deno.test("a publish that waits is not tried again after close()", async () => {
  await using server = serveStrangely(() => new Response(null, { status: 503 }));
  const client = new TestClient(server);
  const published = client.river.publish("x", "a");
  await until(() => server.requests.length === 1);
  await pause(20);
  client.river.close();
  await assertRejects(() => published, Error, "503");
  assertEquals(server.requests.length, 1);
});

// Refusals.

for (const transport of TRANSPORTS) {
  const options: RiverOptions = { transports: [transport] };

  Deno.test(`over ${transport}, channels that are refused end alone, the others go on`, async () => {
    await using server = await serveHere(`--token-secret=${SECRET}`);
    const subscribe = ["good*"];
    const claims = { publish: [], subscribe, operate: false, expires: Infinity };
    await using proxy = new Proxy(server);
    using client = new TestClient(proxy, { ...options, token: await mintToken(SECRET, claims) });
    const names = ["good1", "evil", "good2", "good\u0001", "good3", "good4", "worse"];
    const heard = names.map((name) => client.hear(name));
    const good = heard.filter((_, i) => /^good[1-4]$/.test(names[i]));
    const bad = heard.filter((one) => !good.includes(one));
    await Promise.all(good.map((one) => one.opened()));
    await Promise.all(bad.map((one) => one.errors.until(({ length }) => length === 1)));
    assertMatch(bad[0].errors.items[0].message, /does not allow/);
    assertMatch(bad[1].errors.items[0].message, /control/);
    for (const name of names) if (/^good[1-4]$/.test(name)) publishNow(server, name);
    await Promise.all(good.map((one) => one.reaches(1)));
    const late = client.hear("good5", { seq: 0 });
    await late.opened();
    publishNow(server, "good5");
    publishNow(server, "good1");
    await Promise.all([late.reaches(1), good[0].reaches(2)]);
    // A new connection asks for them again, but tells nobody again.
    const joined = good[0].opens.items.length;
    await until(() => server.hub.subscribers("good1") > 0);
    proxy.cut();
    await Promise.all(good.map((one) => one.opened(joined + 1)));
    publishNow(server, "good1");
    await good[0].reaches(3);
    // A later subscriber to a refused channel hears of it too.
    await client.hear("evil").errors.until(({ length }) => length === 1);
    assertEquals(client.river.status, { state: "open", transport });
    for (const { errors } of good) assertEquals(errors.items, []);
    for (const { errors } of bad) assertEquals(errors.items.length, 1);
    assertEquals(server.errors, []);
  });

  Deno.test(`over ${transport}, of more channels than a client may have, the last ones are refused`, async () => {
    await using server = await serveHere("--max-channels-per-client", "5");
    using client = new TestClient(server, options);
    const heard = numbers(1, 12).map((i) => client.hear(`c${i}`));
    await Promise.all(heard.slice(0, 5).map((one) => one.opened()));
    await Promise.all(heard.slice(5).map((one) => one.errors.until(({ length }) => length === 1)));
    for (let i = 1; i <= 12; i++) publishNow(server, `c${i}`);
    await Promise.all(heard.slice(0, 5).map((one) => one.reaches(1)));
    assertEquals(heard.slice(5).map(({ seqs }) => seqs), numbers(6, 12).map(() => []));
  });
}

for (const transport of TRANSPORTS) {
  Deno.test(`over ${transport}, the largest position is told as a gap, once`, async () => {
    await using server = await serveHere();
    using client = new TestClient(server, { transports: [transport] });
    const heard = client.hear("x", { seq: Number.MAX_SAFE_INTEGER });
    const [{ from, to, reason }] = await heard.gaps.until(({ length }) => length > 0);
    assertEquals([from, to, reason], [2 ** 53, 0, "ahead"]);
    publishNow(server, "x");
    assertEquals(await heard.reaches(1), [1]);
    assertEquals(heard.gaps.items.length, 1);
  });
}

for (const transport of ["stream", "longpoll"] as const) {
  Deno.test(`over ${transport}, a position that is nonsense ends its channel only`, async () => {
    await using server = await serveHere();
    using client = new TestClient(server, { transports: [transport] });
    const bad = client.hear("x", { seq: "1,2" });
    const good = client.hear("y", { seq: 0 });
    publishNow(server, "y");
    await good.reaches(1);
    await bad.errors.until(({ length }) => length === 1);
  });

  Deno.test(`over ${transport}, a client whose channels are all refused waits for another`, async () => {
    await using server = await serveHere();
    using client = new TestClient(server, { transports: [transport] });
    const bad = client.hear("a\u0001");
    const [{ message }] = await bad.errors.until(({ length }) => length === 1);
    await client.statuses.until((all) => all.at(-1)?.state === "closed");
    assertEquals(client.river.status, { state: "closed", reason: message });
    await client.hear("b").opened();
    assertEquals(client.river.status, { state: "open", transport });
  });
}

Deno.test("over websocket, 1,500 channels that are refused do not end the socket", async () => {
  await using server = await serveHere("--max-channels-per-client", "2");
  using client = new TestClient(server, { transports: ["websocket"] });
  const heard = numbers(1, 1500).map((i) => client.hear(`c${i}`));
  await heard[1499].errors.until(({ length }) => length === 1);
  publishNow(server, "c2");
  await heard[1].reaches(1);
  assertEquals(client.states, ["connecting websocket", "open websocket"]);
});

Deno.test("without a channel the client says that it is closed, and opens for the next", async () => {
  await using server = await serveHere();
  using client = new TestClient(server);
  const heard = client.hear("x");
  await heard.opened();
  heard.subscription.close();
  await client.statuses.until((all) => all.at(-1)?.state === "closed");
  assertEquals(client.river.status, { state: "closed", reason: "there are no subscriptions" });
  await client.hear("x").opened();
});

// Tokens.

for (const transport of ["websocket", "stream", "longpoll"] as const) {
  Deno.test(`over ${transport}, the token function is asked for as long as it gives another`, async () => {
    await using server = await serveHere("--publish-key", "6", `--token-secret=${SECRET}`);
    const times: number[] = [];
    const token = () => `${times.push(performance.now())}`;
    // A handshake does not tell why it failed; the next transport does.
    using client = new TestClient(server, { transports: [transport, "stream"], token });
    using _ = hurry(8);
    await client.hear("x").opened();
    assertEquals(times.length, 6);
    // A pause before each, but for the step from a socket to the stream.
    const pauses = times.slice(1).map((time, i) => time - times[i]).filter((ms) => ms > 60 / 8);
    // A slow handshake looks like a pause too.
    assert(pauses.length >= (transport === "websocket" ? 2 : 5), `${times}`);
  });
}

Deno.test("a token function that gives the refused token again ends the client", async () => {
  await using server = await serveHere(`--token-secret=${SECRET}`);
  using client = new TestClient(server, { transports: ["stream"], token: () => "same" });
  const heard = client.hear("x");
  await heard.errors.until(({ length }) => length === 1);
  assertEquals(client.river.status, { state: "closed", reason: "the token was refused" });
});

Deno.test("a token function that throws is asked again, and the status says why nothing works", async () => {
  await using server = await serveHere("--publish-key", "k", `--token-secret=${SECRET}`);
  let asked = 0;
  const token = () => {
    if (asked++ < 2) throw new Error("no session");
    return "k";
  };
  using client = new TestClient(server, { token });
  await client.hear("x").opened();
  const { reason } = await statusOf(client, ({ delay }) => delay !== undefined);
  assertMatch(reason!, /no session/);
  assertEquals(client.statuses.items.every(({ transport }) => transport !== "stream"), true);
});

Deno.test("a token function that does not answer is given 15 s, and null is not a token", async () => {
  await using server = await serveHere();
  using _ = hurry(50);
  let asked = 0;
  const token = () => asked++ === 0 ? new Promise<null>(() => {}) : null;
  using client = new TestClient(server, { token });
  await client.hear("x").opened();
  const { reason } = await statusOf(client, ({ delay }) => delay !== undefined);
  assertMatch(reason!, /The token function did not answer within 15 s/);
  await client.river.publish("x", "a");
});

// Listeners.

Deno.test("after close() in a listener nobody hears anything more", async () => {
  await using server = await serveHere();
  using client = new TestClient(server);
  const heard: number[] = [];
  const take = ({ seq }: { seq: number }) => {
    heard.push(seq);
    client.river.close();
  };
  for (let i = 0; i < 2; i++) client.river.subscribe("x", take);
  await client.opened();
  await until(() => server.hub.subscribers("x") === 1);
  publishNow(server, "x", 3);
  await until(() => heard.length > 0);
  await until(() => server.hub.size === 0);
  assertEquals(heard, [1]);
  assertEquals(client.states.at(-1), "closed");
});

// What cannot work is said at once.

Deno.test("the address may be one of a WebSocket", async () => {
  await using server = await serveHere();
  for (const transport of TRANSPORTS) {
    const url = server.url.replace("http", "ws");
    using client = new TestClient({ url }, { transports: [transport] });
    await client.hear("x").opened();
    await client.river.publish("x", "a");
  }
});

for (
  const [name, url, options, words] of [
    ["a relative address outside of a page", "/river/", {}, "Bad url"],
    ["no address", undefined, {}, "Bad url"],
    ["an address of another scheme", "ftp://127.0.0.1/", {}, "Bad url"],
    ["an address that is a file", "file:///river", {}, "Bad url"],
    ["an address with a user", "http://me:pass@127.0.0.1/", {}, "without a user"],
    ["an address without a host", "http://", {}, "Bad url"],
    ["a token that is a number", "http://127.0.0.1/", { token: 5 }, "Bad token"],
    ["no transport", "http://127.0.0.1/", { transports: [] }, "Bad transports"],
    ["an unknown transport", "http://127.0.0.1/", { transports: ["ws", "stream"] }, "ws"],
    ["unknown credentials", "http://127.0.0.1/", { credentials: "yes" }, "Bad credentials"],
  ] as [string, string, RiverOptions, string][]
) {
  Deno.test(`${name} is a TypeError that says what is expected`, () => {
    const error = assertThrows(() => new River(url, options), TypeError, words);
    assertMatch(error.message, /expected/);
  });
}

Deno.test("subscribe() without a channel or a listener is a TypeError", () => {
  const river = new River("http://127.0.0.1/");
  assertThrows(() => river.subscribe(5 as never, () => {}), TypeError, "Bad channel");
  assertThrows(() => river.subscribe("", () => {}), TypeError, "Bad channel");
  assertThrows(() => river.subscribe("x", { onMessage() {} } as never), TypeError, "Bad onMessage");
});
