/**
 * When to flush: at the end of the turn, or a moment later where one write can then do for many.
 *
 * @module
 */

/** A flush with at least this many messages per channel is assumed to come from many publishers. */
const MANY = 4;
/** A flush that takes at least so many milliseconds with all its writes is long: some 500 writes. */
const LONG_MS = 4;
/** The pause after a long flush, as a share of the time that it took. */
const PAUSE = 0.5;
/** The longest wait, in milliseconds. */
const MAX_PAUSE_MS = 4;

/**
 * Sends what one turn may of what is pending, and returns how many messages each channel had, on
 * average. May schedule the next flush.
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
    // Always flush from setImmediate. If a timer ran it, the setImmediate in `#run` would fire in the
    // same turn, before the runtime has written anything.
    const run = () => void setImmediate(() => this.#run(flush));
    if (pause > 0) this.#wait(run, pause);
    else run();
  }

  #run(flush: Flush): void {
    const start = this.#now();
    this.#writing = true;
    // What a flush leaves over is there already: nobody has to be waited for.
    if (flush() < MANY || this.#next !== undefined) return this.#goOn();
    // The runtime writes what was flushed before the next turn.
    setImmediate(() => {
      const end = this.#now();
      const took = end - start;
      if (took >= LONG_MS) this.#pausedUntil = end + Math.min(took * PAUSE, MAX_PAUSE_MS);
      this.#goOn();
    });
  }

  #goOn(): void {
    this.#writing = false;
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.schedule(next);
  }
}
