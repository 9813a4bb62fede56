/**
 * Limits the unsent bytes of all subscribers together.
 *
 * @module
 */

/** The queue of one subscriber. */
export interface Queue {
  /** Bytes of memory that its unsent messages take. */
  readonly unsent: number;
  /** Closes the subscriber, because too much is unsent. */
  close(reason: "slow"): void;
}

/** History waits once this share of the limit is unsent. The rest is for live messages. */
const HISTORY_SHARE = 3 / 4;
/** If the limit is exceeded, subscribers are closed until this share of it is left. */
const CUT_TO = 0.9;
/**
 * The shortest time between two checks of all queues: in milliseconds, and as a multiple of the
 * time that a check takes.
 */
const CHECK_MS = 10;
const CHECK_SPACING = 20;

/**
 * Adds up the bytes that are written, which costs nothing. It checks all queues, from a timer, only
 * when these bytes exceed the room that the last check found, or when history has to wait. By then
 * the runtime has written what it could, so a queue holds only bytes that its client has not taken.
 */
export class Unsent {
  readonly #limit: number;
  readonly #queues: Iterable<Queue>;
  /** Bytes that were unsent at the last check, and bytes written since. */
  #unsent = 0;
  #written = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #spacing = CHECK_MS;

  /** Limits all these queues together to `limit` bytes. */
  constructor(limit: number, queues: Iterable<Queue>) {
    this.#limit = limit;
    this.#queues = queues;
  }

  /** Whether history has to wait. This may stay true some milliseconds longer than necessary. */
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

  /** Checks all queues. Returns how many bytes are unsent now. */
  count(): number {
    this.#unsent = this.#written = 0;
    for (const { unsent } of this.#queues) this.#unsent += unsent;
    return this.#unsent;
  }

  /** Stops checking the queues. */
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

  /** Closes the subscribers with the most unsent bytes. */
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
