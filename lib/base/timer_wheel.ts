/**
 * One timer for all subscribers. A heartbeat or deadline costs a slot in a wheel instead of a
 * timer.
 *
 * @module
 */

/** Something to call at a certain time. */
export interface Timed {
  /** When to call it, in milliseconds of the wheel. Belongs to the wheel while it is set. */
  due: number;
  /** Called once, at `due` or up to one tick later. */
  onDue(): void;
}

const SLOTS = 256;

/** A hashed timer wheel. Items that are due after more than one turn wait in their slot. */
export class TimerWheel {
  readonly #tickMs: number;
  readonly #clock: () => number;
  readonly #slots: Set<Timed>[] = Array.from({ length: SLOTS }, () => new Set());
  #tick: number;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** The time of the last tick, in milliseconds. Coarse, but free to read. */
  now: number;

  /**
   * A wheel with nothing set. It does not tick yet.
   *
   * @param options `tickMs` is the resolution. `clock` returns milliseconds that never go back.
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

  /** Starts ticking until `stop()`. */
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

  /** Calls everything that is due. */
  advance(): void {
    this.now = this.#clock();
    const tick = Math.floor(this.now / this.#tickMs);
    // After a long pause, one turn visits every slot.
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

  #insert(timed: Timed): void {
    this.#slots[this.#slotOf(timed)].add(timed);
  }

  #slotOf(timed: Timed): number {
    return (Math.floor(timed.due / this.#tickMs) + 1) % SLOTS;
  }
}
