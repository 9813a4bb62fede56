/**
 * The recent messages of one channel.
 *
 * @module
 */
import type { Message } from "../core/message.ts";
import { type Holdings, MESSAGE_OVERHEAD, type SharedText } from "./cost.ts";

/** A message as a history keeps it. */
export interface KeptMessage extends Message {
  /** Bytes of memory that it takes, without its data if the data is shared. */
  readonly cost: number;
  /**
   * The text that it shares with messages of other channels. Most messages share none and lack the
   * field.
   */
  readonly shared?: SharedText;
  /** Its row, if the engine also keeps it in a file. */
  readonly row?: number;
}

/** A ring of at most this many slots keeps its size until it is empty. */
const SMALL_RING = 32;

/** Placeholder shared by all histories of at most one message. Never written to. */
const NO_SLOTS: (KeptMessage | undefined)[] = [];

/**
 * A bounded list of messages with consecutive seq. Adding and evicting a message take the same
 * time, however many messages are kept.
 */
export class History {
  /**
   * A ring. The low bits of a seq select the slot of its message. The number of slots is a power of
   * two, or 0 if there is no ring. Without a ring the history keeps at most one message, in
   * `#only`. Most channels keep one message. Without a ring it takes less memory, and fewer memory
   * accesses.
   */
  #slots = NO_SLOTS;
  #only: KeptMessage | undefined;
  /** Seq of the oldest message. */
  #first = 0;
  #length = 0;
  #bytes = 0;

  /** Number of messages kept. */
  get length(): number {
    return this.#length;
  }

  /** UTF-8 bytes of all data kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest message kept. Undefined if there is none. */
  get oldest(): KeptMessage | undefined {
    return this.#at(this.#first);
  }

  /** The newest message kept. Undefined if there is none. */
  get newest(): KeptMessage | undefined {
    return this.#at(this.#first + this.#length - 1);
  }

  /**
   * Adds the next message. First forgets the oldest ones, so that at most `maxCount` are then kept.
   * The seq of the message must be one more than that of the newest.
   *
   * @param holdings The totals over all histories, including this one. They are updated.
   */
  push(message: KeptMessage, maxCount: number, holdings: Holdings): void {
    if (maxCount < 1) {
      this.trim(0, Infinity, holdings);
      holdings.onEvict?.(message);
      return;
    }
    while (this.#length >= maxCount) this.#drop(holdings);
    if (this.#length === 0) this.#first = message.seq;
    if (this.#length > 0 && this.#length >= this.#slots.length) this.#resize(this.#length * 2);
    if (this.#slots === NO_SLOTS) this.#only = message;
    else this.#slots[this.#slotOf(message.seq)] = message;
    this.#length++;
    this.#bytes += message.bytes;
    holdings.messages++;
    holdings.bytes += message.bytes;
    holdings.held += message.cost;
    if (message.shared !== undefined && ++message.shared.keepers === 1) {
      holdings.held += message.shared.held;
    }
  }

  /**
   * Forgets the oldest messages until at most `count` are left, all of them accepted after `time`.
   *
   * @param holdings Updated, as by `push`.
   */
  trim(count: number, time: number, holdings: Holdings): void {
    const { length } = this;
    while (this.#length > 0 && this.#length > count) this.#drop(holdings);
    while (this.#length > 0 && this.oldest!.time <= time) this.#drop(holdings);
    if (this.#length < length) this.#shrink();
  }

  /**
   * The messages after `seq`, oldest first: as many as fit into `maxBytes`, but at least one if
   * there is any.
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

  /** Forgets the oldest message. There must be one. */
  #drop(holdings: Holdings): void {
    const oldest = this.oldest!;
    const { bytes, cost, shared } = oldest;
    this.#bytes -= bytes;
    holdings.messages--;
    holdings.bytes -= bytes;
    holdings.held -= cost;
    if (shared !== undefined && --shared.keepers === 0) holdings.held -= shared.held;
    if (this.#slots === NO_SLOTS) this.#only = undefined;
    else this.#slots[this.#slotOf(this.#first)] = undefined;
    this.#first++;
    this.#length--;
    holdings.onEvict?.(oldest);
  }

  #shrink(): void {
    if (this.#length === 0) {
      this.#slots = NO_SLOTS;
      return;
    }
    let fitting = this.#slots.length;
    while (fitting > SMALL_RING && this.#length * 4 <= fitting) fitting /= 2;
    if (fitting < this.#slots.length) this.#resize(fitting);
  }

  /** The message with a seq that is kept. Undefined if nothing is kept. */
  #at(seq: number): KeptMessage | undefined {
    return this.#slots === NO_SLOTS ? this.#only : this.#slots[this.#slotOf(seq)];
  }

  #slotOf(seq: number): number {
    return seq & (this.#slots.length - 1);
  }

  #resize(length: number): void {
    const slots = new Array<KeptMessage | undefined>(length).fill(undefined);
    for (const message of this.#slots === NO_SLOTS ? [this.#only] : this.#slots) {
      if (message !== undefined) slots[message.seq & (length - 1)] = message;
    }
    this.#slots = slots;
    this.#only = undefined;
  }
}
