/**
 * HTTP streaming, long-poll, Server-Sent Events and JSONP: one stream, different formats.
 *
 * @module
 */
import { type Position, printCursor } from "../../core/cursor.ts";
import type { Format, Frame } from "../../core/message.ts";
import type { CloseReason, Sink } from "../../core/sink.ts";
import { EVENT_STREAM } from "./formats.ts";

const utf8 = new TextEncoder();

/** After so many chunks the queue is looked at, however small they are. */
const RECOUNT = 64;

/** Breaks off a response on purpose. It is not a fault of the server. */
export class CutError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "CutError";
}

/** The body of one HTTP response. */
export class StreamSink implements Sink {
  readonly once: boolean;
  readonly maxPerWrite: number;
  /** The response's body. */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The position of each channel when it was joined, printed, in order. */
  readonly positions: Map<string, string>;
  readonly #format: Format;
  readonly #retryMs: () => number;
  readonly #onEnd: (unsent: number) => void;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  /**
   * Sizes of the chunks that were written since the queue was last empty, oldest first. Those from
   * `#at` up to `#end` are not yet taken by the transport. The array is reused.
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
   * A sink that writes frames in `format` to a body of its own.
   *
   * @param options Either `onGone` is called, when the client leaves, or `onEnd`, when the sink is
   * closed, with the bytes that the transport has not taken. `positions` is filled as channels are
   * joined. `retryMs` returns the delay that clients of event streams are told.
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
    // No `pull` and no `size`: each would cost a promise or a call per chunk.
    this.body = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
      },
      cancel: () => {
        // This is also called if a client leaves after a clean end that it never took.
        if (this.#closed) return;
        this.#closed = true;
        onGone();
      },
    });
  }

  /** Where the subscription starts: one item per channel, empty if it is not known yet. */
  get cursor(): string {
    return [...this.positions.values()].join(",");
  }

  /** Whether anything was written. */
  get started(): boolean {
    return this.#started;
  }

  /** Whether it was closed with everything in its body. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves when there is something to send, or when nothing more will come. */
  begun(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#started || this.#closed) resolve();
      else this.#onStart = resolve;
    });
  }

  exceeds(limit: number): boolean {
    // At most the bytes that were written since the queue was last empty are unsent.
    if (this.#end < RECOUNT && this.#unsent <= limit) return false;
    return this.backlog() > limit;
  }

  /** Written bytes that the transport has not taken. */
  backlog(): number {
    if (this.#closed) return 0;
    // The stream's high-water mark is one chunk.
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
    const words = this.#format.open?.(channel, printed);
    // A client keeps the last `retry:` forever: the delay that a shutdown or a proxy told it must
    // not stay in force. An event stream tells its positions once, so this comes once.
    if (words) this.#enqueue(utf8.encode(this.#retry("\n") + words));
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
    // An error drops the queue at once. A clean end would wait for a reader that takes nothing.
    this.#ended = reason !== "slow" && reason !== "error";
    if (this.#ended) this.#controller.close();
    else this.#controller.error(new CutError(reason));
    this.#onEnd(unsent);
    this.#onStart?.();
  }

  /**
   * The text that tells the client of an event stream how long to wait before it comes back.
   */
  #retry(end: string): string {
    return this.#format.contentType === EVENT_STREAM ? `retry: ${this.#retryMs()}${end}` : "";
  }

  /** Returns the number of bytes that were queued. */
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
