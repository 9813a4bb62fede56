import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Page } from "playwright-core";
import {
  browserTests,
  type ForeignSite,
  heardOnce,
  listeningPage,
  serveSite,
} from "../support/browser.ts";
import { publish } from "../support/http.ts";
import { publishByCurl } from "../support/pages.ts";
import { Proxy, type ProxyOptions } from "../support/proxies.ts";
import { serveHere, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const TRANSPORTS = ["websocket", "stream", "longpoll"] as const;

const { inBrowser, open } = browserTests();

type Here = Awaited<ReturnType<typeof serveHere>>;

/** A page on another site that listens to `x` on a river behind a proxy. */
interface Stage extends AsyncDisposable {
  readonly server: Here;
  readonly proxy: Proxy;
  readonly site: ForeignSite;
  readonly page: Page;
  readonly requests: string[];
  /** Cuts the connection that the subscribers of `x` have. */
  cut(): Promise<void>;
}

async function stage(
  { flags = [], proxied = {}, options = {} }: {
    flags?: string[];
    proxied?: ProxyOptions;
    options?: object;
  },
): Promise<Stage> {
  const site = serveSite();
  const server = await serveHere("--origin", site.origin, ...flags);
  const proxy = new Proxy(server, proxied);
  const opened = await open();
  site.html = listeningPage(proxy.url, options);
  await opened.page.goto(site.origin);
  return {
    server,
    proxy,
    site,
    page: opened.page,
    requests: opened.requests,
    async cut() {
      await until(() => server.hub.subscribers("x") > 0);
      proxy.cut();
    },
    async [Symbol.asyncDispose]() {
      for (const part of [opened, proxy, server, site]) await part[Symbol.asyncDispose]();
    },
  };
}

function publishNow(server: Here, count = 1): void {
  for (let i = 0; i < count; i++) server.hub.publish({ channel: "x", data: `${i}` });
}

function seqsOf({ messages }: { messages: { seq: number }[] }): number[] {
  return messages.map(({ seq }) => seq);
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

const opens = (count: number) =>
  `heard.statuses.filter(({ state }) => state === "open").length >= ${count}`;
const joined = "heard.opens.length > 0";
const reached = (seq: number) => `heard.messages.at(-1)?.seq === ${seq}`;

inBrowser(
  "the first river's page works: lib.js, document.domain, Comet.init, connect, send, disconnect",
  async () => {
    await using site = serveSite();
    await using server = await serveHere("--origin", site.origin);
    site.html = `<!doctype html><link rel="icon" href="data:,">
    <script src="${server.url}/lib.js?domain=example.com"></script>
    <script>
      document.domain = location.hostname;
      var got = [];
      Comet.init(function () {
        window.c = new Comet.Client();
        c.connect("public-channel", function (msg) { got.push(msg); });
      });
    </script>`;
    await using opened = await open();
    const { page } = opened;
    await page.goto(site.origin);
    const listening = (count: number) =>
      until(() => server.hub.subscribers("public-channel") === count);
    await listening(1);
    await publishByCurl(server, "public-channel", "hello-world-of-comet");
    await page.waitForFunction("got.length === 1");
    const first = { channel: "public-channel", seq: 1, data: "hello-world-of-comet" };
    assertEquals(await page.evaluate("got"), [first]);
    const receipt = await page.evaluate<{ seq: number }>("c.send('from the page')");
    assertEquals(receipt.seq, 2);
    await page.waitForFunction("got.length === 2");
    assertMatch(
      await page.evaluate<string>("c.send({ x: 1 }).catch(({ message }) => message)"),
      /JSON\.stringify/,
    );
    await page.evaluate("c.disconnect()");
    await listening(0);
    await publishByCurl(server, "public-channel", "unheard");
    assertMatch(
      await page.evaluate<string>("c.send('x').then(() => 'sent', (error) => error.message)"),
      /connect\(\)/,
    );
    await page.evaluate("got = []; c.connect('public-channel', (msg) => got.push(msg), 1)");
    await page.waitForFunction("got.length === 2");
    assertEquals(await page.evaluate("got.map(({ data }) => data)"), ["from the page", "unheard"]);
    assertEquals(opened.problems, []);
  },
);

inBrowser("lib.js loads client.js again if it got lost", async () => {
  await using site = serveSite();
  await using server = await serveHere("--origin", site.origin);
  await using proxy = new Proxy(server);
  proxy.lost.push("/client.js");
  site.html = `<script src="${proxy.url}/lib.js"></script><script>
    Comet.init(() => new Comet.Client().connect("x", () => {}));
  </script>`;
  await using opened = await open();
  await opened.page.goto(site.origin);
  await until(() => server.hub.subscribers("x") === 1, 10_000);
});

for (const transport of TRANSPORTS) {
  const options = { transports: [transport] };

  inBrowser(
    `over ${transport} alone, a page of another origin gets what curl publishes, and publishes`,
    async () => {
      await using all = await stage({ options });
      const { server, page } = all;
      await heardOnce(page, joined);
      await publishByCurl(server, "x", "grüße & <b>");
      await page.evaluate("river.publish('x', 'from the page')");
      const { messages, statuses } = await heardOnce(page, reached(2));
      assertEquals(messages, [
        { channel: "x", seq: 1, data: "grüße & <b>" },
        { channel: "x", seq: 2, data: "from the page" },
      ]);
      assertEquals(statuses, [
        { state: "connecting", transport },
        { state: "open", transport },
      ]);
    },
  );

  inBrowser(
    `over ${transport}, a page loses nothing in a cut, not even before the first message`,
    async () => {
      await using all = await stage({ options });
      const { server, page } = all;
      await heardOnce(page, joined);
      await all.cut();
      publishNow(server, 3);
      await heardOnce(page, reached(3));
      await all.cut();
      publishNow(server, 3);
      const heard = await heardOnce(page, reached(6));
      assertEquals([seqsOf(heard), heard.gaps], [numbers(1, 6), []]);
    },
  );

  inBrowser(
    `over ${transport}, a page is told when the history is too short for what it missed`,
    async () => {
      await using all = await stage({ options, flags: ["--history", "2"] });
      const { server, page } = all;
      await heardOnce(page, joined);
      publishNow(server);
      await heardOnce(page, reached(1));
      await all.cut();
      publishNow(server, 5);
      const heard = await heardOnce(page, reached(6));
      assertEquals(seqsOf(heard), [1, 5, 6]);
      const gaps = heard.gaps.map(({ from, to, reason }) => ({ from, to, reason }));
      assertEquals(gaps, [{ from: 2, to: 4, reason: "evicted" }]);
    },
  );

  inBrowser(
    `over ${transport}, a page survives the death of the server: it reports the restart and continues`,
    async () => {
      await using site = serveSite();
      const flags = ["--origin", site.origin];
      await using first = await spawnServer(flags);
      await using proxy = new Proxy(first);
      await using opened = await open();
      const { page } = opened;
      site.html = listeningPage(proxy.url, options);
      await page.goto(site.origin);
      await heardOnce(page, joined);
      await publishByCurl(first, "x", "before");
      await publishByCurl(first, "x", "before");
      await heardOnce(page, reached(2));
      await first.end("SIGKILL");
      await using second = await spawnServer(flags);
      await publishByCurl(second, "x", "after");
      proxy.repoint(second);
      await heardOnce(page, reached(1));
      await publishByCurl(second, "x", "after");
      const { messages, gaps } = await heardOnce(page, `heard.messages.length >= 4`);
      assertEquals(messages.map(({ seq, data }) => `${seq} ${data}`), [
        "1 before",
        "2 before",
        "1 after",
        "2 after",
      ]);
      assertEquals(gaps.map(({ reason }) => reason), ["restart"]);
    },
  );
}

inBrowser("at SIGTERM a page waits as long as the server asks", async () => {
  await using site = serveSite();
  await using first = await spawnServer(["--origin", site.origin]);
  await using second = await spawnServer(["--origin", site.origin]);
  await using proxy = new Proxy(first);
  await using opened = await open();
  site.html = listeningPage(proxy.url);
  await opened.page.goto(site.origin);
  await heardOnce(opened.page, joined);
  proxy.repoint(second);
  await first.end("SIGTERM");
  const { statuses } = await heardOnce(opened.page, opens(2));
  const asked = /retry in ([0-9]+) ms/.exec(proxy.tail);
  assert(asked, proxy.tail);
  const { state, delay = NaN } = statuses[2];
  assertEquals(state, "reconnecting");
  // A backoff of up to 250 ms counts too.
  assert(delay >= Number(asked[1]) && delay <= Math.max(Number(asked[1]), 250), `${delay}`);
});

for (
  const { proxied, broken, works } of [
    { proxied: { refuseUpgrades: true }, broken: ["websocket"], works: "stream" },
    {
      proxied: { refuseUpgrades: true, buffer: true },
      broken: ["websocket", "stream"],
      works: "longpoll",
    },
  ]
) {
  inBrowser(
    `without ${
      broken.join(" and ")
    }, a page goes on with ${works}, and begins with it after two failures`,
    async () => {
      await using all = await stage({ proxied });
      const { server, proxy, page } = all;
      const memory = () => page.evaluate<string | null>(`sessionStorage["river:${proxy.url}/"]`);
      const { statuses } = await heardOnce(page, joined);
      assertEquals(statuses, [
        ...[...broken, works].map((transport) => ({ state: "connecting", transport })),
        { state: "open", transport: works },
      ]);
      assertEquals(await memory() ?? null, null);
      await all.cut();
      publishNow(server, 2);
      const heard = await heardOnce(page, `${opens(2)} && ${reached(2)}`);
      assertEquals(seqsOf(heard), [1, 2]);
      assertEquals(await memory(), broken.join());
      await page.reload();
      const again = await heardOnce(page, joined);
      assertEquals(again.statuses, [
        { state: "connecting", transport: works },
        { state: "open", transport: works },
      ]);
      assertEquals(proxy.count("/websocket"), 2);
      publishNow(server);
      await heardOnce(page, reached(3));
    },
  );
}

inBrowser(
  "fifty reconnects in a row under 200 messages a second lose nothing and repeat nothing",
  async () => {
    await using all = await stage({ flags: ["--history", "100000"] });
    const { server, page } = all;
    await heardOnce(page, joined);
    const timer = setInterval(() => publishNow(server), 5);
    try {
      for (let i = 1; i <= 50; i++) {
        await all.cut();
        await page.waitForFunction(
          `${opens(i + 1)} && heard.messages.length > (globalThis.known ?? 0) &&
          (globalThis.known = heard.messages.length)`,
          undefined,
          { polling: 10 },
        );
      }
    } finally {
      clearInterval(timer);
    }
    const { seq } = await publish(server, "x", "last");
    const heard = await heardOnce(page, reached(seq));
    assertEquals(seqsOf(heard), numbers(1, seq));
    assertEquals(heard.gaps, []);
  },
);

for (const transport of TRANSPORTS) {
  inBrowser(
    `over ${transport}, a page shows at once that it is offline, and replaces what died meanwhile`,
    async () => {
      await using all = await stage({ options: { transports: [transport] } });
      const { server, proxy, page } = all;
      await heardOnce(page, joined);
      proxy.swallow();
      await page.context().setOffline(true);
      assertEquals(await page.evaluate("river.status.state"), "offline");
      publishNow(server, 2);
      await page.context().setOffline(false);
      const began = performance.now();
      const { statuses, messages, gaps } = await heardOnce(page, reached(2));
      const took = performance.now() - began;
      assert(took < 3500, `${took} ms`);
      assertEquals([seqsOf({ messages }), gaps], [[1, 2], []]);
      assertEquals(statuses.at(-1), { state: "open", transport });
    },
  );
}

for (
  const [what, event] of [
    ["is shown", `document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))`],
    [
      "comes out of the cache of pages",
      `dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }))`,
    ],
  ]
) {
  inBrowser(`a page that ${what} replaces a connection that is open but dead`, async () => {
    await using all = await stage({ options: { transports: ["stream"] } });
    const { server, proxy, page } = all;
    await heardOnce(page, joined);
    proxy.swallow();
    publishNow(server, 2);
    await page.evaluate(
      `Object.defineProperty(document, "hidden", { configurable: true, value: true });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
      delete document.hidden;`,
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    assertEquals((await heardOnce(page, "true")).messages, [], "hidden pages are left alone");
    await page.evaluate(event);
    const began = performance.now();
    assertEquals(seqsOf(await heardOnce(page, reached(2))), [1, 2]);
    const took = performance.now() - began;
    assert(took < 3500, `${took} ms`);
  });
}

for (const origin of ["of another site", "of a file", "that is allowed, but gets no answer"]) {
  const allowed = origin.includes("allowed");
  inBrowser(
    `a page ${origin} is ${allowed ? "not told" : "told once"} about --origin`,
    async () => {
      await using site = serveSite();
      await using server = await serveHere(
        "--origin",
        allowed ? site.origin : "https://example.com",
      );
      await using proxy = new Proxy(server, { refuseUpgrades: true });
      await using opened = await open();
      const { page } = opened;
      const warnings: string[] = [];
      page.on("console", (message) => {
        if (message.type() === "warning") warnings.push(message.text());
      });
      site.html = listeningPage(proxy.url, allowed ? { transports: ["websocket"] } : {});
      const file = await Deno.makeTempFile({ suffix: ".html" });
      await Deno.writeTextFile(file, site.html);
      await page.goto(origin === "of a file" ? `file://${file}` : site.origin);
      const waits = "heard.statuses.filter(({ state }) => state === 'reconnecting').length";
      if (origin === "of a file") await until(() => warnings.length > 0, 10_000);
      else await heardOnce(page, `${waits} >= 2`);
      if (origin === "of another site") {
        await page.evaluate(`river.publish("x", "hi").catch(() => {})`);
      }
      await Deno.remove(file);
      assertEquals(warnings.length, allowed ? 0 : 1);
      if (origin === "of a file") assertMatch(warnings[0], /has no origin: serve it over HTTP/);
      else if (!allowed) assert(warnings[0].endsWith(` --origin ${site.origin}`), warnings[0]);
    },
  );
}

inBrowser("a worker resolves a relative address, one made from a blob too", async () => {
  await using server = await serveHere();
  await using opened = await open();
  // A page without a policy of its own.
  await opened.page.goto(`${server.url}/healthz`);
  const seq = await opened.page.evaluate<number>(`new Promise((resolve, reject) => {
    const script = \`import { River } from "${server.url}/client.js";
      const river = new River("/");
      river.subscribe("x", ({ seq }) => postMessage(seq), { seq: 0 });
      river.publish("x", "from a worker");\`;
    const blob = new Blob([script], { type: "text/javascript" });
    const worker = new Worker(URL.createObjectURL(blob), { type: "module" });
    Object.assign(worker, { onmessage: ({ data }) => resolve(data), onerror: reject });
  })`);
  assertEquals(seq, 1);
});
