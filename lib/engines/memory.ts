/**
 * The engine that keeps everything in this process, and answers at once.
 *
 * @module
 */
import { sinceStart } from "../base/clock.ts";
import type { Key } from "../base/key.ts";
import { afterOthers } from "../base/event_loop.ts";
import type { Cursor, Position } from "../core/cursor.ts";
import {
  type ChannelInfo,
  type ChannelPage,
  type Engine,
  EngineFullError,
  type Local,
  type Publication,
  type Receipt,
  type Replay,
  type Unready,
  type Usage,
} from "../core/engine.ts";
import { utf8Length } from "../core/message.ts";
import { checkRoom, checkShare } from "./batch.ts";
import { type ChannelLog, nextMessage, withType } from "./channel_log.ts";
import { heldBytes, Holdings, MESSAGE_OVERHEAD, SharedText } from "./cost.ts";
import { Directory } from "./directory.ts";
import { epochs } from "./epochs.ts";
import { Evictable, type EvictionLimits } from "./eviction.ts";
import { type Fork, Forks } from "./forks.ts";
import type { KeptMessage } from "./history.ts";
import { idKey, type ReceiptLimits, Receipts } from "./receipts.ts";

/** The limits of the memory engine. */
export interface MemoryLimits extends EvictionLimits, ReceiptLimits {
  /** Maximum number of channels published to, at a time. As many more may be only watched. */
  readonly maxChannels: number;
}

/** A message that has its number. */
export type NumberedMessage = Pick<
  KeptMessage,
  "channel" | "epoch" | "seq" | "data" | "type" | "row"
>;

/** How often expired channels are dropped, in milliseconds. */
const SWEEP_MS = 1000;
/** Maximum number of channels dropped and keys forgotten per turn of the event loop. */
const SWEEP_COUNT = 1000;

/** Keeps everything in this process. Answers at once. */
export class MemoryEngine implements Engine {
  /**
   * The epoch of new channels. It changes when a channel is reset, or when one that had messages is dropped:
   * only then could a channel of the same name use a number again. So a position in a channel that never had
   * a message stays valid when the channel is dropped and created again.
   */
  epoch: string;
  readonly #limits: MemoryLimits;
  readonly #now: () => number;
  readonly #newEpoch: () => string;
  readonly #channels = new Directory();
  readonly #counted: Evictable;
  readonly #receipts: Receipts;
  readonly #holdings: Holdings;
  #local!: Local;
  #published = 0;
  #publishedBytes = 0;
  /** Channels that must not be dropped, as their next messages have numbers already. */
  readonly #reserved = new Set<ChannelLog>();
  readonly #forks = new Forks();
  readonly #onDrop: (channel: string) => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #sweeping: ReturnType<typeof setTimeout> | undefined;

  /**
   * An engine without channels that keeps to `limits`.
   *
   * @param options `now` returns milliseconds that never decrease. `newEpoch` returns a name that
   * sorts after all names before it. `onEvict` gets every kept message that is forgotten, `onDrop` every
   * channel that had messages.
   */
  constructor(
    limits: MemoryLimits,
    { now = sinceStart, newEpoch = epochs(), onEvict, onDrop = () => {} }: {
      now?: () => number;
      newEpoch?: () => string;
      onEvict?: (message: KeptMessage) => void;
      onDrop?: (channel: string) => void;
    } = {},
  ) {
    this.#limits = limits;
    this.#holdings = new Holdings(onEvict);
    this.#onDrop = onDrop;
    this.#counted = new Evictable(limits, this.#holdings);
    this.#receipts = new Receipts(limits);
    this.#now = now;
    this.#newEpoch = newEpoch;
    this.epoch = newEpoch();
  }

  start(local: Local): void {
    this.#local = local;
    this.#timer = setInterval(() => this.sweep(), SWEEP_MS);
  }

  publish(channel: string, data: string, id?: string, type?: string): Receipt {
    return this.#publish(channel, data, id, type, this.#now());
  }

  publishAll(publications: readonly Publication[]): Receipt[] {
    this.#check(publications);
    // Nothing below may fail, because the messages published before the failure would stay.
    const now = this.#now();
    let last: string | undefined;
    let shared: SharedText | undefined;
    return publications.map(({ channel, data, id, type }, i) => {
      // One text for several channels comes as consecutive publications.
      if (data !== last) shared = undefined;
      if (shared === undefined && publications[i + 1]?.data === data) {
        shared = new SharedText(heldBytes(data, utf8Length(data)));
        last = data;
      }
      return this.#publish(channel, shared === undefined ? data : last!, id, type, now, shared);
    });
  }

  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Replay {
    const log = this.#channels.get(channel);
    if (log === undefined) return { epoch: this.epoch, head: 0, messages: [] };
    const { epoch, seq: head } = log;
    if (cursor === undefined) return { epoch, head, messages: [] };
    let { seq } = cursor;
    if (cursor.epoch !== undefined && cursor.epoch !== epoch) {
      if (this.#forks.isShared(channel, cursor.epoch, seq)) {
        const replay = this.since(channel, { epoch, seq }, maxBytes);
        return { ...replay, from: { epoch, seq } };
      }
      seq = 0;
    }
    if (seq >= head) return { epoch, head, messages: [] };
    this.#expire(log);
    return { epoch, head, messages: log.after(seq, maxBytes) };
  }

