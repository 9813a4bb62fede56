/**
 * The sink of HTTP streaming, long-poll, Server-Sent Events and JSONP. They differ only in format.
 *
 * @module
 */
import { type Position, printCursor } from "../../core/cursor.ts";
import type { Format, Frame } from "../../core/message.ts";
import type { CloseReason, Sink } from "../../core/sink.ts";
import { EVENT_STREAM } from "./formats.ts";

const utf8 = new TextEncoder();

/** After this many chunks, the queue is measured even if they are small. */
const RECOUNT_CHUNKS = 64;

/** Breaks off a response on purpose. It does not mean a fault of the server. */
export class CutError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "CutError";
}

/** The body of one HTTP response. */
export class StreamSink implements Sink {
  readonly once: boolean;
  readonly maxPerWrite: number;
  /** The body of the response. */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The printed position at which each channel was joined, in the order of the request. */
  readonly positions: Map<string, string>;
  readonly #format: Format;
  readonly #retryMs: () => number;
  readonly #onEnd: (unsent: number) => void;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  /**
   * Sizes of the chunks that were written since the queue was last empty, oldest first. The
   * transport has yet to take those from index `#at` up to `#end`. The array is reused.
   */
  readonly #sizes: number[] = [];
  #at = 0;
  #end = 0;
  #unsent = 0;
  #started = false;
  #closed = false;
  #ended = false;
  #onStart: (() => void) | undefined;

  /**
   * A sink that writes frames in `format` to its body.
   *
   * @param options Only one of two functions is called: `onGone` if the client leaves, or `onEnd`
   * if the sink is closed. `unsent` is the number of bytes that the transport has not taken.
   * `positions` is filled as channels are joined. `retryMs` returns the delay in milliseconds after
   * which clients of event streams are told to reconnect.
   */
  constructor(format: Format, { once, onGone, onEnd, positions, retryMs }: {
    once: boolean;
    onGone: () => void;
    onEnd: (unsent: number) => void;
    positions: Map<string, string>;
    retryMs: () => number;
  }) {
    this.#format = format;
    this.once = once;
    this.maxPerWrite = format.maxPerWrite ?? Infinity;
    this.positions = positions;
    this.#retryMs = retryMs;
    this.#onEnd = onEnd;
    // Do not use `pull` or `size`. They would cost a promise or a call per chunk.
    this.body = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
      },
      cancel: () => {
        // This is also called if the client leaves after a clean end that it has not read.
        if (this.#closed) return;
        this.#closed = true;
        onGone();
      },
    });
  }

  /** Where the subscription starts: a list with one item per channel, empty if not known yet. */
  get cursor(): string {
    return [...this.positions.values()].join(",");
  }

  /** Whether anything has been written. */
  get started(): boolean {
    return this.#started;
  }

  /** Whether the sink was closed and its body is complete. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves when something has been written, or when the sink is closed. */
  begun(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#started || this.#closed) resolve();
      else this.#onStart = resolve;
    });
  }

  exceeds(limit: number): boolean {
    // `#unsent` is never too low: it shrinks only when `backlog()` measures the queue.
    if (this.#end < RECOUNT_CHUNKS && this.#unsent <= limit) return false;
    return this.backlog() > limit;
  }

  /** Number of written bytes that the transport has not taken. Measures the queue. */
  backlog(): number {
    if (this.#closed) return 0;
    // The high-water mark of the stream is one chunk.
    const queued = 1 - this.#controller.desiredSize!;
    if (queued === 0) {
      this.#at = this.#end = this.#unsent = 0;
      return 0;
    }
    while (this.#end - this.#at > queued) this.#unsent -= this.#sizes[this.#at++];
    if (this.#at > 1024) {
      this.#sizes.copyWithin(0, this.#at, this.#end);
      this.#end -= this.#at;
      this.#at = 0;
    }
    return this.#unsent;
  }

  open(channel: string, position: Position): void {
    const printed = printCursor(position);
    this.positions.set(channel, printed);
    const opening = this.#format.open?.(channel, printed);
    // A client keeps the last `retry:` forever, but the delay of a shutdown or a proxy must not
    // stay in force. So send a new delay with the positions, which an event stream sends once.
    if (opening) this.#enqueue(utf8.encode(this.#retry("\n") + opening));
  }

  get held(): number {
    return this.backlog();
  }

  write(frame: Frame): number {
    return this.#enqueue(frame.bytes(this.#format));
  }

  heartbeat(): void {
    this.#enqueue(utf8.encode(this.#format.heartbeat));
  }

  close(reason: CloseReason): void {
    if (this.#closed) return;
    if (reason === "shutdown") this.#enqueue(utf8.encode(this.#retry("\n\n")));
    const unsent = this.backlog();
    this.#closed = true;
    // An error drops the queue at once. A clean end would wait for a client that reads nothing.
    this.#ended = reason !== "slow" && reason !== "error";
    if (this.#ended) this.#controller.close();
    else this.#controller.error(new CutError(reason));
    this.#onEnd(unsent);
    this.#onStart?.();
  }

  /**
   * The field that tells the client of an event stream how long to wait before it reconnects. Empty
   * for other formats.
   */
  #retry(end: string): string {
    return this.#format.contentType === EVENT_STREAM ? `retry: ${this.#retryMs()}${end}` : "";
  }

  /** Writes bytes, unless the sink is closed. Returns how many were written. */
  #enqueue(bytes: Uint8Array<ArrayBuffer>): number {
    if (this.#closed || bytes.length === 0) return 0;
    this.#controller.enqueue(bytes);
    this.#sizes[this.#end++] = bytes.length;
    this.#unsent += bytes.length;
    if (!this.#started) {
      this.#started = true;
      this.#onStart?.();
    }
    return bytes.length;
  }
}
