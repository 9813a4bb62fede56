/**
 * One channel with local subscribers. It collects messages until they are delivered, in batches
 * that all subscribers share.
 *
 * @module
 */
import type { Cursor } from "./cursor.ts";
import type { Replay } from "./engine.ts";
import { Batch, type Message, MESSAGE_COST } from "./message.ts";
import type { Feed, Subscription } from "./subscription.ts";

/** What a channel needs from the hub. */
export interface ChannelOwner {
  /** See `Engine.since`. */
  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay;
  /** Called when a subscription has joined or left. */
  count(channel: Channel): void;
  /** Called when the last subscription has left. */
  release(channel: Channel): void;
}

/** A channel that has subscribers in this process. */
export class Channel implements Feed {
  /** Name of the channel. */
  readonly name: string;
  readonly #owner: ChannelOwner;
  readonly #subscriptions = new Set<Subscription>();
  #pending: Message[] = [];
  /** Index in `#pending` at which the next batch starts. */
  #next = 0;
  /**
   * Pending until the engine confirms that it relays the channel. If the engine cannot relay it,
   * the promise is rejected, and nobody joins this channel any more.
   */
  watching: Promise<void> | undefined;

  /** A channel without subscriptions. `owner` provides its history. */
  constructor(name: string, owner: ChannelOwner) {
    this.name = name;
    this.#owner = owner;
  }

  /** Number of subscriptions. */
  get size(): number {
    return this.#subscriptions.size;
  }

  /** Adds a subscription. It gets every batch that is flushed from now on. */
  join(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
    this.#owner.count(this);
  }

  leave(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    this.#owner.count(this);
    if (this.#subscriptions.size === 0) this.#owner.release(this);
  }

  since(cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay {
    return this.#owner.since(this.name, cursor, maxBytes);
  }

  /** The subscriptions that get each batch. */
  subscriptions(): SetIterator<Subscription> {
    return this.#subscriptions.values();
  }

  /** Takes a message to deliver. True if nothing was pending before. */
  push(message: Message): boolean {
    return this.#pending.push(message) === 1;
  }

  /** Whether there is something to deliver. */
  get pending(): boolean {
    return this.#pending.length > 0;
  }

  /**
   * Takes the next batch of pending messages. There must be at least one.
   *
   * @param max Maximum number of messages in the batch.
   * @param maxBytes Maximum cost of the batch in bytes, unless it is one message.
   */
  take(max: number, maxBytes: number): Batch {
    const messages = this.#pending;
    const start = this.#next;
    const { epoch } = messages[start];
    let cost = messages[start].bytes + MESSAGE_COST;
    let end = start + 1;
    // If the channel was reset meanwhile, its new epoch begins a batch of its own.
    for (; end < messages.length && end - start < max && messages[end].epoch === epoch; end++) {
      cost += messages[end].bytes + MESSAGE_COST;
      if (cost > maxBytes) break;
    }
    const all = end === messages.length;
    this.#next = all ? 0 : end;
    if (all) this.#pending = [];
    return new Batch(all && start === 0 ? messages : messages.slice(start, end));
  }
}
