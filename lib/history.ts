/**
 * The recent messages of one channel.
 *
 * @module
 */
import type { Message } from "./message.ts";

/** What a kept message costs beyond its data, in bytes: the object, its slot, short strings. */
export const MESSAGE_OVERHEAD = 128;

/** Slots below which a ring that has become too large is left as it is. */
const FEW = 32;

/** The ring of who has no ring: shared, and never written to. */
const NO_SLOTS: (Message | undefined)[] = [];

/**
 * A bounded run of messages with consecutive seq. Adding and evicting cost the same however many
 * are kept.
 */
export class History {
  /**
   * A ring: the message of a seq is in the slot of its last bits. The length is a power of two, or 0
   * for at most one message, which is `#only`. Most channels have one: without a ring it takes less
   * memory, and fewer places of it to look at.
   */
  #slots = NO_SLOTS;
  #only: Message | undefined;
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
    return this.#at(this.#first);
  }

  /**
   * Adds the next message, and forgets the oldest ones first so that there are at most `most`. Its seq
   * must be one more than the last kept.
   */
  push(message: Message, most: number = Infinity): void {
    if (most < 1) return this.trim(0, Infinity);
    while (this.#length >= most) this.#drop();
    if (this.#length === 0) this.#first = message.seq;
    if (this.#length > 0 && this.#length >= this.#slots.length) this.#resize(this.#length * 2);
    if (this.#slots === NO_SLOTS) this.#only = message;
    else this.#slots[this.#slotOf(message.seq)] = message;
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
      const message = this.#at(next)!;
      bytes += message.bytes + MESSAGE_OVERHEAD;
      if (bytes > maxBytes && messages.length > 0) break;
      messages.push(message);
    }
    return messages;
  }

  /** Forgets the oldest message; there must be one. */
  #drop(): void {
    // Without a look at the last one: it may be far away in memory.
    this.#bytes = this.#length === 1 ? 0 : this.#bytes - this.oldest!.bytes;
    if (this.#slots === NO_SLOTS) this.#only = undefined;
    else this.#slots[this.#slotOf(this.#first)] = undefined;
    this.#first++;
    this.#length--;
  }

  #shrink(): void {
    if (this.#length === 0) {
      this.#slots = NO_SLOTS;
      return;
    }
    let fitting = this.#slots.length;
    while (fitting > FEW && this.#length * 4 <= fitting) fitting /= 2;
    if (fitting < this.#slots.length) this.#resize(fitting);
  }

  /** The message of a seq that is kept. */
  #at(seq: number): Message | undefined {
    return this.#slots === NO_SLOTS ? this.#only : this.#slots[this.#slotOf(seq)];
  }

  #slotOf(seq: number): number {
    return seq & (this.#slots.length - 1);
  }

  #resize(length: number): void {
    const slots = new Array<Message | undefined>(length).fill(undefined);
    for (const message of this.#slots === NO_SLOTS ? [this.#only] : this.#slots) {
      if (message !== undefined) slots[message.seq & (length - 1)] = message;
    }
    this.#slots = slots;
    this.#only = undefined;
  }
}
