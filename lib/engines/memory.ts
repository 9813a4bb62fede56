/**
 * The engine that keeps everything in this process, and answers at once.
 *
 * @module
 */
import { sinceStart } from "../base/clock.ts";
import { type Key, keyOf } from "../base/key.ts";
import { afterOthers } from "../base/event_loop.ts";
import type { Cursor } from "../core/cursor.ts";
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
import { ChannelLog, nextMessage, withType } from "./channel_log.ts";
import { checkShare, heldBytes, Holdings, SharedText } from "./cost.ts";
import { epochs } from "./epochs.ts";
import { Evictable } from "./eviction.ts";
import type { KeptMessage } from "./history.ts";
import { idKey, type ReceiptLimits, Receipts } from "./receipts.ts";

/** The limits of the memory engine. */
export interface MemoryLimits extends ReceiptLimits {
  /** Maximum number of messages kept per channel. */
  readonly history: number;
  /** Milliseconds that a message is kept. */
  readonly historyTtl: number;
  /** Maximum bytes of memory that history may take, including the channels. */
  readonly maxMemory: number;
  /** Maximum number of channels published to, at a time. As many more may be only watched. */
  readonly maxChannels: number;
}

/** The share of all memory that the messages of one request may take. */
const BATCH_SHARE = 1 / 4;
/** How often expired channels are dropped, in milliseconds. */
const SWEEP_MS = 1000;
/** Maximum number of channels dropped and keys forgotten per turn of the event loop. */
const SWEEP_COUNT = 1000;
/** How many channels `list` visits before other work gets a turn. */
const LIST_COUNT = 10_000;

/** Keeps everything in this process. Answers at once. */
export class MemoryEngine implements Engine {
  readonly #limits: MemoryLimits;
  readonly #now: () => number;
  readonly #newEpoch: () => string;
  /** All channels, whether published to or only watched. */
  readonly #logs = new Map<Key, ChannelLog>();
  readonly #counted: Evictable;
  readonly #receipts: Receipts;
  readonly #holdings = new Holdings();
  #local!: Local;
  #created = 0;
  #published = 0;
  #publishedBytes = 0;
  /**
   * The epoch of new channels. It changes when a channel is reset, or when a channel that had
   * messages is dropped. Only then could a channel of the same name use a number again. So a
   * position in a channel that never had a message stays valid when the channel is dropped and
   * created again.
   */
  #epoch: string;
  #timer: ReturnType<typeof setInterval> | undefined;
  #sweeping: ReturnType<typeof setTimeout> | undefined;

  /**
   * An engine without channels that keeps to `limits`.
   *
   * @param options `now` returns milliseconds that never decrease. `newEpoch` returns a name that
   * sorts after all names before it.
   */
  constructor(
    limits: MemoryLimits,
    { now = sinceStart, newEpoch = epochs() }: {
      now?: () => number;
      newEpoch?: () => string;
    } = {},
  ) {
    this.#limits = limits;
    this.#counted = new Evictable(limits, this.#holdings);
    this.#receipts = new Receipts(limits);
    this.#now = now;
    this.#newEpoch = newEpoch;
    this.#epoch = newEpoch();
  }

  start(local: Local): void {
    this.#local = local;
    this.#timer = setInterval(() => this.sweep(), SWEEP_MS);
  }

  publish(channel: string, data: string, id?: string, type?: string): Receipt {
    return this.#publish(channel, data, id, type, this.#now());
  }

