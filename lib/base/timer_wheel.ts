/**
 * One timer for all subscribers: heartbeats and deadlines cost a slot in a wheel instead of a
 * timer each.
 *
 * @module
 */

/** Something that wants to be called at a time. */
export interface Timed {
  /** When, in the wheel's milliseconds. Belongs to the wheel while it is set. */
  due: number;
  /** Called once, at `due` or up to one tick later. */
  onDue(): void;
}

const SLOTS = 256;

/** A hashed timer wheel. What is due beyond one turn of it waits in its slot for another turn. */
export class TimerWheel {
  readonly #tickMs: number;
  readonly #clock: () => number;
  readonly #slots: Set<Timed>[] = Array.from({ length: SLOTS }, () => new Set());
  #tick: number;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** The time of the last tick in milliseconds: coarse, but free to read. */
  now: number;

  /**
   * A wheel with nothing set, that does not tick yet.
   *
   * @param options `tickMs` is the resolution, `clock` gives milliseconds that never go back.
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

  /** Stops ticking; what is set stays set. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Calls `timed` in `delayMs`, at the earliest. It must not be set already. */
  set(timed: Timed, delayMs: number): void {
    timed.due = this.#clock() + delayMs;
    this.#insert(timed);
  }

  /** Forgets `timed`; does nothing when it is not set. */
  clear(timed: Timed): void {
    this.#slots[this.#slotOf(timed)].delete(timed);
  }

  /** Calls everything that is due by the clock. */
  advance(): void {
    this.now = this.#clock();
    const tick = Math.floor(this.now / this.#tickMs);
    // After a long sleep one turn visits every slot.
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
