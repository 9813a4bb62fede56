/**
 * What the tests share: a server in this process, a server in a process of its own, and readers.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { TimerWheel } from "../../lib/base/timer_wheel.ts";
import { riverOf } from "../../lib/cli/commands/serve.ts";
import { readOptions } from "../../lib/cli/config.ts";
import { checkServer, SERVER_OPTIONS, type ServerConfig } from "../../lib/cli/options.ts";
import type { Usage } from "../../lib/core/engine.ts";
import { BodyReader } from "../../lib/http/body.ts";
import type { RiverServer } from "../../lib/river.ts";

/** A river that serves on a port of its own until it is disposed of. */
export interface TestServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
}

/** The server's options for command-line flags. */
export function configOf(...flags: string[]): ServerConfig {
  const readFile = () => {
    throw new Error("no file is read here");
  };
  const reading = readOptions(SERVER_OPTIONS, { args: flags, env: {}, readFile });
  if (reading === "help" || reading === "version") throw new Error("not a command to serve");
  checkServer(reading.values);
  return reading.values;
}

/** Limits of the memory engine; `changes` on top of the defaults. */
export function memoryLimits(changes: Record<string, number> = {}) {
  return {
    history: 100,
    historyTtl: 3_600_000,
    maxMemory: 128 * 1024 * 1024,
    maxChannels: 100_000,
    maxIds: 100_000,
    idTtl: 300_000,
    ...changes,
  };
}

/** What an engine tells of itself before anything has happened. */
export const UNUSED: Usage = {
  published: 0,
  channels: 0,
  onlyWatched: 0,
  messages: 0,
  bytes: 0,
  held: 0,
};

/** Reads bodies of up to `maxBody` bytes, for as long as it takes. */
export function bodiesOf({ maxBody }: { maxBody: number }): BodyReader {
  return new BodyReader(new TimerWheel(), { maxBody, maxBodies: Infinity, bodyTimeout: 60_000 });
}

/** A server in this process. Its errors come up in `errors`. */
export async function serveHere(
  ...flags: string[]
): Promise<TestServer & RiverServer & { errors: unknown[] }> {
  const errors: unknown[] = [];
  const river = riverOf(configOf(...flags), { report: (error) => void errors.push(error) });
  await river.start();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen() {},
    onError: river.fail,
  }, river.handle);
  const { port } = server.addr;
  return {
    ...river,
    url: `http://127.0.0.1:${port}`,
    port,
    errors,
    async [Symbol.asyncDispose]() {
      await river.drain();
      await server.shutdown();
      await river.close();
      // The turn of sockets or of long work ends with a timer, even if nothing is left to do.
      await new Promise((resolve) => setTimeout(resolve));
    },
  };
}

/** The server's main file, as an absolute path. */
export const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/**
 * How `deno task start` runs the main file, but without deno.lock: from a folder without deno.json,
 * Deno would empty it.
 */
export const RUN: readonly string[] = [
  "run",
  "--no-prompt",
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-run=prlimit",
];

/** A server in a process of its own. */
export interface ServerProcess extends TestServer {
  readonly process: Deno.ChildProcess;
  /** The first line on stdout. */
  readonly greeting: string;
  /** Sends a signal and waits for the end. */
  end(signal?: Deno.Signal): Promise<Deno.CommandStatus>;
  /** What was written to stderr; complete once the process has ended. */
  stderr(): Promise<string>;
}

