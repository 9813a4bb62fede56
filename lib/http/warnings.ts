/**
 * Warnings about requests. However many there are, the log gets at most one line per second and
 * code.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";

/** The details of a warning, by name. */
export type Facts = Record<string, string | number>;

/** Writes one warning. */
export type Warn = (message: string, facts: Facts) => void;

/** The time between two lines with the same code, in milliseconds. */
const PAUSE_MS = 1000;
/** The most characters of a fact that are shown. Clients can make facts long. */
const MAX_FACT = 200;

/**
 * Warns at most once per second and code. It writes the first warning at once. At the end of each
 * second it writes the last warning of that second, with the number of the others as `left_out`.
 */
export class Warnings {
  readonly #wheel: TimerWheel;
  readonly #write: Warn;
  readonly #pauses = new Map<string, Pause>();

  /** Passes warnings to `write`, and uses `wheel` to time the pauses. */
  constructor(wheel: TimerWheel, write: Warn) {
    this.#wheel = wheel;
    this.#write = write;
  }

  /**
   * Writes a warning, or holds it back.
   *
   * @param code The reason, in snake_case. One of a few, and never a text from a client.
   * @param message The same for all warnings with this code. It contains no text from a client.
   * @param facts The details of this warning. Long texts are cut.
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

/** Holds back the warnings with one code, a second at a time. Ends after a second without any. */
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
