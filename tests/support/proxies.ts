/**
 * A proxy that does to connections what proxies in the world do, on demand.
 *
 * @module
 */
import { requestHead } from "./raw.ts";

/** What a proxy does to what goes through it. */
export interface ProxyOptions {
  /** Answers WebSocket upgrades with 403. */
  refuseUpgrades?: boolean;
  /** Lets nothing of a response through before it is complete. */
  buffer?: boolean;
  /** Serves what is under this path only, and strips it: `/some/prefix/`. */
  prefix?: string;
}

/**
 * Forwards each request over a connection of its own to a server on this machine. What it does can
 * be changed while it runs; it holds for new connections.
 */
export class Proxy implements AsyncDisposable {
  readonly options: ProxyOptions;
  /** Without a slash at the end, and without the prefix. */
  readonly url: string;
  readonly port: number;
  /** Method and path of every request, in order. */
  readonly requests: string[] = [];
  /** Paths whose next responses get lost on the way, with the connection. */
  readonly lost: string[] = [];
  /** The end of what went through, a character a byte. */
  tail = "";
  #target: number;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #mute = new WeakSet<Deno.TcpConn>();
  readonly #work = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  constructor({ port }: { port: number }, options: ProxyOptions = {}) {
    this.#target = port;
    this.options = options;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.url = `http://127.0.0.1:${this.port}`;
    this.#accepting = this.#accept();
  }

  /** Cuts every connection. New ones are let through. */
  cut(): void {
    for (const conn of this.#open) conn.close();
    this.#open.clear();
  }

  /** Lets nothing through any more on the connections that are open, and keeps them open. */
  swallow(): void {
    for (const conn of this.#open) this.#mute.add(conn);
  }

  /** Forwards to another server from now on. */
  repoint({ port }: { port: number }): void {
    this.#target = port;
  }

  /** How many requests of a path, without its query, came so far. */
  count(path: string): number {
    return this.requests.filter((request) => request.split(/[ ?]/)[1] === path).length;
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      this.#open.add(client);
      const work = this.#serve(client).catch(() => {
        // It was cut, or nobody listens there.
      }).finally(() => {
        this.#end(client);
        this.#work.delete(work);
      });
      this.#work.add(work);
    }
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    const { head, rest } = await readHead(client);
    const [line, ...fields] = head.split("\r\n");
    const [method, target, protocol] = line.split(" ");
    this.requests.push(`${method} ${target}`);
    const upgrade = fields.some((field) => /^upgrade: *websocket$/i.test(field));
    const { refuseUpgrades, buffer, prefix = "/" } = this.options;
    if (upgrade && refuseUpgrades) return await answer(client, "403 Forbidden");
    if (!target.startsWith(prefix)) return await answer(client, "404 Not Found");
    const path = `/${target.slice(prefix.length)}`;
    const lost = this.lost.indexOf(path);
    const dropped = lost >= 0 && this.lost.splice(lost, 1).length > 0;
    // So every connection carries one request, and nothing more has to be understood.
    const kept = upgrade ? fields : fields.filter((field) => !/^connection:/i.test(field));
    const close = upgrade ? [] : ["Connection: close"];
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    this.#open.add(server);
    try {
      const sent = [`${method} ${path} ${protocol}`, ...kept, ...close, "", ""].join("\r\n");
      await writeAll(server, new TextEncoder().encode(sent));
      await writeAll(server, rest);
      const up = this.#pump(client, server).finally(() => this.#end(server));
      await (dropped || buffer
        ? this.#collect(server, client, dropped)
        : this.#pump(server, client));
      this.#end(client);
      await up;
    } finally {
      this.#end(server);
    }
  }

  /** Copies until `from` ends or either is cut. */
  async #pump(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const chunk = new Uint8Array(65_536);
    for (let count = await read(from, chunk); count > 0; count = await read(from, chunk)) {
      if (this.#mute.has(from)) continue;
      const bytes = chunk.subarray(0, count);
      this.tail = (this.tail + String.fromCharCode(...bytes.subarray(-500))).slice(-2000);
      if (!await writeAll(to, bytes)) return;
    }
  }

  /** Reads a response to its end; then sends it, unless it is to be lost. */
  async #collect(from: Deno.TcpConn, to: Deno.TcpConn, dropped: boolean): Promise<void> {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    const chunk = new Uint8Array(65_536);
    for (let count = await read(from, chunk); count > 0; count = await read(from, chunk)) {
      chunks.push(chunk.slice(0, count));
    }
    if (!dropped) await writeAll(to, await new Blob(chunks).bytes());
  }

  #end(conn: Deno.TcpConn): void {
    if (this.#open.delete(conn)) conn.close();
  }

  async [Symbol.asyncDispose]() {
    this.#listener.close();
    this.cut();
    await this.#accepting;
    await Promise.all(this.#work);
  }
}

