/**
 * Connects the engine to the channels: publish, subscribe, and one flush per turn of the event
 * loop.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import { Channel, type ChannelOwner } from "./channel.ts";
import type { Cursor } from "./cursor.ts";
import type { Engine, Local, Publication, Receipt, Replay } from "./engine.ts";
import type { Message } from "./message.ts";
import { type Metrics, noMetrics } from "./metrics.ts";
import { Outbox } from "./outbox.ts";
import { type Flush, Pacer } from "../base/flush_pacer.ts";
import type { Sink } from "./sink.ts";
import { Subscriber, type SubscriberContext, type SubscriberOptions } from "./subscriber.ts";
import { Subscription } from "./subscription.ts";
import { Unsent } from "./unsent.ts";

/**
 * The server is shutting down. Nobody would get the message, and its history would end with the
 * process.
 */
export class ShuttingDownError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "ShuttingDownError";
}

/** A channel to join. */
export interface Join {
  /** Name of the channel. */
  readonly channel: string;
  /** Where to start. Without it, the next message published is the first. */
  readonly cursor?: Cursor;
  /** Without a cursor: how many of the newest kept messages to start with. */
  readonly last?: number;
}

/** What a hub is built from. Times are in milliseconds. */
export interface HubOptions {
  /** Numbers and keeps the messages. */
  readonly engine: Engine;
  /** Times the heartbeats and lifetimes of subscribers. */
  readonly wheel: TimerWheel;
  /** Maximum number of bytes that a subscriber may have unsent when its next message comes. */
  readonly maxQueue: number;
  /**
   * Maximum number of bytes that all subscribers together may have unsent. Without it there is no
   * limit.
   */
  readonly maxUnsent?: number;
  /** Silence after which a subscriber is sent a heartbeat. */
  readonly heartbeat: number;
  /** Counts events. Without it, nothing is counted. */
  readonly metrics?: Metrics;
  /** Reports errors that no caller receives. */
  readonly report?: (error: unknown) => void;
  /** Called when a subscriber was cut because it was too slow. */
  readonly onSlow?: (transport: string) => void;
  /** Runs a flush once, soon. Only tests replace it. */
  readonly schedule?: (flush: Flush) => void;
}

/** How often subscribers that wait for room are checked, in milliseconds. */
const RETRY_MS = 10;
/** How long one turn may send history, in milliseconds. */
const RESUME_MS = 8;

