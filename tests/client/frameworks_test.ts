/**
 * The samples of docs/pages.md for other clients, in Chromium: a message from curl changes the page.
 *
 * @module
 */
import turbo from "@hotwired/turbo/dist/turbo.es2017-umd.js" with { type: "text" };
import { assert, assertEquals } from "@std/assert";
import htmxSse from "htmx-ext-sse/dist/sse.js" with { type: "text" };
import htmx from "htmx.org/dist/htmx.js" with { type: "text" };
import htmx4 from "htmx4/dist/htmx.js" with { type: "text" };
import htmx4Sse from "htmx4/dist/ext/hx-sse.js" with { type: "text" };
import type { Browser, Page } from "playwright-core";
import reconnectingWebSocket from "reconnecting-websocket/dist/reconnecting-websocket-iife.js" with {
  type: "text",
};
import { openPage, serveSite, startBrowser } from "../support/browser.ts";
import { publish } from "../support/http.ts";
import { CuttingProxy } from "../support/proxies.ts";
import type { Here } from "../support/river_client.ts";
import { serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";

/** The scripts that the samples name. */
const SCRIPTS = new Map([
  ["/htmx.js", htmx],
  ["/htmx-ext-sse.js", htmxSse],
  ["/htmx4.js", htmx4],
  ["/hx-sse.js", htmx4Sse],
  ["/turbo.js", turbo],
  ["/reconnecting-websocket.js", reconnectingWebSocket],
]);

const PAGES = await Deno.readTextFile(new URL("../../docs/pages.md", import.meta.url));

let browser: Browser | undefined;
Deno.test.beforeAll(async () => {
  browser = await startBrowser();
});
Deno.test.afterAll(() => browser?.close());

/** The first blocks of code, by their language, after a paragraph that starts with `**` and this. */
function sampleAfter(start: string): Record<string, string> {
  const [, after] = PAGES.split(`\n**${start}`);
  const [part] = after.split(/\n(?:\*\*|## )/);
  const blocks = [...part.matchAll(/^```(\w+)\n([^]*?)^```$/gm)];
  return Object.fromEntries(blocks.map(([, language, code]) => [language, code]));
}

/** Runs the commands of a sample. */
async function run(commands: string): Promise<void> {
  const args = ["-euc", commands.replaceAll("curl ", "curl --silent --fail ")];
  const { success } = await new Deno.Command("sh", { args, stdout: "null" }).output();
  assert(success, commands);
}

/** A sample in a page of another origin, behind a proxy that can cut it. */
interface Stage {
  readonly server: Here;
  readonly page: Page;
  /** Texts that it printed. */
  readonly printed: string[];
  /** Runs the commands of the sample. */
  publish(): Promise<void>;
  /** Cuts all connections, and publishes to `room` while the page is away. */
  missOne(data: string): Promise<void>;
}

/** A test of the sample that follows `start` in docs/pages.md, in which these channels are joined. */
function sampleTest(
  name: string,
  start: string,
  channels: readonly string[],
  fn: (stage: Stage) => Promise<void>,
): void {
  Deno.test({
    name,
    // The browser and its pipes outlive each test.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using stack = new AsyncDisposableStack();
      const site = stack.use(serveSite());
      const server = stack.use(await serveHere("--origin", site.origin));
      const proxy = stack.use(new CuttingProxy(server));
      const { page, problems } = stack.use(await openPage(browser!));
      const printed: string[] = [];
      page.on("console", (message) => void printed.push(message.text()));
      const address = proxy.url.slice("http://".length);
      const { html, js, sh } = sampleAfter(start);
      for (const [path, text] of SCRIPTS) site.scripts.set(path, text);
      site.html = `<!doctype html><link rel="icon" href="data:,">` +
        (html ?? `<script src="/reconnecting-websocket.js"></script><script>${js}</script>`)
          .replaceAll("127.0.0.1:9271", address);
      await page.goto(site.origin);
      const joined = (count: number, names: readonly string[]) =>
        until(() => names.every((name) => server.hub.subscribers(name) === count), 20_000);
      await joined(1, channels);
      await fn({
        server,
        page,
        printed,
        publish: () => run((sh ?? "").replaceAll("127.0.0.1:9271", `127.0.0.1:${server.port}`)),
        async missOne(data) {
          assertEquals(problems, []);
          proxy.refusing = true;
          proxy.cut();
          await joined(0, channels);
          await publish(server, "room", data);
          proxy.refusing = false;
        },
      });
    },
  });
}

/** Waits until the page shows these texts and no others, each in an element of its kind. */
async function shows(page: Page, selector: string, ...texts: string[]): Promise<void> {
  const shown = () => page.locator(selector).allTextContents();
  await until(async () => (await shown()).join() === texts.join(), 20_000).catch(() => {});
  assertEquals(await shown(), texts);
}

sampleTest("EventSource as docs/pages.md shows it", "EventSource", ["room"], async (stage) => {
  const { printed } = stage;
  await stage.publish();
  await until(() => printed.length === 2);
  await stage.missOne("missed");
  await until(() => printed.includes("missed"), 20_000);
  assertEquals(printed.filter((text) => !text.startsWith("Failed")), [
    "hello",
    "alarm: fire",
    "missed",
  ]);
});

sampleTest("htmx 2 as docs/pages.md shows it", "htmx 2", ["room"], async (stage) => {
  await stage.publish();
  await shows(stage.page, "[sse-swap=message] b", "hello");
  await shows(stage.page, "[sse-swap=alarm] i", "fire");
  await stage.missOne("<b>missed</b>");
  await shows(stage.page, "[sse-swap=message] b", "missed");
});

sampleTest("htmx 4 as docs/pages.md shows it", "htmx 4", ["room"], async (stage) => {
  await stage.publish();
  await shows(stage.page, "div b", "hello");
  await stage.missOne("<b>missed</b>");
  await shows(stage.page, "div b", "missed");
});

sampleTest("Turbo as docs/pages.md shows it", "Turbo", ["room", "hall"], async (stage) => {
  await stage.publish();
  await shows(stage.page, "#list li", "hello", "hello");
  const item = "<template><li>missed</li></template>";
  await stage.missOne(`<turbo-stream action="append" target="list">${item}</turbo-stream>`);
  await shows(stage.page, "#list li", "hello", "hello", "missed");
  assertEquals(stage.server.hub.subscribers("hall"), 0);
});

sampleTest(
  "reconnecting-websocket as docs/pages.md shows it",
  "WebSocket libraries",
  ["room"],
  async ({ server, printed, missOne }) => {
    await publish(server, "room", "hello");
    await until(() => printed.length === 1);
    await missOne("missed");
    await until(() => printed.includes("missed"), 20_000);
    assertEquals(printed.filter((text) => !text.startsWith("WebSocket connection")), [
      "hello",
      "missed",
    ]);
  },
);
