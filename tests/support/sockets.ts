/**
 * WebSockets whose frames are waited for one by one.
 *
 * @module
 */
import type { RiverServer } from "../../lib/river.ts";
import type { TestServer } from "./server.ts";
import { until } from "./until.ts";

/** What the runtime's WebSocket and that of the npm package `ws` have in common. */
export interface SocketLike {
  readonly protocol: string;
  readonly readyState: number;
  addEventListener(type: "open", listener: () => void): void;
  addEventListener(type: "error", listener: (event: { message?: string }) => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: SocketEnd) => void): void;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** How a socket was closed. */
export interface SocketEnd {
  readonly code: number;
  readonly reason: string;
}

/** A WebSocket whose frames are waited for one by one. */
export class SocketReader implements AsyncDisposable {
  readonly socket: SocketLike;
  /** Resolves when it was closed, with the code and the reason given. */
  readonly closed: Promise<SocketEnd>;
  readonly #frames: string[] = [];
  #lines: string[] = [];
  #end: SocketEnd | undefined;
  #wake = () => {};

  constructor(socket: SocketLike) {
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.#frames.push(String(data));
      this.#wake();
    });
    this.closed = new Promise((resolve) =>
      socket.addEventListener("close", ({ code, reason }) => {
        this.#end = { code, reason };
        resolve(this.#end);
        this.#wake();
      })
    );
  }

  /** Resolves when the socket is open; rejects if it is refused. */
  static open(socket: SocketLike): Promise<SocketReader> {
    const reader = new SocketReader(socket);
    return new Promise((resolve, reject) => {
      socket.addEventListener("open", () => resolve(reader));
      socket.addEventListener("error", ({ message }) => reject(new Error(message)));
    });
  }

  /** The next frame. */
  async frame(): Promise<string> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#end) throw new Error(`closed: ${this.#end.code} ${this.#end.reason}`);
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** The next line, in whatever frame it comes; heartbeats are left out. */
  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      this.#lines = (await this.frame()).split("\n").filter((line) => line !== "");
    }
    return this.#lines.shift()!;
  }

  /** The next `count` lines. */
  async take(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** Sends one frame of these lines. */
  send(...lines: string[]): void {
    this.socket.send(lines.join("\n"));
  }

  async [Symbol.asyncDispose]() {
    this.socket.close();
    await this.closed;
  }
}

/** Opens a WebSocket of the runtime. */
export function openSocket(
  { port }: { port: number },
  query: string,
  protocol?: string,
): Promise<SocketReader> {
  const url = `ws://127.0.0.1:${port}/websocket?${query}`;
  return SocketReader.open(new WebSocket(url, protocol === undefined ? [] : [protocol]));
}

/** Opens a plain WebSocket that the server has joined to its channel. */
export async function openPlain(
  server: TestServer & RiverServer,
  channel: string,
  query = "",
): Promise<SocketReader> {
  const before = server.hub.subscribers(channel);
  const reader = await openSocket(server, `name=${encodeURIComponent(channel)}${query}`);
  await until(() => server.hub.subscribers(channel) > before);
  return reader;
}