/** Starts `main.ts`, on a free port unless one is given; `nofile` limits its file descriptors. */
export async function spawnServer(
  flags: string[] = [],
  { main = MAIN, port = 0, cwd, env, nofile, run = RUN }: {
    main?: string;
    port?: number;
    cwd?: string;
    env?: Record<string, string>;
    nofile?: number;
    run?: readonly string[];
  } = {},
): Promise<ServerProcess> {
  const [command, ...args] = [
    ...(nofile === undefined ? [] : ["prlimit", `--nofile=${nofile}`]),
    Deno.execPath(),
    ...run,
    main,
    ...flags,
    "--port",
    String(port),
  ];
  const process = new Deno.Command(command, { args, cwd, env, stdout: "piped", stderr: "piped" })
    .spawn();
  const stderr = new Response(process.stderr).text();
  const reader = process.stdout.getReader();
  let greeting = "";
  while (!greeting.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the server did not start: ${await stderr}`);
    greeting += new TextDecoder().decode(value);
  }
  const drained = (async () => {
    while (!(await reader.read()).done);
  })();
  const url = /http:\/\/\S+(?=\/\n)/.exec(greeting)![0];
  let ended = false;
  async function end(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    if (!ended) {
      ended = true;
      process.kill(signal);
    }
    const status = await process.status;
    await Promise.all([drained, stderr]);
    return status;
  }
  return {
    process,
    greeting,
    url,
    port: Number(new URL(url).port),
    end,
    stderr: () => stderr,
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
    },
  };
}

/** Publishes and gives the receipt; fails if it is refused. */
export async function publish(
  server: { url: string },
  name: string,
  data: string,
): Promise<{ channel: string; seq: number; epoch: string; subscribers: number }> {
  const body = new URLSearchParams({ name, data });
  const response = await fetch(`${server.url}/publish`, { method: "POST", body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`refused: ${response.status} ${text}`);
  return JSON.parse(text);
}

/** Reads a response's body line by line. */
export class LineReader implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(response: Response) {
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next line without its line end; undefined at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += value;
    }
  }

  /** The next `count` lines. */
  async take(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) {
      const line = await this.next();
      if (line === undefined) throw new Error(`ended after ${lines.length} of ${count} lines`);
      lines.push(line);
    }
    return lines;
  }

  /** All that is left, once it has ended. */
  async rest(): Promise<string> {
    let text = this.#text;
    this.#text = "";
    for (let chunk = await this.#reader.read(); !chunk.done; chunk = await this.#reader.read()) {
      text += chunk.value;
    }
    return text;
  }

  async [Symbol.asyncDispose]() {
    await this.#reader.cancel();
  }
}

/**
 * Subscribes with these parameters; resolves when the headers are there, and the first line of an event
 * stream, which is left out.
 */
export async function subscribe(
  server: { url: string },
  query: string,
  headers: Record<string, string> = {},
): Promise<LineReader & { response: Response }> {
  const response = await fetch(`${server.url}/subscribe?${query}`, { headers });
  if (response.status !== 200) {
    throw new Error(`refused: ${response.status} ${await response.text()}`);
  }
  const lines = new LineReader(response);
  if (response.headers.get("content-type") === "text/event-stream") {
    assertMatch(await lines.next() ?? "", RETRY);
  }
  return Object.assign(lines, { response });
}

/** The first line of every event stream: when to come back, after 1 to 3 seconds. */
const RETRY = /^retry: (?:[12][0-9]{3}|3000)$/;

/** An event stream without its first line, which is another each time. */
export function afterRetry(text: string): string {
  const end = text.indexOf("\n");
  assertMatch(text.slice(0, end), RETRY);
  return text.slice(end + 1);
}

/** A river line of a message. */
export function msg(channel: string, seq: number, data: string): string {
  return `["msg", {"channel": "${channel}", "seq": ${seq}, "data": ${JSON.stringify(data)}}]`;
}

/** A response that was read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Asks for something and reads the whole answer, a byte order mark included. */
export async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const { status, headers, body } = await fetch(url, init);
  const bytes = await new Response(body).bytes();
  return { status, headers, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) };
}

/** The code of an error response. */
export function errorCode({ text }: { text: string }): string {
  return JSON.parse(text).error.code;
}

/** The value of a metric; `name` includes its labels. */
export async function metric(server: { url: string }, name: string): Promise<number> {
  const { text } = await ask(`${server.url}/metrics`);
  const line = text.split("\n").find((line) => line.startsWith(name + " "));
  if (line === undefined) throw new Error(`there is no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

/** How many subscribers the server counts, over all transports. */
export async function subscriberCount(server: { url: string }): Promise<number> {
  const { text } = await ask(`${server.url}/metrics`);
  return [...text.matchAll(/^river_subscribers\{.*\} ([0-9]+)$/gm)]
    .reduce((sum, [, count]) => sum + Number(count), 0);
}

/** A process's memory in bytes: `VmRSS` is what it has now, `VmHWM` the most it ever had. */
export async function memoryOf(
  { process }: ServerProcess,
  what: "VmRSS" | "VmHWM",
): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${process.pid}/status`);
  return 1024 * Number(new RegExp(`^${what}:\\s+([0-9]+) kB$`, "m").exec(status)![1]);
}

/** How many file descriptors a process has open. */
export async function descriptorsOf({ process }: ServerProcess): Promise<number> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${process.pid}/fd`))).length;
}

/** A curl that runs. Its lines come as they are printed. */
export class Curl implements AsyncDisposable {
  readonly lines: LineReader;
  readonly #process: Deno.ChildProcess;
  readonly #stderr: Promise<string>;

