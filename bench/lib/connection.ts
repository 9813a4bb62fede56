/**
 * The connections of the load: raw TCP, with one buffer for all.
 *
 * @module
 */
import { connect, type Socket } from "node:net";
import type { Dialect, Transport } from "./dialect.ts";
import { type Checker, Dechunker, FrameScanner, type Scanner, StreamScanner } from "./scanner.ts";

/** How many connections are opened at a time. */
const OPEN_AT_ONCE = 50;
/** Time limit for a new connection and for an answer, in milliseconds. */
export const PATIENCE_MS = 10_000;

const buffer = new Uint8Array(256 * 1024);
const ascii = new TextDecoder("latin1");

/** Receives the first `length` bytes. They are overwritten afterwards. */
type Receive = (bytes: Uint8Array, length: number) => void;

/** One connection. */
export class Connection {
  readonly #socket: Socket;
  #closed = false;

  private constructor(port: number, receive: Receive, fail: (error: Error) => void) {
    this.#socket = connect({
      host: "127.0.0.1",
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (length: number, bytes: Uint8Array) => {
          try {
            if (!this.#closed) receive(bytes, length);
          } catch (error) {
            fail(error as Error);
          }
          return true;
        },
      },
    });
    this.#socket.on("error", (error) => this.#closed || fail(error));
    this.#socket.on(
      "close",
      () => this.#closed || fail(new Error("The server closed the connection")),
    );
  }

  /** Connects to a port of this machine. */
  static open(
    port: number,
    receive: Receive,
    fail: (error: Error) => void,
  ): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const connection = new Connection(port, receive, (error) => {
        reject(error);
        fail(error);
      });
      connection.#socket.on("connect", () => resolve(connection));
    });
  }

  /** Sends bytes. They must not change until the server has answered them. */
  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Ends the connection. Nothing more is received. */
  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }
}

/** Opens `count` things, some at a time. The results are in order. */
export async function openAll<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  while (all.length < count) {
    const some = Math.min(OPEN_AT_ONCE, count - all.length);
    all.push(...await Promise.all(Array.from({ length: some }, (_, i) => open(all.length + i))));
  }
  return all;
}

/** The options of a subscription. */
export interface SubscriptionOptions {
  /** The server's port. */
  readonly port: number;
  /** The server's dialect. */
  readonly dialect: Dialect;
  /** How messages arrive. */
  readonly transport: Transport;
  /** The bytes of the request. */
  readonly request: Uint8Array;
  /** Takes the number of messages that end in the bytes that arrived, and the number of bytes. */
  readonly onMessages: (messages: number, bytes: number) => void;
  /** Takes an error. */
  readonly fail: (error: Error) => void;
  /** Checks everything that arrives. */
  readonly checker?: Checker;
}

/** Subscribes. Resolves when the head of the response has arrived. */
export async function subscribe(options: SubscriptionOptions): Promise<Connection> {
  const { port, request, onMessages, fail } = options;
  let scanner: Scanner | undefined;
  let take: ((bytes: Uint8Array) => void) | undefined;
  let head = "";
  const started = Promise.withResolvers<void>();
  // When it rejects, nobody may be waiting for it any more.
  started.promise.catch(() => {});
  const connection = await Connection.open(port, (bytes, length) => {
    let start = 0;
    if (scanner === undefined) {
      const before = head.length;
      head += ascii.decode(bytes.subarray(0, length));
      const end = head.indexOf("\r\n\r\n") + 4;
      if (end < 4) return;
      start = end - before;
      if (!/^HTTP\/1.1 (200|101) /.test(head)) {
        throw new Error(`Cannot subscribe: ${head.slice(0, 300)}`);
      }
      [scanner, take] = scannerFor(options, /\ntransfer-encoding: *chunked/i.test(head));
      started.resolve();
    }
    take?.(bytes.subarray(start, length));
    const messages = scanner.scan(bytes, length, start);
    if (messages > 0) onMessages(messages, length);
  }, (error) => {
    started.reject(error);
    fail(error);
  });
  connection.write(request);
  await within(started.promise, "the answer to a subscription");
  return connection;
}

