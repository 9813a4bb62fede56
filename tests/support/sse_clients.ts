/**
 * npm's clients for event streams, in one table. Each runs where its users run it.
 *
 * @module
 */
import type { Browser } from "playwright-core";
import { type ForeignSite, openPage, serveSite, startBrowser } from "./browser.ts";
import { Log } from "./river_client.ts";
import type { SseEvent } from "./sse_clients/adapter.ts";
import { NodeHost } from "./sse_clients/node_host.ts";

/** A client, and what river cannot change about it. */
export interface SseClient {
  /** Its npm package. */
  readonly name: string;
  /** In the browser its page is of another origin than river. */
  readonly runsIn: "Node" | "Chromium";
  /** Why it cannot send a token in a header, and needs it in the address. */
  readonly noHeaders?: string;
  /** Why it loses what is published while it is away, if it was cut before its first event. */
  readonly losesBeforeFirst?: string;
  /** What it needs in the address beside the channel, and why. */
  readonly needs?: { readonly query: string; readonly why: string };
}

const FORGETS = "it takes the position of an event only, not the one at the start of the stream";

/** All of them. */
export const SSE_CLIENTS: readonly SseClient[] = [
  { name: "eventsource", runsIn: "Node" },
  { name: "eventsource-client", runsIn: "Node", losesBeforeFirst: FORGETS },
  { name: "eventsource-parser", runsIn: "Node", losesBeforeFirst: FORGETS },
  { name: "launchdarkly-eventsource", runsIn: "Node", losesBeforeFirst: FORGETS },
  { name: "@microsoft/fetch-event-source", runsIn: "Chromium" },
  { name: "event-source-plus", runsIn: "Chromium", losesBeforeFirst: FORGETS },
  { name: "event-source-polyfill", runsIn: "Chromium", losesBeforeFirst: FORGETS },
  { name: "extended-eventsource", runsIn: "Chromium" },
  {
    name: "reconnecting-eventsource",
    runsIn: "Chromium",
    noHeaders: "it wraps the browser's EventSource",
  },
  {
    name: "sse.js",
    runsIn: "Chromium",
    needs: { query: "format=sse", why: "it sends no Accept header" },
  },
];

/** A client that listens, and what it was told. */
export interface HeldClient extends AsyncDisposable {
  readonly events: Log<SseEvent>;
}

/** Where the clients run. */
export interface Hosts extends AsyncDisposable {
  /** The origin of the pages. The server must allow it with `--origin`. */
  readonly origin: string;
  readonly browser: Browser;
  /** The clients that need a browser, as a script. */
  readonly script: string;
  readonly node: NodeHost;
}

/** Starts a Node and a browser with the clients. */
export async function startHosts(): Promise<Hosts> {
  const [browser, script, node] = await Promise.all([
    startBrowser(),
    bundle("page.ts", "browser"),
    bundle("node.ts", "deno").then((script) => NodeHost.start(script)),
  ]);
  const site: ForeignSite = serveSite();
  site.html = '<!doctype html><link rel="icon" href="data:,">';
  return {
    origin: site.origin,
    browser,
    script,
    node,
    async [Symbol.asyncDispose]() {
      await browser[Symbol.asyncDispose]();
      await node[Symbol.asyncDispose]();
      await site[Symbol.asyncDispose]();
    },
  };
}

/**
 * Lets a client listen to the channel `x`. Its events come up in `events`.
 *
 * @param url Where river is, without a slash at the end.
 * @param query More of the address, for example `seq=0`.
 */
export async function holdClient(
  client: SseClient,
  url: string,
  hosts: Hosts,
  { token, query = "" }: { token?: string; query?: string } = {},
): Promise<HeldClient> {
  const events = new Log<SseEvent>();
  const tell = (event: SseEvent) => events.push(event);
  const params = ["name=x", query, client.needs?.query ?? ""];
  const headers: Record<string, string> = {};
  if (token !== undefined && client.noHeaders !== undefined) params.push(`token=${token}`);
  else if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  const address = `${url}/subscribe?${params.filter((param) => param !== "").join("&")}`;
  if (client.runsIn === "Node") {
    const held = await hosts.node.hold(client.name, address, headers, tell);
    return { events, [Symbol.asyncDispose]: () => held[Symbol.asyncDispose]() };
  }
  // A context of its own: a browser opens at most six connections to a server for all its pages.
  const opened = await openPage(hosts.browser);
  await opened.page.exposeFunction("tell", tell);
  await opened.page.goto(hosts.origin);
  await opened.page.addScriptTag({ content: hosts.script, type: "module" });
  await opened.page.waitForFunction("typeof hold === 'function'");
  await opened.page.evaluate(`hold(...${JSON.stringify([client.name, address, headers])})`);
  return { events, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}

/** A file of tests/support/sse_clients with all that it imports, in one script. */
async function bundle(file: string, platform: "browser" | "deno"): Promise<string> {
  const root = new URL("../../", import.meta.url);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--lock=deno.lock",
      `--platform=${platform}`,
      "--quiet",
      `tests/support/sse_clients/${file}`,
    ],
    cwd: root,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
