/**
 * Clients for event streams that are made for Node. This file is bundled and runs there. Each line of
 * stdin opens or closes a client, each line of stdout is an event.
 *
 * @module
 */
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import { EventSourceParserStream } from "eventsource-parser/stream";
import launchdarkly from "launchdarkly-eventsource";
import process from "node:process";
import { createInterface } from "node:readline";
import { type Adapter, listen, type SourceLike, type SseEvent } from "./adapter.ts";

/** A line of stdin. */
export type Order =
  | { id: number; open: { name: string; url: string; headers: Record<string, string> } }
  | { id: number; open?: undefined };

/** A line of stdout. */
export interface Told {
  readonly id: number;
  readonly event: SseEvent;
}

/** What of `launchdarkly-eventsource`, which carries no types, is used here. */
const LaunchDarkly: new (url: string, options: object) => SourceLike & {
  addEventListener(type: "error", listener: () => void): void;
} = launchdarkly.EventSource;

/** Their adapters, by the name of the package. */
const ADAPTERS: Readonly<Record<string, Adapter>> = {
  "eventsource": (url, headers, tell) =>
    listen(
      new EventSource(url, {
        fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }),
      }),
      tell,
    ),

  "eventsource-client"(url, headers, tell) {
    const source = createEventSource({
      url,
      headers: { ...headers },
      onMessage: ({ event, data, id }) => tell({ type: event ?? "message", data, id: id ?? "" }),
    });
    return () => source.close();
  },

  "eventsource-parser"(url, headers, tell) {
    const ended = new AbortController();
    follow(url, headers, tell, ended.signal);
    return () => ended.abort();
  },

  "launchdarkly-eventsource"(url, headers, tell) {
    const source = new LaunchDarkly(url, { headers });
    // An `error` that nobody listens to is thrown.
    source.addEventListener("error", () => {});
    return listen(source, tell);
  },
};

/** The package only reads a stream. Its user connects, and comes back. */
async function follow(
  ...[url, headers, tell, signal]: [...Parameters<Adapter>, AbortSignal]
): Promise<void> {
  let id = "";
  let retry = 1000;
  for (;;) {
    try {
      const asked = new Headers({ Accept: "text/event-stream", ...headers });
      if (id !== "") asked.set("Last-Event-ID", id);
      const response = await fetch(url, { headers: asked, signal });
      const events = response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(
        new EventSourceParserStream({ onRetry: (ms) => retry = ms }),
      );
      for await (const { event, data, id: at } of events) {
        id = at ?? id;
        tell({ type: event ?? "message", data, id });
      }
    } catch {
      // It was cut, or nobody listens there.
    }
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, retry);
      signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
    });
  }
}

const closes = new Map<number, () => void>();
const orders = createInterface({ input: process.stdin });
orders.on("line", (line: string) => {
  const { id, open }: Order = JSON.parse(line);
  if (open === undefined) {
    closes.get(id)?.();
    return;
  }
  const tell = (event: SseEvent) => {
    const told: Told = { id, event };
    console.log(JSON.stringify(told));
  };
  closes.set(id, ADAPTERS[open.name](open.url, open.headers, tell));
});
orders.on("close", () => process.exit());