  watch(channel: string): void {
    let log = this.#channels.get(channel);
    if (log === undefined) {
      if (this.#onlyWatched >= this.#limits.maxChannels) {
        throw new EngineFullError(
          `Cannot watch another channel: ${this.#onlyWatched} are only watched, which is the limit`,
        );
      }
      log = this.#channels.create(channel, this.epoch);
    }
    log.watched = true;
    if (log.length === 0 && this.#counted.has(log)) this.#counted.remove(log);
  }

  unwatch(channel: string): void {
    const log = this.#channels.get(channel);
    if (log === undefined) return;
    log.watched = false;
    if (this.#counted.has(log)) this.#counted.touch(log, this.#now());
    else if (log.seq > 0 && this.#counted.size < this.#limits.maxChannels) {
      this.#counted.add(log, this.#now());
    } else this.#dropUnlessWatched(log);
  }

  info(channel: string): ChannelInfo | undefined {
    const log = this.#channels.get(channel);
    return log && this.#describe(log);
  }

  list(prefix: string, limit: number, after?: string): Promise<ChannelPage> {
    return this.#channels.page(prefix, limit, (log) => this.#describe(log), after);
  }

  /** Starts a channel over. `epoch` is its new epoch, if that is known already. */
  reset(channel: string, epoch: string = this.#newEpoch()): ChannelInfo | undefined {
    const log = this.#channels.get(channel);
    if (log === undefined) return undefined;
    log.trim(0, Infinity, this.#holdings);
    log.seq = 0;
    // From here on it is like any other channel without messages.
    log.epoch = epoch;
    if (epoch > this.epoch) this.epoch = epoch;
    this.#forks.set(channel, []);
    this.#dropUnlessWatched(log);
    return this.#describe(log);
  }

  usage(): Required<Omit<Usage, "storage">> {
    return {
      published: this.#published,
      publishedBytes: this.#publishedBytes,
      channels: this.#channels.size,
      onlyWatched: this.#onlyWatched,
      messages: this.#holdings.messages,
      bytes: this.#holdings.bytes,
      held: this.#holdings.held,
    };
  }

  ready(): Unready | undefined {
    return undefined;
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#sweeping);
  }

  /** Drops expired channels and keys, at most `SWEEP_COUNT` per turn. */
  sweep(): void {
    clearTimeout(this.#sweeping);
    const now = this.#now();
    const budget = this.#receipts.expire(now, SWEEP_COUNT);
    const left = this.#counted.expire(now, budget, this.#dropUnlessWatched);
    const fits = this.#counted.settle(now, this.#dropUnlessWatched);
    if (left < 0 || !fits) this.#sweeping = afterOthers(() => this.sweep());
  }

  /**
   * Makes room for messages that get their numbers elsewhere first, and keeps their channels until
   * `release`. All of them or none.
   *
   * @throws {EngineFullError} If there is no room for all of the channels.
   * @throws {BatchTooLargeError} If several messages would take more than their share of memory.
   */
  reserve(publications: readonly Publication[]): void {
    if (publications.length > 1) this.#check(publications);
    for (const { channel } of publications) this.#reserved.add(this.#admit(channel));
  }

  /** Lets go of the channels that `reserve` and `place` keep. */
  release(): void {
    const reserved = [...this.#reserved];
    this.#reserved.clear();
    for (const log of reserved) if (!this.#counted.has(log)) this.#dropUnlessWatched(log);
  }

  /** The receipt of an id that was used lately. */
  receiptOf(channel: string, id: string): Receipt | undefined {
    return this.#receipts.get(idKey(channel, id), this.#now());
  }

  /**
   * Keeps and relays a message that has its number. A channel that is not known begins with it.
   *
   * @param age How long ago it was accepted, in milliseconds.
   */
  take(message: NumberedMessage, id?: string, age = 0): Receipt {
    const { channel, epoch, data, type } = message;
    const log = this.#countedLog(channel);
    log.epoch = epoch;
    const bytes = utf8Length(data);
    const kept: KeptMessage = {
      ...message,
      // All messages share the log's string.
      channel: log.channel,
      bytes,
      time: this.#now() - age,
      cost: MESSAGE_OVERHEAD + heldBytes(data, bytes),
    };
    const key = id === undefined ? undefined : idKey(channel, id);
    return this.#take(log, type === undefined ? kept : withType(kept, type), key);
  }

  /** Remembers the receipt of an id. */
  remember(id: string, receipt: Receipt, age: number): void {
    this.#receipts.set(idKey(receipt.channel, id), receipt, this.#now() - age);
  }

  /** Sets the position of a channel and the epochs that its own continues, and keeps it until `release`. */
  place(channel: string, { epoch, seq }: Position, forks: readonly Fork[] = []): void {
    const log = this.#countedLog(channel);
    log.epoch = epoch;
    log.seq = seq;
    this.#forks.set(channel, forks);
    this.#reserved.add(log);
  }

  /** Forgets messages, as when memory is full, until they and their channels take at most so many bytes. */
  shed(bytes: number): void {
    this.#counted.makeRoom(undefined, this.#now(), this.#dropUnlessWatched, bytes);
  }

  /** How many channels are watched and keep nothing. */
  get #onlyWatched(): number {
    return this.#channels.size - this.#counted.size;
  }

  #publish(
    channel: string,
    data: string,
    id: string | undefined,
    type: string | undefined,
    now: number,
    shared?: SharedText,
  ): Receipt {
    const key = id === undefined ? undefined : idKey(channel, id);
    const earlier = key && this.#receipts.get(key, now);
    if (earlier !== undefined) return earlier;
    const log = this.#admit(channel);
    // Nothing below may fail: the number would be used, but the publisher would get no receipt.
    const message = nextMessage(log, data, utf8Length(data), now, shared);
    return this.#take(log, type === undefined ? message : withType(message, type), key);
  }

  /** Keeps and relays a message that has its number. */
  #take(log: ChannelLog, message: KeptMessage, key: Key | undefined): Receipt {
    const { channel } = log;
    log.seq = message.seq;
    this.#published++;
    this.#publishedBytes += message.bytes;
    this.#store(log, message);
    const receipt: Receipt = {
      channel,
      seq: message.seq,
      epoch: message.epoch,
      subscribers: log.watched ? this.#local.subscribers(channel) : 0,
    };
    if (key !== undefined) this.#receipts.set(key, receipt, message.time);
    if (log.watched) this.#local.deliver(message);
    return receipt;
  }

  /** The channel of a publication. From now on it counts against the limits. */
  #admit(channel: string): ChannelLog {
    const log = this.#channels.get(channel);
    if (log !== undefined && this.#counted.has(log)) return log;
    const { size } = this.#counted;
    if (size >= this.#limits.maxChannels) {
      const reason = `there are ${size} already, which is the limit`;
      throw new EngineFullError(`Cannot publish to another channel: ${reason}`);
    }
    const admitted = log ?? this.#channels.create(channel, this.epoch);
    this.#counted.add(admitted, this.#now());
    return admitted;
  }

  /** Checks that all of these can be published. */
  #check(publications: readonly Publication[]): void {
    const { maxMemory, maxChannels } = this.#limits;
    const isCounted = (channel: string) => this.#isCounted(channel);
    checkShare(publications, maxMemory, isCounted);
    checkRoom(publications, maxChannels - this.#counted.size, isCounted);
  }

  /** A channel that counts against the limits from now on, even if there is no room for it. */
  #countedLog(channel: string): ChannelLog {
    const log = this.#channels.get(channel) ?? this.#channels.create(channel, this.epoch);
    if (!this.#counted.has(log)) this.#counted.add(log, this.#now());
    return log;
  }

  #isCounted(channel: string): boolean {
    const log = this.#channels.get(channel);
    return log !== undefined && this.#counted.has(log);
  }

  #drop(log: ChannelLog): void {
    this.#channels.delete(log.channel);
    this.#forks.set(log.channel, []);
    if (this.#counted.has(log)) this.#counted.remove(log);
    if (log.seq === 0) return;
    this.epoch = this.#newEpoch();
    this.#onDrop(log.channel);
  }

  /** Drops a channel that keeps nothing. If it is watched, it stays but no longer counts. */
  readonly #dropUnlessWatched = (log: ChannelLog): void => {
    if (!log.watched && !this.#reserved.has(log)) this.#drop(log);
    else if (this.#counted.has(log)) this.#counted.remove(log);
  };

  #store(log: ChannelLog, message: KeptMessage): void {
    log.push(message, this.#limits.history, this.#holdings);
    log.trim(Infinity, message.time - this.#limits.historyTtl, this.#holdings);
    this.#counted.used(log, message.time);
    if (this.#holdings.held <= this.#limits.maxMemory) return;
    this.#counted.makeRoom(log, message.time, this.#dropUnlessWatched);
  }

  #expire(log: ChannelLog): void {
    log.trim(this.#limits.history, this.#now() - this.#limits.historyTtl, this.#holdings);
  }

  #describe(log: ChannelLog): ChannelInfo {
    this.#expire(log);
    const { length, bytes, oldest } = log;
    return {
      channel: log.channel,
      seq: log.seq,
      epoch: log.epoch,
      subscribers: log.watched ? this.#local.subscribers(log.channel) : 0,
      history: { messages: length, bytes, oldest: oldest?.seq ?? null },
    };
  }
}
