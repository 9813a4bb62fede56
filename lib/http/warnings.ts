/**
 * Warnings about what clients do: however often they do it, the log gets one line a second.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";

/** Facts that go with a warning, by name. */
export type Facts = Record<string, string | number>;

/** Writes one warning. */
export type Warn = (message: string, facts: Facts) => void;

/** Milliseconds between two lines of one code. */
const PAUSE_MS = 1000;
/** Characters of a fact that are shown: clients choose how long theirs are. */
const MAX_FACT = 200;

/**
 * Warns at most once a second for each code. The first warning is written at once. Of those within the
 * second after it the last one is, with the number of the others as `left_out`.
 */
export class Warnings {
  readonly #wheel: TimerWheel;
  readonly #write: Warn;
  readonly #pauses = new Map<string, Pause>();

  /** Warnings that are written by `write` and take their time from `wheel`. */
  constructor(wheel: TimerWheel, write: Warn) {
    this.#wheel = wheel;
    this.#write = write;
  }

  /**
   * Warns.
   *
   * @param code Why, in snake_case: one of a few, never a client's word.
   * @param message The same for all of a code, and no client's word either.
   * @param facts What is particular to this one; long texts are cut.
   */
  warn(code: string, message: string, facts: Record<string, string>): void {
    const fields: Facts = { code };
    for (const [name, fact] of Object.entries(facts)) fields[name] = cut(fact);
    const pause = this.#pauses.get(code);
    if (pause !== undefined) return pause.hold(fields);
    this.#write(message, fields);
    const end = () => void this.#pauses.delete(code);
    const started = new Pause(this.#wheel, (fields) => this.#write(message, fields), end);
    this.#pauses.set(code, started);
  }
}

/** Holds warnings of one code back for a second. */
class Pause implements Timed {
  due = 0;
  readonly #wheel: TimerWheel;
  readonly #write: (fields: Facts) => void;
  readonly #end: () => void;
  #held = 0;
  #last: Facts = {};

  constructor(wheel: TimerWheel, write: (fields: Facts) => void, end: () => void) {
    this.#wheel = wheel;
    this.#write = write;
    this.#end = end;
    wheel.set(this, PAUSE_MS);
  }

  hold(fields: Facts): void {
    this.#held++;
    this.#last = fields;
  }

  onDue(): void {
    if (this.#held === 0) return this.#end();
    this.#write(this.#held === 1 ? this.#last : { ...this.#last, left_out: this.#held - 1 });
    this.#held = 0;
    this.#wheel.set(this, PAUSE_MS);
  }
}

function cut(text: string): string {
  return text.length > MAX_FACT ? text.slice(0, MAX_FACT) + "…" : text;
}
