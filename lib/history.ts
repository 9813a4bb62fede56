/**
 * The recent messages of one channel.
 *
 * @module
 */
import type { Message } from "./message.ts";

/** What a kept message costs beyond its data, in bytes: the object, its slot, short strings. */
export const MESSAGE_OVERHEAD = 128;

/**
 * A bounded run of messages with consecutive seq. Adding and evicting cost the same however many
 * are kept.
 */
export class History {
  #messages: Message[] = [];
  /** Index of the oldest; the slots before it are spent and are given back now and then. */
  #start = 0;
  #bytes = 0;

  /** How many messages are kept. */
  get length(): number {
    return this.#messages.length - this.#start;
  }

  /** UTF-8 bytes of all data kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that count against the memory limit. */
  get cost(): number {
    return this.#bytes + this.length * MESSAGE_OVERHEAD;
  }

  /** The oldest message kept; undefined when there is none. */
  get oldest(): Message | undefined {
    return this.#messages[this.#start];
  }

  /** Adds the next message. Its seq must be one more than the last kept. */
  push(message: Message): void {
    // An array made for one takes an eighth of one that was pushed to, and most channels have few.
    if (this.#messages.length === 0) this.#messages = [message];
    else this.#messages.push(message);
    this.#bytes += message.bytes;
  }

  /** Forgets the oldest message; does nothing when there is none. */
  evict(): void {
    const oldest = this.oldest;
    if (oldest === undefined) return;
    this.#bytes -= oldest.bytes;
    this.#start++;
    if (this.#start === this.#messages.length) {
      this.#messages = [];
      this.#start = 0;
    } else if (this.#start >= 32 && this.#start * 2 >= this.#messages.length) {
      this.#messages = this.#messages.slice(this.#start);
      this.#start = 0;
    }
  }

  /** Forgets messages until at most `count` are left, all of them accepted after `time`. */
  trim(count: number, time: number): void {
    while (this.length > count) this.evict();
    while (this.length > 0 && this.oldest!.time <= time) this.evict();
  }

  /**
   * The messages after `seq`, oldest first: as many as fit into `maxBytes`, but at least one if
   * there is one.
   */
  after(seq: number, maxBytes: number): Message[] {
    if (this.length === 0) return [];
    const start = this.#start + Math.max(0, seq + 1 - this.oldest!.seq);
    let end = start;
    for (let bytes = 0; end < this.#messages.length; end++) {
      bytes += this.#messages[end].bytes + MESSAGE_OVERHEAD;
      if (bytes > maxBytes && end > start) break;
    }
    return this.#messages.slice(start, end);
  }
}