  constructor(args: string[]) {
    const command = new Deno.Command("curl", {
      args: ["--silent", "--show-error", ...args],
      stdout: "piped",
      stderr: "piped",
    });
    try {
      this.#process = command.spawn();
    } catch (cause) {
      throw new Error("These tests need curl: install it and put it on the PATH", { cause });
    }
    this.lines = new LineReader(new Response(this.#process.stdout));
    this.#stderr = new Response(this.#process.stderr).text();
  }

  /** What it has still to print, once it has ended; fails unless it ends well. */
  async output(): Promise<string> {
    const text = await this.lines.rest();
    const { code } = await this.#process.status;
    if (code !== 0) throw new Error(`curl ended with ${code}: ${await this.#stderr}`);
    return text;
  }

  async [Symbol.asyncDispose]() {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.lines.rest();
    await Promise.all([this.#process.status, this.#stderr]);
  }
}

/** Starts curl. */
export function curl(...args: string[]): Curl {
  return new Curl(args);
}

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

/** A TCP connection on which HTTP is written by hand. What is read has a character a byte. */
export class RawConnection implements Disposable {
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(16_384);
  #text = "";
  #ended = false;

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async open({ port }: { port: number }): Promise<RawConnection> {
    return new RawConnection(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Writes it all. */
  async write(data: string | Uint8Array): Promise<void> {
    let bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    while (bytes.length > 0) bytes = bytes.subarray(await this.#conn.write(bytes));
  }

  /** Tells the server that no more is written. */
  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  /** Everything up to and including `mark`. */
  async until(mark: string): Promise<string> {
    while (!this.#text.includes(mark)) {
      if (!await this.#read()) throw new Error(`ended before ${JSON.stringify(mark)}`);
    }
    return this.#cut(this.#text.indexOf(mark) + mark.length);
  }

  /** A response with its body, if it has a length; not for HEAD. */
  async response(): Promise<Answer> {
    const [status, ...fields] = (await this.until("\r\n\r\n")).trimEnd().split("\r\n");
    const headers = new Headers(
      fields.map((
        field,
      ): [string, string] => [field.split(":", 1)[0], field.slice(field.indexOf(":") + 1).trim()]),
    );
    const length = Number(headers.get("content-length") ?? 0);
    while (this.#text.length < length && await this.#read());
    const body = Uint8Array.from(this.#cut(length), (char) => char.charCodeAt(0));
    const text = new TextDecoder().decode(body);
    return { status: Number(status.split(" ")[1]), headers, text };
  }

  /** The next `length` bytes; fewer at the end. */
  async take(length: number): Promise<string> {
    while (this.#text.length < length && await this.#read());
    return this.#cut(length);
  }

  /** All that comes until the end. */
  async rest(): Promise<string> {
    while (await this.#read());
    return this.#cut(this.#text.length);
  }

  [Symbol.dispose]() {
    this.#conn.close();
  }

  /** Takes what comes next; false at the end, and when the connection was reset. */
  async #read(): Promise<boolean> {
    if (this.#ended) return false;
    const count = await this.#conn.read(this.#buffer).catch((error) => {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      return null;
    });
    if (count === null) this.#ended = true;
    else this.#text += String.fromCharCode(...this.#buffer.subarray(0, count));
    return !this.#ended;
  }

  #cut(length: number): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return text;
  }
}

/** What a client sends to open a WebSocket. */
export const UPGRADE = {
  "Connection": "Upgrade",
  "Upgrade": "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** A request as it is written, without its body. */
export function requestHead(line: string, headers: Record<string, string> = {}): string {
  const fields = Object.entries({ Host: "127.0.0.1", ...headers });
  return [line, ...fields.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n");
}

/** Sends a request as it is written here, and reads the response. */
export async function sendRaw(
  server: { port: number },
  line: string,
  headers: Record<string, string> = {},
  body = "",
): Promise<Answer> {
  using connection = await RawConnection.open(server);
  await connection.write(requestHead(line, headers) + body);
  return await connection.response();
}

/** A TCP proxy in front of a server, whose connections can be cut. */
export class CuttingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #listener: Deno.TcpListener;
  readonly #port: number;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #pumps: Promise<unknown>[] = [];
  readonly #accepting: Promise<void>;

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

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
      this.#open.add(client).add(server);
      this.#pumps.push(this.#pump(client, server), this.#pump(server, client));
    }
  }

  /** Copies until either side ends; then both do. */
  async #pump(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    try {
      await from.readable.pipeTo(to.writable, { preventClose: true });
    } catch {
      // It was cut.
    }
    for (const conn of [from, to]) if (this.#open.delete(conn)) conn.close();
  }

  async [Symbol.asyncDispose]() {
    this.#listener.close();
    this.cut();
    await Promise.all([this.#accepting, ...this.#pumps]);
  }
}

/**
 * Publishes to the channel `x`, which has two subscribers, until the server has cut one of them;
 * the other gets everything. Gives the number of the last message that both were to get.
 */
export async function publishUntilCut(
  server: TestServer & RiverServer,
  fast: LineReader,
): Promise<number> {
  const data = "a".repeat(60_000);
  let seq = 0;
  while (server.hub.subscribers("x") === 2) {
    ({ seq } = await publish(server, "x", data));
    assertEquals(await fast.next(), msg("x", seq, data));
    assert(seq < 1000, "it should have been cut by now");
  }
  await publish(server, "x", "after");
  assertEquals(await fast.next(), msg("x", seq + 1, "after"));
  return seq;
}

/** Waits until `condition` holds; fails after `ms`. For what nothing announces. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
