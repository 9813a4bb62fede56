/**
 * One channel with local subscribers: collects what is published until the next flush, then hands
 * the same batch to everybody.
 *
 * @module
 */
import type { Cursor } from "./cursor.ts";
import type { Replay } from "./engine.ts";
import { Batch, type Message } from "./message.ts";
import type { Feed, Subscription } from "./subscriber.ts";

/** What a channel needs from the hub. */
export interface ChannelOwner {
  /** As `Engine.since`. */
  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay;
  /** The last subscription has left. */
  release(channel: Channel): void;
}

/** A channel that somebody here listens to. */
export class Channel implements Feed {
  /** Name of the channel. */
  readonly name: string;
  readonly #owner: ChannelOwner;
  /** A set may change while it is walked: who leaves is not called, nobody else is skipped. */
  readonly #subscriptions = new Set<Subscription>();
  #pending: Message[] = [];
  /**
   * Pending while the engine has not confirmed that it relays the channel. If it cannot, this is rejected
   * for good: nobody can join the channel any more.
   */
  watching: Promise<void> | undefined;

  /** A channel without subscriptions; `owner` answers for its history. */
  constructor(name: string, owner: ChannelOwner) {
    this.name = name;
    this.#owner = owner;
  }

  /** How many subscriptions there are. */
  get size(): number {
    return this.#subscriptions.size;
  }

  /** Adds a subscription; it gets what is flushed from now on. */
  join(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
  }

  leave(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    if (this.#subscriptions.size === 0) this.#owner.release(this);
  }

  since(cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay {
    return this.#owner.since(this.name, cursor, maxBytes);
  }

  /** Takes a message for the next flush; true if it is the first. */
  push(message: Message): boolean {
    return this.#pending.push(message) === 1;
  }

  /** Delivers what was pushed since the last flush, and returns how many messages that is. */
  flush(): number {
    const messages = this.#pending;
    if (messages.length === 0) return 0;
    this.#pending = [];
    const batch = new Batch(messages);
    if (messages[messages.length - 1].epoch === batch.epoch) {
      this.#deliver(batch);
    } else {
      // The channel was reset since the last flush.
      for (const epoch of new Set(messages.map((message) => message.epoch))) {
        this.#deliver(new Batch(messages.filter((message) => message.epoch === epoch)));
      }
    }
    return messages.length;
  }

  #deliver(batch: Batch): void {
    for (const subscription of this.#subscriptions) subscription.deliver(batch);
  }
}
