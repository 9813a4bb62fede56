/**
 * The unsent bytes of all subscribers together, held to a limit.
 *
 * @module
 */

/** The queue of a subscriber. */
export interface Queue {
  /** Bytes of memory that its unsent messages take. */
  readonly unsent: number;
  /** Closes the subscriber, because too much is unsent. */
  close(reason: "slow"): void;
}

/** Share of the limit that history may fill. The rest is for live messages. */
const HISTORY_SHARE = 3 / 4;
/** Once the limit is exceeded, queues are cut until this share of it is left. */
const CUT_TO = 0.9;
/**
 * Least time between two looks at all queues: in milliseconds, and in times of how long a look
 * takes.
 */
const CHECK_MS = 10;
const CHECK_SPACING = 20;

/**
 * Adds up the bytes that are written, which costs nothing. Only if they exceed the room that was
 * left at the last look, a timer looks at all queues again. By then the runtime has written what it
 * could, so a queue holds only bytes that its client has not taken.
 */
export class Unsent {
  readonly #limit: number;
  readonly #queues: Iterable<Queue>;
  /** Bytes that were unsent at the last look, and those written since. */
  #unsent = 0;
  #written = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #spacing = CHECK_MS;

  /** Holds all these queues together to `limit` bytes. */
  constructor(limit: number, queues: Iterable<Queue>) {
    this.#limit = limit;
    this.#queues = queues;
  }

  /** Whether history has to wait. It may wait some milliseconds longer than necessary. */
  get full(): boolean {
    if (this.#unsent + this.#written < this.#limit * HISTORY_SHARE) return false;
    this.#checkSoon();
    return true;
  }

  /** Counts bytes that were written to a queue. */
  wrote(bytes: number): void {
    this.#written += bytes;
    if (this.#unsent + this.#written > this.#limit) this.#checkSoon();
  }

  /** Looks at all queues, and returns the bytes that are unsent now. */
  count(): number {
    this.#unsent = this.#written = 0;
    for (const { unsent } of this.#queues) this.#unsent += unsent;
    return this.#unsent;
  }

  /** Stops looking at the queues. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #checkSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#check();
    }, this.#spacing);
  }

  #check(): void {
    const start = performance.now();
    if (this.count() > this.#limit) this.#cut();
    this.#spacing = Math.max(CHECK_MS, (performance.now() - start) * CHECK_SPACING);
  }

  /** Closes the subscribers that have the most unsent bytes. */
  #cut(): void {
    const largest = [...this.#queues].map((queue) => ({ queue, unsent: queue.unsent }))
      .sort((a, b) => b.unsent - a.unsent);
    for (const { queue, unsent } of largest) {
      if (this.#unsent <= this.#limit * CUT_TO) return;
      queue.close("slow");
      this.#unsent -= unsent;
    }
  }
}
