/**
 * What must hold through every reverse proxy that docs/operate.md shows.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { EventSource } from "eventsource";
import { openPage, serveSite, startBrowser } from "./browser.ts";
import { curl } from "./curl.ts";
import { ask, msg, publish, subscribe } from "./http.ts";
import { javaClient } from "./java.ts";
import { RawConnection, requestHead, sendRaw, UPGRADE } from "./raw.ts";
import type { StartProxy } from "./reverse_proxy.ts";
import { freePort, metric, spawnServer, subscriberCount } from "./server.ts";
import { openSocket } from "./sockets.ts";
import { until } from "./until.ts";

/** An EventSource of npm, which like a browser's gives up for good when it is refused. */
class Listener {
  readonly source: EventSource;
  readonly heard: string[] = [];
  /** How often its request was answered with a stream. */
  opens = 0;

  constructor(url: string) {
    this.source = new EventSource(url);
    this.source.addEventListener("message", ({ data }) => this.heard.push(data));
    this.source.addEventListener("open", () => this.opens++);
  }
}

/** Registers the tests of a proxy, which answers with the status `away` while river is not there. */
export function testProxy(
  name: string,
  start: StartProxy,
  { away }: { away: number },
): void {
  Deno.test(`${name} as docs/operate.md sets it up lets every transport through`, async () => {
    await using server = await spawnServer(["--heartbeat", "1s"]);
    await using proxy = await start(server);
    const opened: AsyncDisposable[] = [];
    try {
      const stream = await subscribe(proxy, "name=x");
      const events = await subscribe(proxy, "name=x&format=sse");
      const plain = await openSocket(proxy, "name=x");
      const lines = await openSocket(proxy, "name=x", "river.v1");
      opened.push(stream, events, plain, lines);
      assertMatch(await lines.line(), /^\["open"/);
      await until(async () =>
        JSON.parse((await ask(`${server.url}/channels/x`)).text).subscribers === 4
      );
      const { subscribers } = await publish(proxy, "x", "a");
      assertEquals(subscribers, 4);
      assertEquals(await stream.next(), msg("x", 1, "a"));
      assertMatch((await events.take(3)).join("\n"), /^:\nid: [0-9a-z]+-0\n$/);
      assertMatch(await events.next() ?? "", /^id: [0-9a-z]+-1$/);
      assertEquals(await events.next(), "data: a");
      assertEquals(await plain.frame(), msg("x", 1, "a"));
      assertEquals(await lines.line(), msg("x", 1, "a"));
      plain.send("b");
      assertEquals(await lines.line(), msg("x", 2, "b"));
      const polled = await ask(`${proxy.url}/subscribe?name=x&keep=0&seq=0`);
      assertEquals(polled.text, `${msg("x", 1, "a")}\n${msg("x", 2, "b")}\n`);
    } finally {
      for (const each of opened) await each[Symbol.asyncDispose]();
    }
    await until(async () => await metric(server, "river_connections") === 0);
  });

  Deno.test(`${name} as docs/operate.md sets it up ends slow headers and bodies; river never sees them`, async () => {
    await using server = await spawnServer([]);
    await using proxy = await start(server);
    using head = await RawConnection.open(proxy);
    await head.write("POST /publish HTTP/1.1\r\nHost: x\r\n");
    using body = await RawConnection.open(proxy);
    await body.write(
      requestHead("POST /publish?name=x HTTP/1.1", { "Content-Length": "100" }) + "abc",
    );
    await Promise.all([head.rest(), body.rest()]);
    assertEquals((await ask(`${server.url}/channels/x`)).status, 404);
  });

  Deno.test(`${name} as docs/operate.md sets it up ends what takes nothing, and sockets that never close`, async () => {
    await using server = await spawnServer(["--max-queue", "64KiB", "--client-timeout", "3s"]);
    await using proxy = await start(server);
    using stuck = await RawConnection.open(proxy);
    await stuck.write(requestHead("GET /subscribe?name=x HTTP/1.1"));
    using silent = await RawConnection.open(proxy);
    await silent.write(requestHead("GET /websocket?name=y HTTP/1.1", UPGRADE));
    await silent.until("\r\n\r\n");
    await until(async () => await metric(server, "river_connections") === 2);
    const data = "a".repeat(60_000);
    const cut = async () => (await publish(server, "x", data)).subscribers === 0;
    await until(cut, 20_000);
    // The socket's life ends after three seconds; its client never answers the close.
    await until(async () => await metric(server, "river_connections") === 0, 20_000);
  });

  Deno.test(`${name} as docs/operate.md sets it up tells river the client's own address`, async () => {
    await using server = await spawnServer(["--trust-proxy", "--open", "--publish-rate", "1"]);
    await using proxy = await start(server);
    const from = (forwarded: string) =>
      ask(`${proxy.url}/publish?name=x&data=a`, { headers: { "x-forwarded-for": forwarded } });
    assertEquals((await from("192.0.2.1")).status, 200);
    assertEquals((await from("192.0.2.2")).status, 429);
  });

  Deno.test(`${name} as docs/operate.md sets it up tells event streams to come back while river is away, and they do`, async () => {
    const port = freePort();
    let server = await spawnServer([], { port });
    await using proxy = await start(server);
    const all = Array.from({ length: 60 }, () => new Listener(`${proxy.url}/subscribe?name=x`));
    try {
      await until(async () => await subscriberCount(server) === all.length);
      // Not a clean end: nothing tells them when to come back.
      await server.end("SIGKILL");
      await until(async () => (await ask(`${proxy.url}/healthz`)).status === away, 10_000);
      const events = { headers: { accept: "text/event-stream" } };
      const answer = await ask(`${proxy.url}/subscribe?name=x`, events);
      assertEquals([answer.status, answer.text], [200, "retry: 2000\n\n"]);
      assertEquals(answer.headers.get("content-type"), "text/event-stream");
      assertEquals(answer.headers.get("cache-control"), "no-store");
      for (const format of ["sse", "sse.v1"]) {
        const asked = await ask(`${proxy.url}/subscribe?name=x&format=${format}&seq=0`);
        assertEquals([asked.status, asked.text], [200, "retry: 2000\n\n"]);
      }
      // All of them ask in vain.
      await until(() => all.every(({ opens }) => opens >= 2), 20_000);
      server = await spawnServer([], { port });
      await until(async () => await subscriberCount(server) === all.length, 20_000);
      await publish(server, "x", "back");
      await until(() => all.every(({ heard }) => heard.includes("back")));
    } finally {
      for (const { source } of all) source.close();
      await server.end("SIGKILL");
    }
  });

  Deno.test({
    name:
      `${name} as docs/operate.md sets it up lets a browser's EventSource come back, also on a page of another origin`,
    // The browser and its pipes outlive the test.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using site = serveSite();
      const port = freePort();
      const flags = [`--origin=${site.origin}`];
      let server = await spawnServer(flags, { port });
      await using proxy = await start(server);
      await using browser = await startBrowser();
      const { page: foreign } = await openPage(browser);
      const { page: own } = await openPage(browser);
      site.html = '<!doctype html><link rel="icon" href="data:,">';
      await Promise.all([foreign.goto(site.origin), own.goto(`${proxy.url}/healthz`)]);
      const pages = [foreign, own];
      for (const page of pages) {
        await page.evaluate(`
        globalThis.heard = [];
        globalThis.opens = 0;
        const url = "${proxy.url}/subscribe?name=x";
        globalThis.source = new EventSource(url, { withCredentials: true });
        source.onopen = () => opens++;
        source.onmessage = ({ data }) => heard.push(data);`);
      }
      const all = (condition: string) =>
        Promise.all(
          pages.map((page) => page.waitForFunction(condition, undefined, { polling: 20 })),
        );
      try {
        await until(async () => await subscriberCount(server) === 2);
        await server.end("SIGKILL");
        await all("opens >= 2");
        server = await spawnServer(flags, { port });
        await until(async () => await subscriberCount(server) === 2, 20_000);
        await publish(server, "x", "back");
        await all('heard.includes("back")');
      } finally {
        await server.end("SIGKILL");
      }
    },
  });

  Deno.test(`${name} as docs/operate.md sets it up refuses what is not an event stream while river is away`, async () => {
    const server = await spawnServer([]);
    await using proxy = await start(server);
    await server.end();
    for (const accept of ["*/*", "text/html", "application/json"]) {
      for (const path of ["subscribe?name=x", "publish?name=x&data=a", "healthz"]) {
        const answer = await ask(`${proxy.url}/${path}`, { headers: { accept } });
        assertEquals([path, answer.status], [path, away]);
      }
    }
    // A receipt and a health check are not event streams, whatever `Accept` asks for.
    const headers = { accept: "text/event-stream" };
    const others = ["publish?name=x&data=/subscribe", "publish?format=/subscribe", "subscribe.txt"];
    for (const path of [...others, "healthz"]) {
      assertEquals([path, (await ask(`${proxy.url}/${path}`, { headers })).status], [path, away]);
    }
    for (const path of ["subscribe?format=river", "subscribe?x=format=sse", "publish?format=sse"]) {
      assertEquals([path, (await ask(`${proxy.url}/${path}`)).status], [path, away]);
    }
    const refused = await sendRaw(proxy, "GET /websocket?name=x HTTP/1.1", UPGRADE);
    assertEquals(refused.status, away);
  });

  Deno.test(`${name} as docs/operate.md sets it up lets pages of other origins come back while river is away`, async () => {
    const server = await spawnServer([]);
    await using proxy = await start(server);
    await server.end();
    const headers = { accept: "text/event-stream", origin: "https://app.test" };
    const answer = await ask(`${proxy.url}/subscribe?name=x`, { headers });
    assertEquals([answer.status, answer.headers.get("access-control-allow-origin")], [
      200,
      "https://app.test",
    ]);
  });

  Deno.test(`${name} as docs/operate.md sets it up lets Java's HttpClient and \`curl --http2\` publish and subscribe`, async () => {
    await using server = await spawnServer();
    await using proxy = await start(server);
    const sent = '["msg", {"channel": "echo", "seq": 1, "data": "sent"}]';
    assertEquals(await javaClient(proxy), ["POST: 200", "SSE: data: posted", `WebSocket: ${sent}`]);
    await using process = curl("--http2", "-d", "name=a&data=1", `${proxy.url}/publish`);
    assertMatch(await process.output(), /^\{"channel":"a","seq":1,/);
    const empty = { ...UPGRADE, "Content-Length": "0" };
    assertEquals((await sendRaw(proxy, "GET /websocket?name=x HTTP/1.1", empty)).status, 101);
  });

  Deno.test(`${name} as docs/operate.md sets it up tells river at once that a client left`, async () => {
    await using server = await spawnServer([]);
    await using proxy = await start(server);
    const count = () => metric(server, "river_connections");
    for (const query of ["name=x", "name=x&format=sse", "name=x&keep=0&timeout=30"]) {
      const leave = new AbortController();
      const { signal } = leave;
      const answer = fetch(`${proxy.url}/subscribe?${query}`, { signal })
        .then((response) => response.text())
        .catch((error) => error.name);
      await until(async () => await count() === 1);
      leave.abort();
      assertEquals([query, await answer], [query, "AbortError"]);
      await until(async () => await count() === 0, 1000);
    }
  });

  Deno.test(`${name} as docs/operate.md sets it up lets a history of 10 MB and heads without bodies through`, async () => {
    await using server = await spawnServer(["--history", "200"]);
    await using proxy = await start(server);
    const data = "a".repeat(50_000);
    const sent = Array.from({ length: 200 }, () => JSON.stringify({ name: "x", data }));
    for (let at = 0; at < sent.length; at += 20) {
      const body = sent.slice(at, at + 20).join("\n");
      const headers = { "content-type": "application/x-ndjson" };
      const { status } = await ask(`${proxy.url}/publish`, { method: "POST", headers, body });
      assertEquals(status, 200);
    }
    await using history = await subscribe(proxy, "name=x&seq=0");
    for (let seq = 1; seq <= sent.length; seq++) {
      assertEquals(await history.next(), msg("x", seq, data));
    }
    for (const path of ["/", "/healthz", "/client.js", "/subscribe?name=x", "/nothing"]) {
      const head = await ask(`${proxy.url}${path}`, { method: "HEAD" });
      const direct = await ask(`${server.url}${path}`, { method: "HEAD" });
      assertEquals([path, head.status, head.text], [path, direct.status, ""]);
    }
  });

  for (const [channels, manyChannels] of [[128, false], [500, true]] as const) {
    Deno.test(`${name} as docs/operate.md sets it up lets an EventSource of ${channels} channels come back with its position`, async () => {
      const max = ["--max-channels-per-client", String(channels)];
      await using server = await spawnServer([...max, "--client-timeout", "2s"]);
      await using proxy = await start(server, { manyChannels });
      const names = Array.from({ length: channels }, (_, i) => `name=channel-${i}`).join("&");
      const listener = new Listener(`${proxy.url}/subscribe?${names}`);
      let position = "";
      listener.source.addEventListener("message", ({ lastEventId }) => position = lastEventId);
      try {
        await until(() => listener.opens === 1);
        await publish(server, "channel-7", "before");
        await until(() => listener.heard.length === 1);
        assertEquals(position.split(",").length, channels);
        await until(async () => await subscriberCount(server) === 0);
        await publish(server, "channel-99", "meanwhile");
        await until(() => listener.heard.length === 2);
        assertEquals([listener.heard, listener.opens], [["before", "meanwhile"], 2]);
      } finally {
        listener.source.close();
      }
    });
  }
}