/** The channels of this process. */
export class Hub implements ChannelOwner, Local {
  readonly #engine: Engine;
  readonly #context: SubscriberContext;
  readonly #schedule: (flush: Flush) => void;
  readonly #channels = new Map<Key, Channel>();
  readonly #subscribers = new Set<Subscriber>();
  /** Subscribers whose history waits for room. */
  readonly #behind = new Set<Subscriber>();
  readonly #outbox: Outbox;
  readonly #unsent: Unsent;
  #scheduled = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** A hub without channels and subscribers. `start()` connects it to the engine. */
  constructor(options: HubOptions) {
    this.#engine = options.engine;
    const { wheel, maxQueue, heartbeat, metrics = noMetrics, report = () => {} } = options;
    this.#unsent = new Unsent(options.maxUnsent ?? Infinity, this.#subscribers);
    this.#context = {
      unsent: this.#unsent,
      wheel,
      maxQueue,
      heartbeat,
      metrics,
      report,
      whenRoom: (subscriber) => this.#awaitRoom(subscriber),
      onClose: (subscriber, reason) => {
        this.#subscribers.delete(subscriber);
        this.#behind.delete(subscriber);
        metrics.disconnected(subscriber.transport, reason);
        if (reason === "slow") options.onSlow?.(subscriber.transport);
      },
    };
    this.#outbox = new Outbox({ maxQueue });
    const pacer = new Pacer();
    this.#schedule = options.schedule ?? ((flush) => pacer.schedule(flush));
  }

  /** Starts the engine. Must be called before anything else. */
  start(): Promise<void> | void {
    return this.#engine.start(this);
  }

  /**
   * Publishes one message.
   *
   * @throws {EngineFullError} If there is no room for the channel.
   * @throws {ShuttingDownError} After `drain()`.
   */
  publish({ channel, data, id, type }: Publication): Promise<Receipt> | Receipt {
    this.#checkOpen();
    return this.#engine.publish(channel, data, id, type);
  }

  /**
   * Publishes several messages in order, or none of them.
   *
   * @throws {EngineFullError} If there is no room for all of the channels.
   * @throws {BatchTooLargeError} If they would take more memory than one request may take.
   * @throws {ShuttingDownError} After `drain()`.
   */
  publishAll(publications: readonly Publication[]): Promise<Receipt[]> | Receipt[] {
    this.#checkOpen();
    return this.#engine.publishAll(publications);
  }

  /** Called just before the engine: any wait for a body or a token is over by then. */
  #checkOpen(): void {
    if (this.#closed) throw new ShuttingDownError("Cannot publish: the server is shutting down");
  }

  /** Creates a subscriber for a sink. The hub forgets it when it closes. */
  connect(sink: Sink, options: SubscriberOptions = {}): Subscriber {
    const subscriber = new Subscriber(sink, this.#context, options);
    this.#context.metrics.connected(subscriber.transport);
    this.#subscribers.add(subscriber);
    if (this.#closed) subscriber.close("shutdown");
    return subscriber;
  }

  /**
   * Joins channels. It joins all of them, then tells the client where each starts, then sends their
   * histories. After that they are live. Returns a promise only if the engine answers later.
   *
   * @throws {EngineFullError} If there is no room for a channel. The subscriber has then joined
   * none of them.
   */
  subscribe(subscriber: Subscriber, joins: readonly Join[]): Promise<void> | void {
    if (subscriber.closed !== undefined) return;
    const joined: { subscription: Subscription; channel: Channel }[] = [];
    // Leave by subscription, not by name: when the engine answers, the name may have another
    // subscription.
    const undo = () => joined.filter(({ subscription }) => subscriber.leave(subscription)).length;
    try {
      for (const { channel: name, cursor, last } of joins) {
        const channel = this.#channels.get(keyOf(name)) ?? this.#open(name);
        const subscription = new Subscription(subscriber, channel, cursor, last);
        joined.push({ subscription, channel });
        channel.join(subscription);
        subscriber.add(subscription);
      }
    } catch (error) {
      undo();
      throw error;
    }
    const opened = all(
      joined.map(({ subscription, channel }) =>
        channel.watching?.then(() => subscription.open()) ?? subscription.open()
      ),
    );
    const catchUp = () => all(joined.map(({ subscription }) => subscription.catchUp()));
    if (opened === undefined) return catchUp();
    return opened.then(catchUp).catch((error) => {
      // A client that has meanwhile left all of the channels need not be told.
      if (undo() > 0) throw error;
    });
  }

  /** Closes every subscriber whose rights rest on something that no longer holds. */
  revoke(holds: (voucher: string) => boolean): void {
    for (const subscriber of this.#subscribers) {
      const { voucher } = subscriber;
      if (voucher !== undefined && !holds(voucher)) subscriber.close("expired");
    }
  }

  /** Number of connected subscribers. */
  get size(): number {
    return this.#subscribers.size;
  }

  /** Bytes that all subscribers together have unsent. Checks each of them. */
  get unsent(): number {
    return this.#unsent.count();
  }

  subscribers(channel: string): number {
    return this.#channels.get(keyOf(channel))?.size ?? 0;
  }

  deliver(message: Message): void {
    const channel = this.#channels.get(keyOf(message.channel));
    if (channel === undefined) return;
    this.#outbox.push(channel, message);
    this.#flushSoon();
  }

  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay {
    return this.#engine.since(channel, cursor, maxBytes);
  }

  count({ name, size }: Channel): void {
    this.#engine.count?.(name, size);
  }

  release(channel: Channel): void {
    if (this.#forget(channel)) this.#background(() => this.#engine.unwatch(channel.name));
  }

  /**
   * Sends history to subscribers that have room again, for some milliseconds. Other work gets a
   * turn before it continues with the rest. Called by a timer.
   */
  resume(): void {
    const end = performance.now() + RESUME_MS;
    let late = false;
    for (const subscriber of this.#behind) {
      if (!subscriber.hasRoom) continue;
      // If there is more history than fits, the subscriber waits again, behind the others.
      this.#behind.delete(subscriber);
      subscriber.resume();
      late = performance.now() >= end;
      if (late) break;
    }
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    if (this.#behind.size > 0) this.#resumeSoon(late ? 0 : RETRY_MS);
  }

  #awaitRoom(subscriber: Subscriber): void {
    this.#behind.add(subscriber);
    if (this.#retryTimer === undefined) this.#resumeSoon(RETRY_MS);
  }

  #resumeSoon(ms: number): void {
    this.#retryTimer = setTimeout(() => this.resume(), ms);
  }

  /** Whether publications are refused because the server is shutting down. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Refuses publications from now on. Closes every subscriber once all pending messages are sent.
   * If there are many, that takes several turns, so that the burst cuts no subscriber that reads. A
   * subscriber that connects later is closed at once.
   */
  drain(): void {
    this.#closed = true;
    if (this.#outbox.empty) this.#closeAll();
  }

  /** Sends all pending messages at once, closes every subscriber, and closes the engine. */
  async close(): Promise<void> {
    this.#closed = true;
    while (!this.#outbox.empty) this.#outbox.flush();
    this.#closeAll();
    await this.#engine.close();
  }

  #closeAll(): void {
    for (const subscriber of this.#subscribers) subscriber.close("shutdown");
    clearTimeout(this.#retryTimer);
    this.#unsent.stop();
  }

  /** Removes a channel from the map. False if the map does not hold this channel. */
  #forget(channel: Channel): boolean {
    const key = keyOf(channel.name);
    return this.#channels.get(key) === channel && this.#channels.delete(key);
  }

  #open(name: string): Channel {
    const channel = new Channel(name, this);
    const watched = this.#engine.watch(name);
    this.#channels.set(keyOf(name), channel);
    if (watched instanceof Promise) {
      channel.watching = watched.then(() => channel.watching = undefined, (error) => {
        // The next subscriber must get a new channel. Those that joined this one await the promise.
        this.#forget(channel);
        throw error;
      });
      // Perhaps nobody awaits the promise: all subscribers may have left, or failed to join another
      // channel.
      channel.watching.catch(() => {});
    }
    return channel;
  }

  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => this.#flush());
  }

  /** Delivers as much as one turn may. The rest follows in the next turn. */
  #flush(): number {
    this.#scheduled = false;
    const messages = this.#outbox.flush();
    if (!this.#outbox.empty) this.#flushSoon();
    else if (this.#closed) this.#closeAll();
    return messages;
  }

  /** Runs an action that nobody awaits, and reports its errors. */
  #background(action: () => Promise<void> | void): void {
    try {
      action()?.catch(this.#context.report);
    } catch (error) {
      this.#context.report(error);
    }
  }
}

/** Resolves when all promises have resolved. Undefined if there is no promise. */
function all(waits: readonly (Promise<void> | void)[]): Promise<void> | void {
  const promises = waits.filter((wait) => wait !== undefined);
  if (promises.length > 0) return Promise.all(promises).then(() => {});
}
