/**
 * A real headless Chromium, with its web security left on.
 *
 * @module
 */
import chromiumBinary from "@sparticuz/chromium";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";

/**
 * What the package asks for, but for what would make the tests prove nothing (web security switched
 * off) or the browser fall over when a page is closed (all of it in one process).
 */
const LEFT_OUT =
  /^--(?:disable-web-security|single-process|no-zygote|in-process-gpu|disable-site-isolation-trials|allow-running-insecure-content)$/;

/** Starts a browser; it ends when it is disposed of. */
export async function startBrowser(): Promise<Browser & AsyncDisposable> {
  return await chromium.launch({
    executablePath: await chromiumBinary.executablePath(),
    headless: true,
    args: chromiumBinary.args.filter((arg) => !LEFT_OUT.test(arg)),
    env: { LANG: "en_US.UTF-8" },
  });
}

/** Longest wait for anything in a page, in milliseconds. */
const PAGE_MS = 20_000;

/** A page with a session of its own, and what happened in it. */
export interface TestPage extends AsyncDisposable {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Addresses of all requests, WebSockets included. */
  readonly requests: string[];
  /** What was printed as an error, violations of policies too, and errors that nobody caught. */
  readonly problems: string[];
  /** Texts of dialogs, which are dismissed. */
  readonly dialogs: string[];
}

/** Makes tests that share one browser per file. */
export function browserTests() {
  let browser: Browser | undefined;
  Deno.test.beforeAll(async () => {
    browser = await startBrowser();
  });
  Deno.test.afterAll(() => browser?.close());
  return {
    /** A test that uses the browser. The browser and its pipes outlive each test. */
    inBrowser(name: string, fn: () => Promise<void>): void {
      Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
    },
    open: (options?: BrowserContextOptions) => openPage(browser!, options),
  };
}

/** Opens an empty page. */
export async function openPage(
  browser: Browser,
  options?: BrowserContextOptions,
): Promise<TestPage> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PAGE_MS);
  const page = await context.newPage();
  const requests: string[] = [];
  const problems: string[] = [];
  const dialogs: string[] = [];
  page.on("request", (request) => void requests.push(request.url()));
  page.on("websocket", (socket) => void requests.push(socket.url()));
  page.on("pageerror", (error) => void problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("dialog", async (dialog) => {
    dialogs.push(dialog.message());
    await dialog.dismiss();
  });
  return {
    page,
    context,
    requests,
    problems,
    dialogs,
    [Symbol.asyncDispose]: () => context.close(),
  };
}

/** A web server of somebody else: one page, at `http://localhost:PORT`. */
export interface ForeignSite extends AsyncDisposable {
  readonly origin: string;
  /** What it serves; may be set once its origin is known. */
  html: string;
  /** Scripts that it serves too, by path. */
  readonly scripts: Map<string, string>;
}

/** Serves a page from another origin than river's. */
export function serveSite(): ForeignSite {
  const site = { html: "", scripts: new Map<string, string>() };
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) => {
      const { pathname } = new URL(url);
      const script = site.scripts.get(pathname);
      if (script !== undefined) {
        return new Response(script, { headers: { "content-type": "text/javascript" } });
      }
      return pathname === "/"
        ? new Response(site.html, { headers: { "content-type": "text/html" } })
        : new Response(null, { status: 404 });
    },
  );
  return Object.assign(site, {
    origin: `http://localhost:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  });
}

/**
 * A page that takes `River` from `url` and subscribes to `x`; what it is told is in `heard`.
 *
 * @param options For `new River`, as they are written in a script.
 */
export function listeningPage(url: string, options: object = {}): string {
  return `<!doctype html><link rel="icon" href="data:,"><script type="module">
    globalThis.heard = { messages: [], gaps: [], opens: [], statuses: [], errors: [] };
    const { River } = await import("${url}/client.js");
    globalThis.river = new River("${url}", ${JSON.stringify(options)});
    river.addEventListener("status", ({ detail }) => heard.statuses.push(detail));
    river.subscribe("x", (message) => heard.messages.push(message), {
      onGap: (gap) => heard.gaps.push(gap),
      onOpen: (opened) => heard.opens.push(opened),
      onError: (error) => heard.errors.push(error),
    });
  </script>`;
}

/** What a listening page was told. */
export interface PageHeard {
  readonly messages: { channel: string; seq: number; data: string }[];
  readonly gaps: { from: number; to: number; reason: string }[];
  readonly opens: { channel: string; cursor: string }[];
  readonly statuses: { state: string; transport?: string; delay?: number; reason?: string }[];
  readonly errors: { code: string; message: string }[];
}

/** Waits until an expression is true in a page, and gives what the page was told. */
export async function heardOnce(page: Page, condition: string): Promise<PageHeard> {
  await page.waitForFunction(`globalThis.heard && (${condition})`, undefined, { polling: 20 });
  return await page.evaluate<PageHeard>("heard");
}
