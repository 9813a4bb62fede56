/**
 * A subscriber: one client, the channels that it has joined, and the sink that they share.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";
import type { Position } from "./cursor.ts";
import { EngineUnavailableError } from "./engine.ts";
import type { Gap } from "./gap.ts";
import type { Batch } from "./message.ts";
import type { Metrics } from "./metrics.ts";
import type { CloseReason, Sink } from "./sink.ts";
import type { Subscription } from "./subscription.ts";

/** What all subscribers of a hub share. Times are in milliseconds. */
export interface SubscriberContext {
  /** Times heartbeats and lifetimes. */
  readonly wheel: TimerWheel;
  /** Counts deliveries and losses. */
  readonly metrics: Metrics;
  /** Reports an error that closed a subscriber. */
  readonly report: (error: unknown) => void;
  /** Maximum number of bytes that may be unsent when the next message comes. */
  readonly maxQueue: number;
  /** Silence after which a heartbeat is sent. */
  readonly heartbeat: number;
  /** Counts the unsent bytes of all subscribers, and tells when history has to wait. */
  readonly unsent: { wrote(bytes: number): void; readonly full: boolean };
  /** Calls `subscriber.resume()` once its sink has room again. */
  readonly whenRoom: (subscriber: Subscriber) => void;
  /** Called once, after a subscriber was closed. */
  readonly onClose?: (subscriber: Subscriber, reason: CloseReason) => void;
}

/** What one subscriber asks for. */
export interface SubscriberOptions {
  /** The label under which the metrics count it. */
  readonly transport?: string;
  /** Number of messages after which it is done. */
  readonly limit?: number;
  /** Maximum lifetime, in milliseconds. */
  readonly lifetime?: number;
  /** Why it is closed at the end of its lifetime. */
  readonly endReason?: "timeout" | "expired";
  /** What its client's rights rest on. `Hub.revoke` closes it if that no longer holds. */
  readonly voucher?: string;
}

/** Maximum bytes of history per write, also as a share of `maxQueue`. The smaller limit counts. */
const HISTORY_PIECE = 64 * 1024;
const HISTORY_PIECE_SHARE = 1 / 16;
/**
 * While more bytes than this are unsent, a sink gets no more history. Also as a share of
 * `maxQueue`. The smaller limit counts. The rest of the queue is for live messages of other
 * channels.
 */
const HISTORY_WINDOW = 256 * 1024;
const HISTORY_WINDOW_SHARE = 1 / 4;

/**
 * Estimate of the history that the runtime holds in addition to the queue while a client reads
 * nothing, in bytes. Measured with Deno 2.9.6: 0.4 MiB in small chunks, 1.3 MiB in chunks of 64
 * KiB. Live messages take no additional memory, because all subscribers share their bytes.
 */
const RUNTIME_HISTORY_BYTES = 1024 * 1024;

/** One client's subscriptions, and the sink that they share. */
export class Subscriber implements Timed {
  /** The label under which the metrics count it. */
  readonly transport: string;
  /** What its client's rights rest on. Undefined if they cannot be revoked. */
  readonly voucher: string | undefined;
  /** Maximum number of messages per write. The queue is checked before each write. */
  readonly maxPerWrite: number;
  readonly #sink: Sink;
  readonly #context: SubscriberContext;
  readonly #endsAt: number;
  readonly #endReason: CloseReason;
  #subscriptions: Subscription[] = [];
  /** Subscriptions whose history waits for room, in the order of their turns. */
  #behind: Subscription[] | undefined;
  /** Whether the runtime may hold some of its history. */
  #runtimeHolds = false;
  /** Bytes of history sent so far. */
  #historyBytes = 0;
  #remaining: number;
  #lastWrite: number;
  #wroteAnything = false;
  #reason: CloseReason | undefined;

  /** Whether it awaits an answer with history. Set by the subscription that asked for it. */
  awaitsReplay = false;

  /** Only the timer wheel changes it. */
  due = 0;

