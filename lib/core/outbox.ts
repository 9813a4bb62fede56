/**
 * The messages that wait for delivery. They are delivered in parts, so that neither a large batch
 * nor many subscribers block the event loop.
 *
 * @module
 */
import type { Channel } from "./channel.ts";
import { FRAME_COST } from "./frame_queue.ts";
import { type Batch, type Message, MESSAGE_COST } from "./message.ts";
import type { Subscription } from "./subscription.ts";

/** Maximum number of messages that one turn delivers. */
const TURN_MESSAGES = 256;
/**
 * Limits of one turn, as shares of `maxQueue`: for the bytes of data, and for the bytes that the
 * frames take if each message has its own.
 */
const TURN_BYTES_SHARE = 1 / 8;
const TURN_FRAMES_SHARE = 1 / 4;
/** How long one turn may deliver, in milliseconds. */
const TURN_MS = 8;
/**
 * If more messages or bytes than this are pending, a turn delivers all that it can in `FLOOD_MS`.
 * Otherwise messages would pile up when they arrive faster than they are delivered. A single
 * request to one channel stays below these limits.
 */
const FLOOD_MESSAGES = 65_536;
const FLOOD_BYTES = 16 * 1024 * 1024;
const FLOOD_MS = 50;
/** How many messages are delivered between two readings of the clock. */
const CLOCK_INTERVAL = 256;

/** The channels that have messages to deliver. */
export class Outbox {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  /** Channels with pending messages, each once, in the order in which they are served. */
  #channels: Channel[] = [];
  /** The number of pending messages of all channels, and their bytes. */
  #messages = 0;
  #bytes = 0;
  /** The batch that is being delivered, and the subscriptions that have yet to get it. */
  #batch: Batch | undefined;
  #rest: Iterator<Subscription> & Iterable<Subscription> = new Set<Subscription>().values();

  /**
   * An empty outbox.
   *
   * @param maxQueue Maximum number of bytes that a subscriber may have unsent. A turn delivers only
   * a part of that, so that one large publish never cuts a subscriber that reads.
   */
  constructor({ maxQueue }: { maxQueue: number }) {
    const frames = Math.max(1, Math.floor(maxQueue * TURN_FRAMES_SHARE / FRAME_COST));
    this.#maxMessages = Math.min(TURN_MESSAGES, frames);
    this.#maxBytes = maxQueue * TURN_BYTES_SHARE;
  }

  /** Whether there is nothing to deliver. */
  get empty(): boolean {
    return this.#channels.length === 0 && this.#batch === undefined;
  }

  /** Takes a message for the subscribers of a channel. */
  push(channel: Channel, message: Message): void {
    this.#messages++;
    this.#bytes += message.bytes + MESSAGE_COST;
    if (channel.push(message)) this.#channels.push(channel);
  }

  /**
   * Delivers as much as one turn may. Returns how many messages each channel had, on average. A
   * channel that has messages left is served again after the others.
   */
  flush(): number {
    const flooded = this.#messages > FLOOD_MESSAGES || this.#bytes > FLOOD_BYTES;
    const maxMessages = flooded ? Infinity : this.#maxMessages;
    const maxBytes = flooded ? Infinity : this.#maxBytes;
    const end = performance.now() + (flooded ? FLOOD_MS : TURN_MS);
    let messages = this.#batch?.messages.length ?? 0;
    let batches = this.#batch === undefined ? 0 : 1;
    if (!this.#deliver(end)) return messages;
    const channels = this.#channels;
    this.#channels = [];
    let bytes = 0;
    let next = 0;
    while (next < channels.length && messages < maxMessages && bytes < maxBytes) {
      const channel = channels[next++];
      const batch = channel.take(maxMessages - messages, maxBytes - bytes);
      if (channel.pending) this.#channels.push(channel);
      const { cost } = batch;
      messages += batch.messages.length;
      bytes += cost;
      this.#messages -= batch.messages.length;
      this.#bytes -= cost;
      batches++;
      this.#batch = batch;
      this.#rest = channel.subscriptions();
      if (!this.#deliver(end)) break;
    }
    if (next < channels.length) this.#channels = channels.slice(next).concat(this.#channels);
    return batches === 0 ? 0 : messages / batches;
  }

  /** Continues with the current batch. False if time ran out before all subscriptions got it. */
  #deliver(end: number): boolean {
    const batch = this.#batch;
    if (batch === undefined) return true;
    const weight = batch.messages.length;
    let sinceClock = 0;
    // A Set may change during iteration: members that are removed are not visited, no others are
    // skipped.
    for (const subscription of this.#rest) {
      subscription.deliver(batch);
      sinceClock += weight;
      if (sinceClock < CLOCK_INTERVAL) continue;
      sinceClock = 0;
      if (performance.now() >= end) return false;
    }
    this.#batch = undefined;
    return true;
  }
}