function scannerFor(
  { dialect, transport, checker }: SubscriptionOptions,
  chunked: boolean,
): [Scanner, ((bytes: Uint8Array) => void) | undefined] {
  const overhead = dialect.overhead(transport);
  const check = checker && ((bytes: Uint8Array) => checker.take(bytes));
  if (transport === "websocket" || transport === "river.v1") {
    return [new FrameScanner(overhead, check), undefined];
  }
  if (check === undefined || !chunked) return [new StreamScanner(overhead), check];
  const dechunker = new Dechunker(check);
  return [new StreamScanner(overhead), (bytes) => dechunker.take(bytes)];
}

/** Where the answer that starts at `start` ends. Infinity if that is not known yet. */
export type EndOfAnswer = (bytes: Uint8Array, start: number) => number;

/** A keep-alive connection for requests with short answers. */
export class Requester {
  #connection!: Connection;
  readonly #onAnswer: () => void;
  readonly #endOfAnswer: EndOfAnswer;
  /** The beginning of an answer whose end has not arrived. */
  #rest: Uint8Array | undefined;

  private constructor(onAnswer: () => void, endOfAnswer: EndOfAnswer) {
    this.#onAnswer = onAnswer;
    this.#endOfAnswer = endOfAnswer;
  }

  /**
   * Connects.
   *
   * @param onAnswer Called once for every request, in order.
   * @param endOfAnswer Finds the end of an answer. By default, of HTTP.
   */
  static async open(
    port: number,
    onAnswer: (requester: Requester) => void,
    fail: (error: Error) => void,
    endOfAnswer: EndOfAnswer = endOfHttpAnswer,
  ): Promise<Requester> {
    const requester: Requester = new Requester(() => onAnswer(requester), endOfAnswer);
    const receive: Receive = (bytes, length) => requester.#receive(bytes, length);
    requester.#connection = await Connection.open(port, receive, fail);
    return requester;
  }

  /** Sends the bytes of one or more requests. */
  send(bytes: Uint8Array): void {
    this.#connection.write(bytes);
  }

  /** Ends the connection. */
  close(): void {
    this.#connection.close();
  }

  #receive(bytes: Uint8Array, length: number): void {
    let all: Uint8Array = bytes.subarray(0, length);
    if (this.#rest !== undefined) {
      all = new Uint8Array(this.#rest.length + length);
      all.set(this.#rest);
      all.set(bytes.subarray(0, length), this.#rest.length);
      this.#rest = undefined;
    }
    for (let start = 0; start < all.length;) {
      const end = this.#endOfAnswer(all, start);
      if (end > all.length) {
        // Copy the bytes, because all connections share the buffer.
        this.#rest = all.slice(start);
        return;
      }
      start = end;
      this.#onAnswer();
    }
  }
}

const SPACE = " ".charCodeAt(0);
const TWO = "2".charCodeAt(0);
const LINE_FEED = 10;
const COLON = ":".charCodeAt(0);
/** Where the status starts. */
const STATUS_AT = "HTTP/1.1 ".length;
const CONTENT_LENGTH = "content-length".length;

/** Where an answer that starts at `start` ends. Infinity if that is not known yet. */
function endOfHttpAnswer(bytes: Uint8Array, start: number): number {
  if (bytes.length < start + STATUS_AT + 1) return Infinity;
  if (bytes[start + STATUS_AT] !== TWO) {
    throw new Error(`A request failed: ${ascii.decode(bytes.subarray(start, start + 500))}`);
  }
  let size = 0;
  for (let line = start;;) {
    const next = bytes.indexOf(LINE_FEED, line) + 1;
    if (next === 0) return Infinity;
    if (next - line <= 2) return next + size;
    // In short answers, no other header name has this length and starts with a C.
    if (bytes[line + CONTENT_LENGTH] === COLON && (bytes[line] | 32) === 99) {
      size = 0;
      for (let at = line + CONTENT_LENGTH + 1; at < next - 2; at++) {
        if (bytes[at] !== SPACE) size = size * 10 + bytes[at] - 48;
      }
    }
    line = next;
  }
}

/** Rejects if something takes too long. */
export async function within<T>(promise: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms} ms in vain for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves after `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
