/**
 * Clients for event streams that need a browser. This file is bundled into a page. The test calls
 * `hold` in it, and the page calls `tell`.
 *
 * @module
 */
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSourcePlus } from "event-source-plus";
import polyfill from "event-source-polyfill";
import { EventSource as ExtendedEventSource } from "extended-eventsource";
import reconnecting from "reconnecting-eventsource";
import { SSE } from "sse.js";
import { type Adapter, listen, type SourceLike, type SseEvent, TYPES } from "./adapter.ts";

/** What of `event-source-polyfill`, which carries no types, is used here. */
const Polyfill: new (url: string, options: object) => SourceLike = polyfill.EventSourcePolyfill;

/** The types of `reconnecting-eventsource` are those of its CommonJS file. */
const Reconnecting = reconnecting as unknown as new (url: string) => SourceLike;

/** Their adapters, by the name of the package. */
const ADAPTERS: Readonly<Record<string, Adapter>> = {
  "@microsoft/fetch-event-source"(url, headers, tell) {
    const ended = new AbortController();
    fetchEventSource(url, {
      headers,
      signal: ended.signal,
      openWhenHidden: true,
      onmessage({ event, data, id }) {
        // It also reports comments and positions, as messages without data.
        if (data !== "") tell({ type: event || "message", data, id });
      },
      onclose() {
        // It comes back only after an error.
        throw new Error("closed by the server");
      },
    });
    return () => ended.abort();
  },

  "event-source-plus"(url, headers, tell) {
    const controller = new EventSourcePlus(url, { headers }).listen({
      onMessage: ({ event, data, id }) => tell({ type: event, data, id: id ?? "" }),
    });
    return () => controller.abort();
  },

  "event-source-polyfill": (url, headers, tell) => listen(new Polyfill(url, { headers }), tell),

  "extended-eventsource": (url, headers, tell) =>
    listen(new ExtendedEventSource(url, { headers, disableLogger: true }), (event) => {
      // It also reports comments and positions, as messages without data.
      if (event.data !== "") tell(event);
    }),

  "reconnecting-eventsource": (url, _headers, tell) => listen(new Reconnecting(url), tell),

  "sse.js"(url, headers, tell) {
    const source = new SSE(url, { headers, autoReconnect: true });
    for (const type of TYPES) {
      source.addEventListener(
        type,
        ({ data, lastEventId }: { data: string; lastEventId: string }) =>
          tell({ type, data, id: lastEventId }),
      );
    }
    return () => source.close();
  },
};

const page = globalThis as typeof globalThis & {
  tell(event: SseEvent): void;
  hold(name: string, url: string, headers: Record<string, string>): void;
};

page.hold = (name, url, headers) => void ADAPTERS[name](url, headers, (event) => page.tell(event));
