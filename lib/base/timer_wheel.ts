/**
 * One timer for all subscribers. A heartbeat or deadline takes a place in a wheel instead of a
 * timer of its own.
 *
 * @module
 */

/** Something to call at a certain time. */
export interface Timed {
  /**
   * When to call it, in milliseconds of the wheel's clock. Only the wheel changes it while it is
   * set.
   */
  due: number;
  /** Called once, at `due` or up to one tick later. */
  onDue(): void;
}

const SLOTS = 256;

/** A hashed timer wheel. An item that is due after more than one rotation waits in its slot. */
export class TimerWheel {
  readonly #tickMs: number;
  readonly #clock: () => number;
  readonly #slots: Set<Timed>[] = Array.from({ length: SLOTS }, () => new Set());
  #tick: number;
  #lag = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** The time of the last tick, in milliseconds. Coarse, but reading it costs nothing. */
  now: number;

  /**
   * An empty wheel that does not tick yet.
   *
   * @param options `tickMs` is the resolution in milliseconds. `clock` returns milliseconds that
   * never decrease.
   */
  constructor(
    { tickMs = 100, clock = () => performance.now() }: { tickMs?: number; clock?: () => number } =
      {},
  ) {
    this.#tickMs = tickMs;
    this.#clock = clock;
    this.now = clock();
    this.#tick = Math.floor(this.now / tickMs);
  }

  /** Ticks until `stop()` is called. */
  start(): void {
    this.#timer ??= setInterval(() => this.advance(), this.#tickMs);
  }

  /** Stops ticking. Items stay set. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Calls `timed` after at least `delayMs`. It must not be set already. */
  set(timed: Timed, delayMs: number): void {
    timed.due = this.#clock() + delayMs;
    this.#insert(timed);
  }

  /** Forgets `timed`. Does nothing if it is not set. */
  clear(timed: Timed): void {
    this.#slots[this.#slotOf(timed)].delete(timed);
  }

  /** Calls every item that is due. */
  advance(): void {
    const before = this.now;
    this.now = this.#clock();
    this.#lag = Math.max(this.#lag, this.now - before - this.#tickMs);
    const tick = Math.floor(this.now / this.#tickMs);
    // After a long pause, visit each slot only once.
    const from = Math.max(this.#tick + 1, tick - SLOTS + 1);
    this.#tick = tick;
    for (let at = from; at <= tick; at++) {
      const slot = this.#slots[at % SLOTS];
      for (const timed of slot) {
        if (timed.due > this.now) continue;
        slot.delete(timed);
        timed.onDue();
      }
    }
  }

  /**
   * How late the latest tick since the last call was, in milliseconds: for so long the event loop did
   * nothing else.
   */
  takeLag(): number {
    const lag = this.#lag;
    this.#lag = 0;
    return lag;
  }

  #insert(timed: Timed): void {
    this.#slots[this.#slotOf(timed)].add(timed);
  }

  #slotOf(timed: Timed): number {
    return (Math.floor(timed.due / this.#tickMs) + 1) % SLOTS;
  }
}
