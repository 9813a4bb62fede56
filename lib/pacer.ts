/**
 * When to flush: at the end of the turn, or a moment later where one write can then do for many.
 *
 * @module
 */

/** Messages a channel from which on a flush is taken for the work of many publishers. */
const MANY = 4;
/** Milliseconds from which on a flush, with all its writes, is long: some 500 of them. */
const LONG_MS = 4;
/** Share of a long flush that is waited after it. */
const PAUSE = 0.5;
/** The longest wait, in milliseconds. */
const MAX_PAUSE_MS = 4;

/**
 * Sends what is pending, and tells how many messages each channel had, on average.
 */
export type Flush = () => number;

/**
 * Runs one flush after the other.
 *
 * A publisher that has its answer needs a moment to come again. Where a server writes to hundreds of
 * subscribers all the time, that moment is what the next write waits for: each carries a few times
 * as many messages, and there are a few times fewer. Nobody waits where flushes are short, or where
 * they carry a message or two.
 */
export class Pacer {
  readonly #now: () => number;
  readonly #wait: (action: () => void, ms: number) => void;
  #pausedUntil = -Infinity;
  /** What was flushed last is still being written. */
  #writing = false;
  #next: Flush | undefined;

  /**
   * A pacer that lets the first flush pass at once.
   *
   * @param options `now` gives milliseconds that never go back, `wait` does something after some.
   */
  constructor({ now = () => performance.now(), wait = setTimeout }: {
    now?: () => number;
    wait?: (action: () => void, ms: number) => void;
  } = {}) {
    this.#now = now;
    this.#wait = wait;
  }

  /** Runs `flush` after all that is ready now. Must not be called again before it has run. */
  schedule(flush: Flush): void {
    if (this.#writing) {
      this.#next = flush;
      return;
    }
    const pause = this.#pausedUntil - this.#now();
    // Never from a timer: an immediate of the same turn would come before the writes.
    const run = () => void setImmediate(() => this.#run(flush));
    if (pause > 0) this.#wait(run, pause);
    else run();
  }

  #run(flush: Flush): void {
    const start = this.#now();
    if (flush() < MANY) return;
    this.#writing = true;
    // The runtime writes what was flushed before the next turn.
    setImmediate(() => {
      this.#writing = false;
      const end = this.#now();
      const took = end - start;
      if (took >= LONG_MS) this.#pausedUntil = end + Math.min(took * PAUSE, MAX_PAUSE_MS);
      const next = this.#next;
      this.#next = undefined;
      if (next !== undefined) this.schedule(next);
    });
  }
}
