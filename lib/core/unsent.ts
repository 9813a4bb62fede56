/**
 * What all subscribers together have unsent, held to a limit.
 *
 * @module
 */

/** A subscriber as far as its queue goes. */
export interface Queue {
  /** Bytes that it holds because they are unsent. */
  readonly unsent: number;
  /** Ends it: too much is unsent. */
  close(reason: "slow"): void;
}

/** Share of the limit that history may fill. The rest is for live messages. */
const HISTORY_SHARE = 3 / 4;
/** Share of the limit to which queues are cut once it is exceeded. */
const CUT_TO = 0.9;
/** Milliseconds between two looks at all queues, and how many times longer than a look at least. */
const LOOK_MS = 10;
const LOOK_SPACING = 20;

/**
 * Adds up what is written, which costs nothing. Only when that is more than there was room for at
 * the last look are all queues looked at again, from a timer: by then the runtime has written what
 * it could, so that a queue holds nothing but what its client does not take.
 */
export class Unsent {
  readonly #limit: number;
  readonly #queues: Iterable<Queue>;
  /** Bytes that were unsent at the last look, and those written since. */
  #unsent = 0;
  #written = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #spacing = LOOK_MS;

  /** Holds the queues together to `limit` bytes. */
  constructor(limit: number, queues: Iterable<Queue>) {
    this.#limit = limit;
    this.#queues = queues;
  }

  /** Whether history has to wait. It may have to for some milliseconds longer than necessary. */
  get full(): boolean {
    if (this.#unsent + this.#written < this.#limit * HISTORY_SHARE) return false;
    this.#lookSoon();
    return true;
  }

  /** Takes note of bytes that were written to a queue. */
  wrote(bytes: number): void {
    this.#written += bytes;
    if (this.#unsent + this.#written > this.#limit) this.#lookSoon();
  }

  /** Looks at all queues: bytes that are unsent now. */
  count(): number {
    this.#unsent = this.#written = 0;
    for (const { unsent } of this.#queues) this.#unsent += unsent;
    return this.#unsent;
  }

  /** Looks at no queue any more. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #lookSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, this.#spacing);
  }

  #look(): void {
    const start = performance.now();
    if (this.count() > this.#limit) this.#cut();
    this.#spacing = Math.max(LOOK_MS, (performance.now() - start) * LOOK_SPACING);
  }

  /** Closes those that have most unsent. */
  #cut(): void {
    const longest = [...this.#queues].map((queue) => ({ queue, unsent: queue.unsent }))
      .sort((a, b) => b.unsent - a.unsent);
    for (const { queue, unsent } of longest) {
      if (this.#unsent <= this.#limit * CUT_TO) return;
      queue.close("slow");
      this.#unsent -= unsent;
    }
  }
}