  /** A subscriber without subscriptions that sends through `sink`. Its lifetime starts now. */
  constructor(
    sink: Sink,
    context: SubscriberContext,
    options: SubscriberOptions = {},
  ) {
    const { wheel, heartbeat } = context;
    const { transport = "", limit = Infinity, lifetime = Infinity, endReason = "timeout" } =
      options;
    this.transport = transport;
    this.voucher = options.voucher;
    this.#sink = sink;
    this.maxPerWrite = sink.maxPerWrite;
    this.#context = context;
    this.#remaining = limit;
    this.#lastWrite = wheel.now;
    this.#endsAt = wheel.now + lifetime;
    this.#endReason = endReason;
    wheel.set(this, Math.min(heartbeat, lifetime));
  }

  /** Why it was closed. Undefined while it is open. */
  get closed(): CloseReason | undefined {
    return this.#reason;
  }

  /** How many channels it is subscribed to. */
  get size(): number {
    return this.#subscriptions.length;
  }

  /** Its subscription to a channel. Undefined if it has none. */
  find(channel: string): Subscription | undefined {
    return this.#subscriptions.find((subscription) => subscription.channel === channel);
  }

  /** Adds a subscription that has yet to catch up. */
  add(subscription: Subscription): void {
    // Most subscribers have one subscription. An array made with one item takes less memory than an
    // empty array that the item is pushed to.
    if (this.#subscriptions.length === 0) this.#subscriptions = [subscription];
    else this.#subscriptions.push(subscription);
  }

  /** Leaves a channel. False if it was not subscribed to it. */
  remove(channel: string): boolean {
    const subscription = this.find(channel);
    return subscription !== undefined && this.leave(subscription);
  }

  /** Ends one of its subscriptions. False if this is not one of them. */
  leave(subscription: Subscription): boolean {
    const index = this.#subscriptions.indexOf(subscription);
    if (index >= 0) this.#subscriptions.splice(index, 1);
    const waits = this.#behind?.indexOf(subscription) ?? -1;
    if (waits >= 0) this.#behind!.splice(waits, 1);
    subscription.end();
    return index >= 0;
  }

  /** Maximum bytes of history per write. */
  get historyPiece(): number {
    return Math.min(HISTORY_PIECE, this.#context.maxQueue * HISTORY_PIECE_SHARE);
  }

  /** Whether there is room for more history. All its channels share the room, one at a time. */
  get hasRoom(): boolean {
    if (this.awaitsReplay || this.#historyFull) return false;
    // The first piece does not wait for the unsent bytes of others: readers that take nothing must
    // not keep others from a short history.
    return this.#historyBytes < this.historyPiece / 2 || !this.#context.unsent.full;
  }

  /** Whether too many bytes are unsent to send more history. */
  get #historyFull(): boolean {
    return this.#exceeds(Math.min(HISTORY_WINDOW, this.#context.maxQueue * HISTORY_WINDOW_SHARE));
  }

  /**
   * Calls `subscription.catchUp()` once there is room, after the subscriptions that asked before.
   *
   * @param started Whether some of its history was sent.
   */
  awaitRoom(subscription: Subscription, started: boolean): void {
    // The first pieces fit into the kernel's buffers.
    if (started && !this.#runtimeHolds && this.#historyBytes > 2 * this.historyPiece) {
      this.#runtimeHolds = true;
      this.#context.unsent.wrote(RUNTIME_HISTORY_BYTES);
    }
    if (this.#behind === undefined) this.#behind = [subscription];
    else this.#behind.push(subscription);
    if (this.#behind.length === 1 && !this.awaitsReplay) this.#context.whenRoom(this);
  }

  /**
   * Sends history while there is room. A channel with more history than fits waits again, behind
   * the others.
   */
  resume(): void {
    const waiting = this.#behind;
    if (waiting === undefined) return;
    while (waiting.length > 0 && this.hasRoom) waiting.shift()!.catchUp();
    if (waiting.length === 0) {
      this.#behind = undefined;
      this.#runtimeHolds = false;
    } else if (!this.awaitsReplay) this.#context.whenRoom(this);
  }

  /** Whether at most `maxQueue` bytes are unsent. If not, it closes the subscriber. */
  keepsUp(): boolean {
    if (!this.#exceeds(this.#context.maxQueue)) return true;
    this.close("slow");
    return false;
  }

  /** Bytes of memory that its unsent messages take. */
  get unsent(): number {
    if (this.#reason !== undefined) return 0;
    return this.#sink.held + (this.#runtimeHolds ? RUNTIME_HISTORY_BYTES : 0);
  }

  /** Counts bytes that were given to its sink elsewhere: answers to its client. */
  sent(bytes: number): void {
    this.#context.unsent.wrote(bytes);
  }

  /** Tells the sink that a channel was joined. */
  open(channel: string, position: Position): void {
    this.#guard(() => this.#sink.open(channel, position));
  }

  /** Sends a piece of history. */
  writeHistory(batch: Batch): void {
    this.#historyBytes += batch.cost;
    this.write(batch);
  }

  /**
   * Sends messages. Closes the subscriber if it has everything that it asked for, or is too slow.
   */
  write(batch: Batch): void {
    if (batch.messages.length <= this.maxPerWrite) return this.#write(batch);
    for (const part of batch.parts(this.maxPerWrite)) {
      if (this.#reason !== undefined) return;
      this.#write(part);
    }
  }

  #write(batch: Batch): void {
    try {
      if (!this.keepsUp()) return;
      const { length } = batch.messages;
      const sent = Math.min(length, this.#remaining);
      const bytes = this.#sink.write(sent < length ? batch.slice(0, sent) : batch);
      this.#context.unsent.wrote(bytes);
      this.#remaining -= sent;
      this.#context.metrics.delivered(sent, bytes);
    } catch (error) {
      return this.fail(error);
    }
    this.#lastWrite = this.#context.wheel.now;
    this.#wroteAnything = true;
    if (this.#remaining === 0) this.close("done");
  }

  /** Sends a gap. */
  writeGap(gap: Gap): void {
    this.#context.metrics.gap(gap.reason);
    this.#guard(() => {
      if (this.#sink.write(gap) > 0) this.#wroteAnything = true;
    });
    this.#lastWrite = this.#context.wheel.now;
  }

  /** Called when an answer is complete. Closes the subscriber if it wanted only one answer. */
  settle(): void {
    if (!this.#sink.once || !this.#wroteAnything) return;
    if (this.#subscriptions.every(({ live }) => live)) this.close("done");
  }

  onDue(): void {
    const { wheel, heartbeat } = this.#context;
    if (wheel.now >= this.#endsAt) return this.close(this.#endReason);
    if (wheel.now - this.#lastWrite >= heartbeat) {
      // A client that took no history for so long would not take a heartbeat either.
      if (this.#behind !== undefined && this.#historyFull) return this.close("slow");
      this.#guard(() => this.#sink.heartbeat());
      if (this.#reason !== undefined) return;
      this.#lastWrite = wheel.now;
    }
    wheel.set(this, Math.min(this.#lastWrite + heartbeat, this.#endsAt) - wheel.now);
  }

  /** Ends all subscriptions and the sink. Only the first call has an effect. */
  close(reason: CloseReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#context.wheel.clear(this);
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions = [];
    this.#behind = undefined;
    try {
      this.#sink.close(reason);
    } catch (error) {
      this.#context.report(error);
    }
    this.#context.onClose?.(this, reason);
  }

  /** Closes it after an error that its client did not cause. */
  fail(error: unknown): void {
    if (error instanceof EngineUnavailableError) return this.close("unavailable");
    this.#context.report(error);
    this.close("error");
  }

  #exceeds(limit: number): boolean {
    try {
      return this.#sink.exceeds(limit);
    } catch (error) {
      this.fail(error);
      return true;
    }
  }

  /** If a sink throws, only its own subscriber is closed. */
  #guard(action: () => void): void {
    if (this.#reason !== undefined) return;
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }
}
