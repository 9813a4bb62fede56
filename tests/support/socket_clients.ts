/**
 * npm's clients for WebSockets, in one table.
 *
 * @module
 */
import PartySocket from "partysocket/ws";
import reconnecting from "reconnecting-websocket";
import { WebSocket as NpmWebSocket } from "ws";
import type { SocketLike } from "./sockets.ts";

/** A client that is open, or comes back to be. */
export interface SocketClient {
  send(text: string): void;
  close(): void;
}

/**
 * Opens a client, as its documentation does it.
 *
 * @param url Asked for the address at every connect, so that the client comes back with its position.
 * @param tell Told of each text frame.
 */
type Open = (url: () => string, protocols: string[], tell: (frame: string) => void) => SocketClient;

/** The types of `reconnecting-websocket` are those of its module. */
const Reconnecting = reconnecting as unknown as typeof reconnecting.default;

/** The package `ws` carries no types. */
const NpmSocket: new (url: string, protocols: string[]) => SocketLike = NpmWebSocket;

/** They wait for up to 5 s by default. */
const SOON = { minReconnectionDelay: 100, maxReconnectionDelay: 1000 };

/** The clients by the name of the package. */
export const SOCKET_CLIENTS: Readonly<Record<string, Open>> = {
  "ws": comeBack,
  "reconnecting-websocket"(url, protocols, tell) {
    const socket = new Reconnecting(url, protocols, SOON);
    socket.addEventListener("message", ({ data }) => tell(data));
    return socket;
  },
  "partysocket"(url, protocols, tell) {
    const socket = new PartySocket(url, protocols, SOON);
    socket.addEventListener("message", ({ data }) => tell(data));
    return socket;
  },
};

/** `ws` is one connection. Its user opens the next one. */
function comeBack(...[url, protocols, tell]: Parameters<Open>): SocketClient {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let socket: SocketLike;
  const open = () => {
    socket = new NpmSocket(url(), protocols);
    socket.addEventListener("message", ({ data }) => tell(String(data)));
    // Without a listener it would be thrown. `close` follows.
    socket.addEventListener("error", () => {});
    socket.addEventListener("close", () => timer = setTimeout(open, 100));
  };
  open();
  return {
    send: (text) => socket.send(text),
    close() {
      socket.addEventListener("close", () => clearTimeout(timer));
      socket.close();
    },
  };
}
