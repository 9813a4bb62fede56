/**
 * The rule that holds back publishers, the same for every server: so many messages may be under way
 * that not all readers have.
 *
 * @module
 */
import { PATIENCE_MS, sleep } from "./connection.ts";

/** How long nothing may arrive before something must be lost, in milliseconds. */
const STALL_MS = 3000;

/** Messages of one channel that are under way. */
export class Window {
  readonly #size: number;
  readonly #readers: number;
  readonly #mask: number;
  /** How many readers still miss a message, by its place in the channel. */
  readonly #missing: Int32Array;
  readonly #received: Int32Array;
  /** Messages sent. */
  published = 0;
  /** Messages that every reader has. */
  completed = 0;
  /** Messages that readers got, counted once for each. */
  delivered = 0;

  /**
   * Nothing is under way.
   *
   * @param size Most messages under way.
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

  /** Counts the messages of a reader. True if all readers now have another message. */
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
