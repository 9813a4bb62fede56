/**
 * Decides when to flush: at the end of the turn, or a moment later if one write can then carry more
 * messages.
 *
 * @module
 */

/** A flush with at least this many messages per channel is assumed to come from many publishers. */
const MANY_MESSAGES = 4;
/**
 * A flush is long if it takes at least this many milliseconds, including all its writes. About 500
 * writes take that long.
 */
const LONG_FLUSH_MS = 4;
/** The pause after a long flush, as a share of the time that it took. */
const PAUSE_SHARE = 0.5;
/** The longest pause, in milliseconds. */
const MAX_PAUSE_MS = 4;

/**
 * Delivers as many pending messages as one turn may. Returns how many messages each channel had, on
 * average. May schedule the next flush.
 */
export type Flush = () => number;

/**
 * Runs one flush after another.
 *
 * A publisher that has its answer needs a moment before it publishes again. If the server keeps
 * writing to hundreds of subscribers, the next write waits for that moment. Each write then carries
 * a few times as many messages, and there are a few times fewer writes. If flushes are short, or
 * carry only a few messages per channel, the pacer does not wait.
 */
export class Pacer {
  readonly #now: () => number;
  readonly #wait: (action: () => void, ms: number) => void;
  #pausedUntil = -Infinity;
  /** Whether the last flush is still being written. */
  #writing = false;
  #next: Flush | undefined;

  /**
   * A pacer that runs the first flush at once.
   *
   * @param options `now` returns milliseconds that never decrease. `wait` calls `action` after `ms`
   * milliseconds.
   */
  constructor({ now = () => performance.now(), wait = setTimeout }: {
    now?: () => number;
    wait?: (action: () => void, ms: number) => void;
  } = {}) {
    this.#now = now;
    this.#wait = wait;
  }

  /**
   * Runs `flush` after all events that are ready now. Must not be called again before it has run.
   */
  schedule(flush: Flush): void {
    if (this.#writing) {
      this.#next = flush;
      return;
    }
    const pause = this.#pausedUntil - this.#now();
    // Always flush from setImmediate. If a timer ran it, the setImmediate in `#run` would fire in
    // the same turn, before the runtime has written anything.
    const run = () => void setImmediate(() => this.#run(flush));
    if (pause > 0) this.#wait(run, pause);
    else run();
  }

  #run(flush: Flush): void {
    const start = this.#now();
    this.#writing = true;
    // If messages are left, there is no need to wait for a publisher.
    if (flush() < MANY_MESSAGES || this.#next !== undefined) return this.#continue();
    // The runtime writes the flushed bytes before the next turn.
    setImmediate(() => {
      const end = this.#now();
      const took = end - start;
      if (took >= LONG_FLUSH_MS) {
        this.#pausedUntil = end + Math.min(took * PAUSE_SHARE, MAX_PAUSE_MS);
      }
      this.#continue();
    });
  }

  #continue(): void {
    this.#writing = false;
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.schedule(next);
  }
}
