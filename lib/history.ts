/**
 * The recent messages of one channel.
 *
 * @module
 */
import type { Message } from "./message.ts";

/** What a kept message costs beyond its data, in bytes: the object, its slot, short strings. */
export const MESSAGE_OVERHEAD = 128;

/** Slots below which a list that has become too long is left as it is. */
const FEW = 32;

/**
 * A bounded run of messages with consecutive seq. Adding and evicting cost the same however many
 * are kept.
 */
export class History {
  /** A ring: the message of a seq is in the slot of its last bits. The length is a power of two. */
  #slots: (Message | undefined)[] = [];
  /** Seq of the oldest. */
  #first = 0;
  #length = 0;
  #bytes = 0;

  /** How many messages are kept. */
  get length(): number {
    return this.#length;
  }

  /** UTF-8 bytes of all data kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that count against the memory limit. */
  get cost(): number {
    return this.#bytes + this.#length * MESSAGE_OVERHEAD;
  }

  /** The oldest message kept; undefined when there is none. */
  get oldest(): Message | undefined {
    return this.#slots[this.#slotOf(this.#first)];
  }

  /**
   * Adds the next message, and forgets the oldest ones first so that there are at most `most`. Its seq
   * must be one more than the last kept.
   */
  push(message: Message, most: number = Infinity): void {
    if (most < 1) return this.trim(0, Infinity);
    while (this.#length >= most) this.#drop();
    if (this.#length === 0) this.#first = message.seq;
    if (this.#length === this.#slots.length) {
      // Most channels have one message. A list made with it takes less than one that grew.
      if (this.#length === 0) this.#slots = [undefined];
      else this.#resize(this.#length * 2);
    }
    this.#slots[this.#slotOf(message.seq)] = message;
    this.#length++;
    this.#bytes += message.bytes;
  }

  /** Forgets messages until at most `count` are left, all of them accepted after `time`. */
  trim(count: number, time: number): void {
    const { length } = this;
    while (this.#length > count) this.#drop();
    while (this.#length > 0 && this.oldest!.time <= time) this.#drop();
    if (this.#length < length) this.#shrink();
  }

  /**
   * The messages after `seq`, oldest first: as many as fit into `maxBytes`, but at least one if
   * there is one.
   */
  after(seq: number, maxBytes: number): Message[] {
    const messages: Message[] = [];
    const end = this.#first + this.#length;
    let bytes = 0;
    for (let next = Math.max(this.#first, seq + 1); next < end; next++) {
      const message = this.#slots[this.#slotOf(next)]!;
      bytes += message.bytes + MESSAGE_OVERHEAD;
      if (bytes > maxBytes && messages.length > 0) break;
      messages.push(message);
    }
    return messages;
  }

  /** Forgets the oldest message; there must be one. */
  #drop(): void {
    const slot = this.#slotOf(this.#first);
    this.#bytes -= this.#slots[slot]!.bytes;
    this.#slots[slot] = undefined;
    this.#first++;
    this.#length--;
  }

  #shrink(): void {
    if (this.#length === 0) {
      this.#slots = [];
      return;
    }
    let fitting = this.#slots.length;
    while (fitting > FEW && this.#length * 4 <= fitting) fitting /= 2;
    if (fitting < this.#slots.length) this.#resize(fitting);
  }

  #slotOf(seq: number): number {
    return seq & (this.#slots.length - 1);
  }

  #resize(length: number): void {
    const slots = new Array<Message | undefined>(length).fill(undefined);
    for (const message of this.#slots) {
      if (message !== undefined) slots[message.seq & (length - 1)] = message;
    }
    this.#slots = slots;
  }
}