/** How many bytes came; 0 at the end and when the connection was cut. */
async function read(conn: Deno.TcpConn, buffer: Uint8Array<ArrayBuffer>): Promise<number> {
  return await conn.read(buffer).catch(() => null) ?? 0;
}

/** Writes it all; false if the connection was cut. */
async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<boolean> {
  try {
    for (let left = bytes; left.length > 0;) left = left.subarray(await conn.write(left));
    return true;
  } catch {
    return false;
  }
}

async function answer(conn: Deno.TcpConn, status: string): Promise<void> {
  const head = requestHead(`HTTP/1.1 ${status}`, { "Content-Length": "0", "Connection": "close" });
  await writeAll(conn, new TextEncoder().encode(head));
}

/** The lines of a request up to the empty one, and what came after it. */
async function readHead(
  conn: Deno.TcpConn,
): Promise<{ head: string; rest: Uint8Array }> {
  let bytes = new Uint8Array(0);
  const buffer = new Uint8Array(16_384);
  for (;;) {
    const count = await read(conn, buffer);
    if (count === 0) throw new Error("ended before its request");
    bytes = await new Blob([bytes, buffer.slice(0, count)]).bytes();
    const text = String.fromCharCode(...bytes);
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) return { head: text.slice(0, end), rest: bytes.subarray(end + 4) };
  }
}

/** A TCP proxy in front of a server, whose connections can be cut. */
export class CuttingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #listener: Deno.TcpListener;
  #port: number;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #pumps: Promise<unknown>[] = [];
  readonly #accepting: Promise<void>;
  /** While it is true, new connections end at once. */
  refusing = false;
  /** How many connections it has refused. */
  refused = 0;

  constructor({ port }: { port: number }) {
    this.#port = port;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.url = `http://127.0.0.1:${this.#listener.addr.port}`;
    this.#accepting = this.#accept();
  }

  /** How many connections go through it. */
  get size(): number {
    return this.#open.size / 2;
  }

  /** Cuts every connection. New ones are let through. */
  cut(): void {
    for (const conn of this.#open) conn.close();
    this.#open.clear();
  }

  /** Forwards new connections to another server. */
  repoint({ port }: { port: number }): void {
    this.#port = port;
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      const server = this.refusing ? undefined : await this.#connect();
      // While it connected, it may have begun to refuse.
      if (server !== undefined && this.refusing) server.close();
      if (server === undefined || this.refusing) {
        this.refused++;
        client.close();
        continue;
      }
      this.#open.add(client).add(server);
      this.#pumps.push(this.#pump(client, server), this.#pump(server, client));
    }
  }

  /** Undefined if nobody listens there. */
  async #connect(): Promise<Deno.TcpConn | undefined> {
    return await Deno.connect({ hostname: "127.0.0.1", port: this.#port }).catch(() => undefined);
  }

  /** Copies until either side ends; then both do. */
  async #pump(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const chunk = new Uint8Array(65_536);
    for (let count = await read(from, chunk); count > 0; count = await read(from, chunk)) {
      if (!await writeAll(to, chunk.subarray(0, count))) break;
    }
    for (const conn of [from, to]) if (this.#open.delete(conn)) conn.close();
  }

  async [Symbol.asyncDispose]() {
    this.#listener.close();
    this.cut();
    await Promise.all([this.#accepting, ...this.#pumps]);
  }
}
