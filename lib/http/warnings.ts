/**
 * Warnings about requests. However many there are, the log gets one line per second and code.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";

/** Facts that go with a warning, by name. */
export type Facts = Record<string, string | number>;

/** Writes one warning. */
export type Warn = (message: string, facts: Facts) => void;

/** Time between two lines of one code, in milliseconds. */
const PAUSE_MS = 1000;
/** Most characters of a fact that are shown: clients choose how long theirs are. */
const MAX_FACT = 200;

/**
 * Warns at most once per second and code. It writes the first warning at once. Of those within the
 * next second it writes the last one, with the number of the others as `left_out`.
 */
export class Warnings {
  readonly #wheel: TimerWheel;
  readonly #write: Warn;
  readonly #pauses = new Map<string, Pause>();

  /** Warnings that `write` writes, timed by `wheel`. */
  constructor(wheel: TimerWheel, write: Warn) {
    this.#wheel = wheel;
    this.#write = write;
  }

  /**
   * Warns.
   *
   * @param code The reason, in snake_case: one of a few, never a word of a client.
   * @param message The same for all warnings of a code, without a word of a client.
   * @param facts The particulars of this one. Long texts are cut.
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

/** Holds back the warnings of one code for a second. */
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