  publishAll(publications: readonly Publication[]): Receipt[] {
    const share = this.#limits.maxMemory * BATCH_SHARE;
    checkShare(publications, share, (channel) => this.#isCounted(channel));
    this.#checkRoom(publications);
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
    const log = this.#logs.get(keyOf(channel));
    if (log === undefined) return { epoch: this.#epoch, head: 0, messages: [] };
    const { epoch, seq: head } = log;
    if (cursor === undefined) return { epoch, head, messages: [] };
    const seq = cursor.epoch === undefined || cursor.epoch === epoch ? cursor.seq : 0;
    if (seq >= head) return { epoch, head, messages: [] };
    this.#expire(log);
    return { epoch, head, messages: log.after(seq, maxBytes) };
  }

  watch(channel: string): void {
    let log = this.#logs.get(keyOf(channel));
    if (log === undefined) {
      if (this.#onlyWatched >= this.#limits.maxChannels) {
        throw new EngineFullError(
          `Cannot watch another channel: ${this.#onlyWatched} are only watched, which is the limit`,
        );
      }
      log = this.#create(channel);
    }
    log.watched = true;
    if (log.length === 0 && this.#counted.has(log)) this.#counted.remove(log);
  }

  unwatch(channel: string): void {
    const log = this.#logs.get(keyOf(channel));
    if (log === undefined) return;
    log.watched = false;
    if (this.#counted.has(log)) this.#counted.touch(log, this.#now());
    else if (log.seq > 0 && this.#counted.size < this.#limits.maxChannels) {
      this.#counted.add(log, this.#now());
    } else this.#drop(log);
  }

  info(channel: string): ChannelInfo | undefined {
    const log = this.#logs.get(keyOf(channel));
    return log && this.#describe(log);
  }

  async list(prefix: string, limit: number, after = "0"): Promise<ChannelPage> {
    if (!/^[0-9]{1,15}$/.test(after)) {
      throw new RangeError(`Cannot continue the list after ${JSON.stringify(after)}`);
    }
    // A Map is iterated in the order of insertion, even if it changes meanwhile.
    const channels: ChannelInfo[] = [];
    let visited = 0;
    let last = Number(after);
    for (const log of this.#logs.values()) {
      if (++visited % LIST_COUNT === 0) await new Promise<void>(afterOthers);
      if (log.order <= last || !log.channel.startsWith(prefix)) continue;
      if (channels.length === limit) return { channels, next: String(last) };
      channels.push(this.#describe(log));
      last = log.order;
    }
    return { channels, next: null };
  }

  reset(channel: string): ChannelInfo | undefined {
    const log = this.#logs.get(keyOf(channel));
    if (log === undefined) return undefined;
    log.trim(0, Infinity, this.#holdings);
    log.seq = 0;
    // From here on it is like any other channel without messages.
    log.epoch = this.#epoch = this.#newEpoch();
    this.#dropUnlessWatched(log);
    return this.#describe(log);
  }

  usage(): Required<Usage> {
    return {
      published: this.#published,
      publishedBytes: this.#publishedBytes,
      channels: this.#logs.size,
      onlyWatched: this.#onlyWatched,
      ...this.#holdings,
    };
  }

  ready(): Unready | undefined {
    return undefined;
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#sweeping);
  }

  /**
   * Drops expired channels and keys, at most `SWEEP_COUNT` per turn. The list is sorted by the last
   * touch, so only the channels that are dropped and one more are visited.
   */
  sweep(): void {
    const now = this.#now();
    const budget = this.#counted.expire(
      now,
      this.#receipts.expire(now, SWEEP_COUNT),
      (expired) => this.#dropUnlessWatched(expired),
    );
    if (budget < 0) this.#sweeping = afterOthers(() => this.sweep());
  }

  /** How many channels are watched and keep nothing. */
  get #onlyWatched(): number {
    return this.#logs.size - this.#counted.size;
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
    const bytes = utf8Length(data);
    const log = this.#admit(channel);
    // Nothing below may fail: the number would be used, but the publisher would get no receipt.
    const message = type === undefined
      ? nextMessage(log, data, bytes, now, shared)
      : withType(nextMessage(log, data, bytes, now, shared), type);
    log.seq = message.seq;
    this.#published++;
    this.#publishedBytes += bytes;
    this.#store(log, message);
    const receipt: Receipt = {
      channel: log.channel,
      seq: message.seq,
      epoch: message.epoch,
      subscribers: log.watched ? this.#local.subscribers(channel) : 0,
    };
    if (key !== undefined) this.#receipts.set(key, receipt, now);
    if (log.watched) this.#local.deliver(message);
    return receipt;
  }

  /** The channel of a publication. From now on it counts against the limits. */
  #admit(channel: string): ChannelLog {
    const log = this.#logs.get(keyOf(channel));
    if (log !== undefined && this.#counted.has(log)) return log;
    const { size } = this.#counted;
    if (size >= this.#limits.maxChannels) {
      throw new EngineFullError(
        `Cannot publish to another channel: there are ${size} already, which is the limit`,
      );
    }
    const admitted = log ?? this.#create(channel);
    this.#counted.add(admitted, this.#now());
    return admitted;
  }

  /** Checks that there is room for all these channels, so that no publication fails halfway. */
  #checkRoom(publications: readonly Publication[]): void {
    const room = this.#limits.maxChannels - this.#counted.size;
    if (publications.length <= room) return;
    const unknown = new Set<Key>();
    // Publications that repeat an id count too, because the id may be forgotten before their turn.
    for (const { channel } of publications) {
      if (!this.#isCounted(channel)) unknown.add(keyOf(channel));
    }
    if (unknown.size <= room) return;
    throw new EngineFullError(
      `Cannot publish to ${unknown.size} more channels: there is room for ${room}`,
    );
  }

  #isCounted(channel: string): boolean {
    const log = this.#logs.get(keyOf(channel));
    return log !== undefined && this.#counted.has(log);
  }

  #create(channel: string): ChannelLog {
    const log = new ChannelLog(channel, this.#epoch, ++this.#created);
    this.#logs.set(keyOf(channel), log);
    return log;
  }

  #drop(log: ChannelLog): void {
    this.#logs.delete(keyOf(log.channel));
    if (this.#counted.has(log)) this.#counted.remove(log);
    if (log.seq > 0) this.#epoch = this.#newEpoch();
  }

  /** Drops a channel that keeps nothing. If it is watched, it stays but no longer counts. */
  #dropUnlessWatched(log: ChannelLog): void {
    if (!log.watched) this.#drop(log);
    else if (this.#counted.has(log)) this.#counted.remove(log);
  }

  #store(log: ChannelLog, message: KeptMessage): void {
    log.push(message, this.#limits.history, this.#holdings);
    log.trim(Infinity, message.time - this.#limits.historyTtl, this.#holdings);
    this.#counted.used(log, message.time);
    if (this.#holdings.held <= this.#limits.maxMemory) return;
    this.#counted.makeRoom(log, message.time, (emptied) => this.#dropUnlessWatched(emptied));
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
