/**
 * The rule that holds back publishers, the same for every server. A message is in flight until all
 * readers have it, and the number of messages in flight is limited.
 *
 * @module
 */
import { PATIENCE_MS, sleep } from "./connection.ts";

/** If nothing arrives for this time, in milliseconds, the missing messages count as lost. */
const STALL_MS = 3000;

/** The messages of one channel that are in flight. */
export class Window {
  readonly #size: number;
  readonly #readers: number;
  readonly #mask: number;
  /** How many readers still lack a message, by its place in a ring. */
  readonly #missing: Int32Array;
  readonly #received: Int32Array;
  /** Messages sent. */
  published = 0;
  /** Messages that every reader has. */
  completed = 0;
  /** Deliveries: each message counts once per reader that has it. */
  delivered = 0;

  /**
   * Begins with nothing in flight.
   *
   * @param size Most messages in flight.
   */
  constructor(size: number, readers: number) {
    this.#size = size;
    this.#readers = readers;
    this.#mask = (1 << Math.ceil(Math.log2(size + 1))) - 1;
    this.#missing = new Int32Array(this.#mask + 1).fill(readers);
    this.#received = new Int32Array(readers);
  }

  /** How many messages may be sent now. */
  get room(): number {
    return this.#size - (this.published - this.completed);
  }

  /** Counts messages at a reader. Returns whether all readers now have at least one more. */
  receive(reader: number, messages: number): boolean {
    this.delivered += messages;
    const from = this.#received[reader];
    const to = this.#received[reader] = from + messages;
    if (to > this.published) throw new Error("A reader got more messages than were published");
    const before = this.completed;
    for (let seq = from; seq < to; seq++) {
      const place = seq & this.#mask;
      if (--this.#missing[place] > 0) continue;
      this.#missing[place] = this.#readers;
      this.completed++;
    }
    return this.completed > before;
  }

  /** Resolves when every reader has every message. Rejects if one is lost. */
  async drained(): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    let seen = this.delivered;
    let since = performance.now();
    while (this.completed < this.published) {
      await sleep(5);
      const now = performance.now();
      if (this.delivered !== seen) {
        seen = this.delivered;
        since = now;
      }
      if (now - since < STALL_MS && now < deadline) continue;
      const all = this.published * this.#readers;
      throw new Error(`${all - this.delivered} of ${all} deliveries are missing`);
    }
  }
}
