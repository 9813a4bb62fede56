/**
 * The dialects of the servers: river's, which the bare control and the hub on Node also understand,
 * and nchan's.
 *
 * @module
 */
import { get, post, upgrade } from "./wire.ts";

/** How messages reach a reader. */
export type Transport = "stream" | "sse" | "websocket" | "river.v1";

/** The requests that a server understands. */
export interface Dialect {
  /** Publishes one message with a POST request. */
  publish(channel: string, data: string): string;
  /** Subscribes: with `replay` from the oldest kept message, otherwise from now on. */
  subscribe(channel: string, transport: Transport, replay?: boolean): string;
  /** The payloads of frames that publish over a WebSocket. */
  frames(channel: string, transport: Transport, data: string[]): string[];
  /** At least this many bytes are between the data of two messages. */
  overhead(transport: Transport): number;
}

const LINE = '["msg", {"channel": "bench0", "seq": 1, "data": ""}]\n';

/** River's interface. */
export const river: Dialect = {
  publish: (channel, data) => post(`/publish?name=${channel}`, "text/plain", data),
  subscribe(channel, transport, replay) {
    const query = `name=${channel}${replay ? "&seq=0" : ""}`;
    if (transport === "websocket") return upgrade(`/websocket?${query}`);
    if (transport === "river.v1") return upgrade(`/websocket?${query}`, "river.v1");
    return get(`/subscribe?${query}${transport === "sse" ? "&format=sse" : ""}`);
  },
  frames(channel, transport, data) {
    if (transport === "websocket") return data;
    return [data.map((data) => `["pub", {"channel": "${channel}", "data": "${data}"}]`).join("\n")];
  },
  overhead: (transport) => transport === "sse" ? "\n\nid: 0-1\ndata: ".length : LINE.length,
};

/** Nchan's interface, as `nginxConfig` sets it up. */
export const nchan: Dialect = {
  publish: (channel, data) => post(`/publish?name=${channel}`, "text/plain", data),
  subscribe(channel, transport, replay) {
    const path = `/${replay ? "replay" : "subscribe"}/${transport}?name=${channel}`;
    return transport === "websocket"
      ? upgrade(path)
      : get(path, transport === "sse" ? ["Accept: text/event-stream"] : []);
  },
  frames: (_channel, _transport, data) => data,
  overhead: (transport) => transport === "stream" ? 1 : 0,
};
