import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import manifest from "../../deno.json" with { type: "json" };
import { LEEWAY_S, mintToken } from "../../lib/access/tokens.ts";
import { River, version } from "../../static/client.js";
import { curl } from "../support/curl.ts";
import { msg } from "../support/http.ts";
import { Proxy } from "../support/proxies.ts";
import {
  type Heard,
  numbers,
  publishNow,
  TestClient,
  throughProxy,
  TRANSPORTS,
} from "../support/river_client.ts";
import { metric, serveHere, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Forgets what the session remembers of this server. */
function forgetting({ url }: { url: string }): Disposable & { readonly text: string | null } {
  const key = `river:${url}/`;
  return {
    get text() {
      return sessionStorage.getItem(key);
    },
    [Symbol.dispose]: () => sessionStorage.removeItem(key),
  };
}

Deno.test("the client's version is river's", () => {
  assertEquals(version, manifest.version);
});

for (const transport of TRANSPORTS) {
  const transports = [transport];

  Deno.test(`over ${transport} alone, a subscriber gets what curl publishes`, async () => {
    await using server = await serveHere();
    using client = new TestClient(server, { transports });
    const heard = client.hear("room");
    const [{ channel, cursor }] = await heard.opened();
    assertEquals(channel, "room");
    assertMatch(cursor, /^[0-9a-z]+-0$/);
    for (const data of ["hi", "grüße\n2"]) {
      await using publisher = curl(
        "-d",
        "name=room",
        "--data-urlencode",
        `data=${data}`,
        `${server.url}/publish`,
      );
      await publisher.output();
    }
    await heard.reaches(2);
    assertEquals(heard.messages.items, [
      { channel: "room", seq: 1, data: "hi" },
      { channel: "room", seq: 2, data: "grüße\n2" },
    ]);
    assertEquals(client.states, [`connecting ${transport}`, `open ${transport}`]);
    const label = { websocket: "river.v1", stream: "stream", longpoll: "long-poll" }[transport];
    await until(async () => await metric(server, `river_subscribers{transport="${label}"}`) === 1);
  });

  Deno.test(`over ${transport}, what is published while the connection is cut comes after`, async () => {
    await using all = await throughProxy([], { transports });
    const { server, client } = all;
    const heard = client.hear("x");
    await heard.opened();
    publishNow(server, "x", 2);
    await heard.reaches(2);
    await all.cut();
    publishNow(server, "x", 3);
    assertEquals(await heard.reaches(5), numbers(1, 5));
    assertEquals(heard.gaps.items, []);
    assert(client.states.includes("reconnecting"));
  });

  Deno.test(`over ${transport}, a cut before the first message loses nothing`, async () => {
    await using all = await throughProxy([], { transports });
    const { server, client } = all;
    const heard = client.hear("x");
    await heard.opened();
    await all.cut();
    publishNow(server, "x", 3);
    assertEquals(await heard.reaches(3), [1, 2, 3]);
    assertEquals(heard.gaps.items, []);
  });

  Deno.test(`over ${transport}, a history too short for what was missed is told as a gap`, async () => {
    await using all = await throughProxy(["--history", "2"], { transports });
    const { server, client } = all;
    const heard = client.hear("x");
    await heard.opened();
    publishNow(server, "x");
    await heard.reaches(1);
    await all.cut();
    publishNow(server, "x", 5);
    assertEquals(await heard.reaches(6), [1, 5, 6]);
    const [{ from, to, reason }] = heard.gaps.items;
    assertEquals([heard.gaps.items.length, from, to, reason], [1, 2, 4, "evicted"]);
  });

  Deno.test(`over ${transport}, a restarted server is reported as a gap, and messages follow`, async () => {
    await using all = await throughProxy([], { transports });
    await using other = await serveHere();
    const { server, proxy, client } = all;
    const heard = client.hear("x");
    await heard.opened();
    publishNow(server, "x", 3);
    await heard.reaches(3);
    publishNow(other, "x");
    await until(() => server.hub.subscribers("x") > 0);
    proxy.repoint(other);
    await all.cut();
    await heard.reaches(1);
    publishNow(other, "x");
    assertEquals(await heard.reaches(2), [1, 2, 3, 1, 2]);
    assertEquals(heard.gaps.items.map(({ reason }) => reason), ["restart"]);
    await all.cut(other);
    publishNow(other, "x");
    assertEquals(await heard.reaches(3), [1, 2, 3, 1, 2, 3]);
    assertEquals(heard.gaps.items.length, 1);
  });

  Deno.test(`over ${transport}, subscriptions of one channel each start where they want`, async () => {
    await using server = await serveHere();
    publishNow(server, "x", 5);
    using client = new TestClient(server, { transports });
    const options = [{}, { seq: 2 }, { seq: 0 }, {}, { seq: 4 }, { seq: 5 }];
    const early = options.map((options) => client.hear("x", options));
    await early[2].reaches(5);
    publishNow(server, "x");
    const late = options.map((options) => client.hear("x", options));
    await Promise.all(late.map((heard) => heard.opened()));
    await late[2].reaches(6);
    publishNow(server, "x", 2);
    await Promise.all([...early, ...late].map((heard) => heard.reaches(8)));
    const starts = (all: Heard[]) => all.map(({ seqs }) => seqs[0]);
    assertEquals(starts(early), [6, 3, 1, 6, 5, 6]);
    assertEquals(starts(late).map((start, i) => i % 3 === 0 ? start >= 6 : start), [
      true,
      3,
      1,
      true,
      5,
      6,
    ]);
    for (const { seqs, gaps } of [...early, ...late]) {
      assertEquals(seqs, numbers(seqs[0], 8));
      assertEquals(gaps.items, []);
    }
  });

  Deno.test(`over ${transport}, a subscriber that comes later and wants more does not disturb the others under load`, async () => {
    await using server = await serveHere("--history", "10000");
    using client = new TestClient(server, { transports });
    const heard = [client.hear("x", { seq: 0 })];
    const timer = setInterval(() => publishNow(server, "x", 3), 2);
    try {
      for (let i = 0; i < 10; i++) {
        await heard[i].messages.until(({ length }) => length > 20);
        heard.push(client.hear("x", { seq: i % 2 === 0 ? 0 : 7 }));
      }
      await heard[10].messages.until(({ length }) => length > 20);
    } finally {
      clearInterval(timer);
    }
    const { seq } = await server.hub.publish({ channel: "x", data: "last" });
    for (const [i, one] of heard.entries()) {
      const first = i > 0 && i % 2 === 0 ? 8 : 1;
      assertEquals(await one.reaches(seq), numbers(first, seq), `subscription ${i}`);
    }
  });

  Deno.test(`over ${transport}, several channels share one connection, each with its position`, async () => {
    await using all = await throughProxy([], { transports });
    const { server, client } = all;
    for (const name of ["a", "x", "c,d"]) publishNow(server, name, 3);
    const heard = [client.hear("a"), client.hear("x", { seq: 1 }), client.hear("c,d", { seq: 0 })];
    await Promise.all(heard.map((one) => one.opened()));
    await heard[2].reaches(3);
    await all.cut();
    for (const name of ["a", "x", "c,d"]) publishNow(server, name);
    assertEquals(await Promise.all(heard.map((one) => one.reaches(4))), [
      [4],
      [2, 3, 4],
      [1, 2, 3, 4],
    ]);
    assertEquals(heard.map(({ gaps }) => gaps.items.length), [0, 0, 0]);
  });

  Deno.test(`over ${transport}, closing one of two subscriptions leaves the other; closing all ends the connection`, async () => {
    await using server = await serveHere();
    using client = new TestClient(server, { transports });
    const [one, two] = [client.hear("x"), client.hear("x")];
    await Promise.all([one.opened(), two.opened()]);
    publishNow(server, "x");
    await Promise.all([one.reaches(1), two.reaches(1)]);
    one.subscription.close();
    one.subscription.close();
    publishNow(server, "x");
    await two.reaches(2);
    assertEquals(one.seqs, [1]);
    two.subscription.close();
    await until(() => server.hub.size === 0);
    const again = client.hear("x", { seq: 1 });
    assertEquals(await again.reaches(2), [2]);
    assertEquals(two.seqs, [1, 2]);
  });

  Deno.test(`over ${transport}, a channel that cannot be joined is told in the server's words`, async () => {
    await using server = await serveHere();
    using client = new TestClient(server, { transports });
    const heard = client.hear("a\u0001b");
    const [{ message }] = await heard.errors.until(({ length }) => length > 0);
    assertMatch(message, /control/);
  });

  Deno.test(`over ${transport}, twenty cuts under load lose nothing and repeat nothing`, async () => {
    await using all = await throughProxy(["--history", "100000"], { transports });
    const { server, client } = all;
    const heard = client.hear("x");
    await heard.opened();
    const timer = setInterval(() => publishNow(server, "x"), 5);
    try {
      for (let i = 1; i <= 20; i++) {
        const { length } = heard.seqs;
        await heard.messages.until((messages) => messages.length > length);
        await all.cut();
        // A cut between two long-polls goes unnoticed.
        if (transport !== "longpoll") await heard.opened(i + 1);
      }
    } finally {
      clearInterval(timer);
    }
    const { seq } = await server.hub.publish({ channel: "x", data: "last" });
    assertEquals(await heard.reaches(seq), numbers(1, seq));
    assertEquals(heard.gaps.items, []);
    assert(client.states.includes("reconnecting"));
  });
}

Deno.test("going from one channel to another in one go keeps the connection", async () => {
  await using all = await throughProxy();
  const { server, proxy, client } = all;
  const before = client.hear("a");
  await before.opened();
  before.subscription.close();
  const after = client.hear("b");
  await after.opened();
  publishNow(server, "a");
  publishNow(server, "b");
  await after.reaches(1);
  assertEquals([before.seqs, server.hub.subscribers("a")], [[], 0]);
  assertEquals(proxy.requests, ["GET /websocket"]);
  assertEquals(client.states, ["connecting websocket", "open websocket"]);
});

Deno.test("a channel that is left and joined again in one go starts anew", async () => {
  await using server = await serveHere();
  using client = new TestClient(server);
  const before = client.hear("a");
  await before.opened();
  publishNow(server, "a", 2);
  await before.reaches(2);
  before.subscription.close();
  const after = client.hear("a", { seq: 0 });
  assertEquals(await after.reaches(2), [1, 2]);
  assertEquals(before.seqs, [1, 2]);
});

Deno.test("a subscription closed at once, before the token is there, connects nowhere and breaks nothing", async () => {
  await using all = await throughProxy();
  const { server, proxy } = all;
  const token = Promise.withResolvers<undefined>();
  using client = new TestClient(proxy, { transports: ["stream"], token: () => token.promise });
  const heard = client.hear("x");
  await client.statuses.until(({ length }) => length === 1);
  heard.subscription.close();
  token.resolve(undefined);
  await token.promise;
  const other = client.hear("y");
  await other.opened();
  publishNow(server, "y");
  await other.reaches(1);
  assertEquals(proxy.requests, ["POST /subscribe"]);
});

Deno.test("where upgrades are refused, the client streams, and after two failures remembers it for the session", async () => {
  await using all = await throughProxy();
  const { proxy, client } = all;
  proxy.options.refuseUpgrades = true;
  using memory = forgetting(proxy);
  const heard = client.hear("x");
  await heard.opened();
  assertEquals(client.states, ["connecting websocket", "connecting stream", "open stream"]);
  assertEquals(memory.text, null);
  proxy.cut();
  await heard.opened(2);
  assertEquals(memory.text, "websocket");
  assertEquals(proxy.count("/websocket"), 2);
  using next = new TestClient(proxy);
  await next.hear("x").opened();
  assertEquals(next.states, ["connecting stream", "open stream"]);
  assertEquals(proxy.count("/websocket"), 2);
});

Deno.test("where upgrades are refused and streams held back, the client long-polls", async () => {
  await using all = await throughProxy();
  const { server, proxy, client } = all;
  Object.assign(proxy.options, { refuseUpgrades: true, buffer: true });
  const heard = client.hear("x");
  await client.opened();
  assertEquals(client.states, [
    "connecting websocket",
    "connecting stream",
    "connecting longpoll",
    "open longpoll",
  ]);
  publishNow(server, "x");
  await heard.reaches(1);
  publishNow(server, "x");
  assertEquals(await heard.reaches(2), [1, 2]);
});

Deno.test("a transport that worked is not given up because the server is away for a moment", async () => {
  await using all = await throughProxy();
  const { server, proxy, client } = all;
  const heard = client.hear("x");
  await heard.opened();
  const nobody = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = nobody.addr;
  nobody.close();
  proxy.repoint({ port });
  proxy.cut();
  await client.statuses.until((all) => all.filter(({ delay }) => delay !== undefined).length === 2);
  proxy.repoint(server);
  publishNow(server, "x");
  await heard.reaches(1);
  assertEquals(proxy.requests.filter((request) => request !== "GET /websocket"), []);
});

Deno.test("states come in order, with the transport, the delay and the reason", async () => {
  await using all = await throughProxy();
  const { proxy, client } = all;
  assertEquals(client.river.status, { state: "connecting" });
  const heard = client.hear("x");
  await heard.opened();
  assertEquals(client.river.status, { state: "open", transport: "websocket" });
  proxy.cut();
  await client.opened(2);
  client.river.close();
  client.river.close();
  const again = ["connecting websocket", "open websocket"];
  assertEquals(client.states, [...again, "reconnecting", ...again, "closed"]);
  const [, , { delay }] = client.statuses.items;
  assert(typeof delay === "number" && delay >= 0 && delay < 500, `${delay}`);
  assertEquals(client.river.status, { state: "closed", reason: "close() was called" });
});

Deno.test("after close() nothing comes any more, and subscribe() throws", async () => {
  await using server = await serveHere();
  using client = new TestClient(server);
  const heard = client.hear("x");
  await heard.opened();
  client.river.close();
  assertThrows(() => client.hear("y"), Error, "closed");
  await until(() => server.hub.size === 0);
  publishNow(server, "x");
  assertEquals(heard.seqs, []);
});

Deno.test("at SIGTERM the client waits as long as the server asks", async () => {
  await using first = await spawnServer();
  await using second = await spawnServer();
  await using proxy = new Proxy(first);
  using client = new TestClient(proxy);
  const heard = client.hear("x");
  await heard.opened();
  proxy.repoint(second);
  await first.end("SIGTERM");
  await client.statuses.until((all) => all.at(-1)?.state === "reconnecting");
  const asked = /retry in ([0-9]+) ms/.exec(proxy.tail);
  assert(asked, proxy.tail);
  const { delay = NaN } = client.statuses.items.at(-1)!;
  // A backoff of up to 250 ms counts too.
  assert(delay >= Number(asked[1]) && delay <= Math.max(Number(asked[1]), 250), `${delay}`);
  await heard.opened(2);
});

for (const transport of ["stream", "longpoll"] as const) {
  Deno.test(`over ${transport}, a server without room is asked again when it says`, async () => {
    await using server = await serveHere("--max-connections", "1");
    using one = new TestClient(server);
    await one.hear("x").opened();
    using two = new TestClient(server, { transports: [transport] });
    two.hear("x");
    await two.statuses.until((all) => all.length === 2);
    const { delay = 0 } = two.statuses.items[1];
    assert(delay >= 5000 && delay <= 10_000, `${delay}`);
  });
}

Deno.test("publish() gives the receipt", async () => {
  await using server = await serveHere();
  await using reader = curl("-N", `${server.url}/subscribe?name=x`);
  await until(() => server.hub.subscribers("x") === 1);
  using client = new TestClient(server);
  const { epoch, ...receipt } = await client.river.publish("x", "a & b = ü");
  assertEquals(receipt, { channel: "x", seq: 1, subscribers: 1 });
  assertMatch(epoch, /^[0-9a-z]+$/);
  assertEquals(await reader.lines.next(), msg("x", 1, "a & b = ü"));
});

Deno.test("publish() rejects with the server's words, and does not try again", async () => {
  await using all = await throughProxy(["--max-message", "10", "--publish-key", "k"]);
  const { proxy, client } = all;
  await assertRejects(
    () => client.river.publish("x", "hi"),
    Error,
    "A key or token is needed to publish",
  );
  using keyed = new TestClient(proxy, { token: "k" });
  await assertRejects(() => keyed.river.publish("x", "a".repeat(11)), Error, "11 bytes");
  await assertRejects(() => keyed.river.publish("", "a"), Error, '"name"');
  assertEquals(proxy.count("/publish"), 3);
  assertEquals((await keyed.river.publish("x", "hi")).seq, 1);
});

Deno.test("a publish whose answer was lost is repeated, and published once", async () => {
  await using all = await throughProxy();
  const { server, proxy, client } = all;
  const heard = client.hear("x");
  await heard.opened();
  proxy.lost.push("/publish", "/publish");
  const { seq } = await client.river.publish("x", "once");
  assertEquals([seq, proxy.count("/publish")], [1, 3]);
  publishNow(server, "x");
  assertEquals(await heard.reaches(2), [1, 2]);
  assertEquals(heard.messages.items[0].data, "once");
});

Deno.test("a token from a function is asked for again when the server refuses it", async () => {
  await using server = await serveHere("--publish-key", "right");
  const tokens = ["wrong", "right"];
  let asked = 0;
  using client = new TestClient(server, { token: () => Promise.resolve(tokens[asked++]) });
  assertEquals((await client.river.publish("x", "a")).seq, 1);
  assertEquals((await client.river.publish("x", "b")).seq, 2);
  assertEquals(asked, 2);
});

Deno.test("a token from a function that stays wrong is refused after two tries", async () => {
  await using all = await throughProxy(["--publish-key", "right"]);
  let asked = 0;
  using client = new TestClient(all.proxy, { token: () => `wrong ${asked++}` });
  await assertRejects(() => client.river.publish("x", "a"), Error, "this is not the key");
  assertEquals([asked, all.proxy.count("/publish")], [2, 2]);
});

/** A server that wants a token from every subscriber. */
function serveGuarded(good: string) {
  const tokens: (string | null)[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const token = new URLSearchParams(await request.text()).get("token");
    tokens.push(token);
    if (token !== good) return Response.json({ error: { message: "no" } }, { status: 401 });
    return new Response('["open", {"channel": "x", "cursor": "e-0"}]\n');
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, tokens, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("a subscriber whose token is refused asks its function for another", async () => {
  await using server = serveGuarded("two");
  const tokens = ["one", "two"];
  let asked = 0;
  const token = () => Promise.resolve(tokens[asked++]);
  using client = new TestClient(server, { transports: ["stream"], token });
  await client.hear("x").opened();
  assertEquals(server.tokens.slice(0, 2), ["one", "two"]);
  assertEquals(asked, 2);
});

Deno.test("a subscriber whose token is refused for good is told so, and it is over", async () => {
  await using server = serveGuarded("two");
  using client = new TestClient(server, { transports: ["stream"], token: "one" });
  const heard = client.hear("x");
  await heard.errors.until(({ length }) => length === 1);
  assertEquals(client.river.status, { state: "closed", reason: "the token was refused" });
  assertEquals(server.tokens, ["one"]);
});

const SECRET = "0123456789abcdef0123456789abcdef";

/** A token for everything that a server takes for `ms` from now, or took until so many before. */
function tokenFor(ms: number): Promise<string> {
  const expires = Date.now() + ms - LEEWAY_S * 1000;
  return mintToken(SECRET, { publish: ["*"], subscribe: ["*"], operate: true, expires });
}

for (const transport of ["websocket", "stream", "longpoll"] as const) {
  Deno.test(`over ${transport}, a subscription outlives its tokens without loss`, async () => {
    await using server = await serveHere(`--token-secret=${SECRET}`);
    let asked = 0;
    // The first is too old already.
    const token = () => tokenFor(asked++ === 0 ? -1000 : 2000);
    using client = new TestClient(server, { transports: [transport], token });
    const heard = client.hear("x");
    await heard.opened();
    for (let seq = 1; asked < 5; seq++) {
      publishNow(server, "x");
      await heard.reaches(seq);
    }
    const seqs = heard.messages.items.map(({ seq }) => seq);
    assertEquals(seqs, seqs.map((_, i) => i + 1));
    assertEquals([heard.gaps.items, heard.errors.items], [[], []]);
    assertEquals(server.errors, []);
  });

  Deno.test(`over ${transport}, a token that cannot be replaced ends the subscription when it expires`, async () => {
    await using server = await serveHere(`--token-secret=${SECRET}`);
    using client = new TestClient(server, {
      token: await tokenFor(2000),
      transports: [transport, "stream"],
    });
    const heard = client.hear("x");
    await heard.opened();
    await heard.errors.until(({ length }) => length === 1);
    assertEquals(client.river.status, { state: "closed", reason: "the token was refused" });
    await until(() => server.hub.size === 0);
  });
}

Deno.test("a listener that throws stops no other, and its error is reported", async () => {
  await using server = await serveHere();
  using client = new TestClient(server);
  const reported: unknown[] = [];
  const report = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error.message);
  };
  addEventListener("error", report);
  try {
    client.river.subscribe("x", ({ seq }) => {
      throw new Error(`message ${seq}`);
    }, {
      onOpen() {
        throw new Error("open");
      },
    });
    const heard = client.hear("x");
    await heard.opened();
    publishNow(server, "x", 2);
    assertEquals(await heard.reaches(2), [1, 2]);
    assertEquals(reported, ["open", "message 1", "message 2"]);
  } finally {
    removeEventListener("error", report);
  }
});

Deno.test("a server under a path is reached with and without the slash at its end", async () => {
  await using server = await serveHere();
  await using proxy = new Proxy(server, { prefix: "/some/prefix/" });
  for (const path of ["/some/prefix", "/some/prefix/"]) {
    for (const transport of TRANSPORTS) {
      using client = new TestClient({ url: proxy.url + path }, { transports: [transport] });
      await client.hear("x").opened();
      await client.river.publish("x", "a");
    }
  }
  const paths = new Set(proxy.requests.map((request) => request.split(/[ ?]/)[1]));
  assertEquals([...paths].sort(), [
    "/some/prefix/publish",
    "/some/prefix/subscribe",
    "/some/prefix/websocket",
  ]);
});

Deno.test("a River that is closed publishes nothing", async () => {
  await using server = await serveHere();
  const river = new River(server.url);
  river.close();
  await assertRejects(() => river.publish("x", "a"), Error, "This River is closed");
  assertEquals(server.engine.usage().published, 0);
});
