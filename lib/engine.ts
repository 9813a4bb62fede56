/**
 * The engine numbers messages, keeps the recent ones and relays them to those who watch.
 *
 * @module
 */
import type { Cursor, Position } from "./cursor.ts";
import { History, MESSAGE_OVERHEAD } from "./history.ts";
import { type Key, keyOf } from "./key.ts";
import { type Message, utf8Length } from "./message.ts";

/** What a publisher gets: the message is numbered and stored. */
export interface Receipt {
  /** The channel published to. */
  readonly channel: string;
  /** The number that the message has. */
  readonly seq: number;
  /** The epoch that `seq` belongs to. */
  readonly epoch: string;
  /** How many subscribers of this process it went out to. */
  readonly subscribers: number;
}

/** The answer to "what came after my position?" */
export interface Replay {
  /** The present epoch of the channel. */
  readonly epoch: string;
  /** Seq of the last message numbered, 0 before the first. */
  readonly head: number;
  /** Messages after the position, oldest first, without holes; maybe not all that there are. */
  readonly messages: readonly Message[];
}

/** The state of a channel, for operators. */
export interface ChannelInfo extends Position {
  /** Name of the channel. */
  readonly channel: string;
  /** `oldest` is a seq; null when nothing is kept. */
  readonly history: { messages: number; bytes: number; oldest: number | null };
}

/** One page of channels. */
export interface ChannelPage {
  /** The channels of this page, `limit` at the most. */
  readonly channels: ChannelInfo[];
  /** Where the next page starts; null on the last one. */
  readonly next: string | null;
}

/** What an engine has done and what it holds. */
export interface Usage {
  /** Messages numbered since the start. */
  readonly published: number;
  /** Channels known. */
  readonly channels: number;
  /** Messages kept. */
  readonly messages: number;
  /** UTF-8 bytes of data kept. */
  readonly bytes: number;
}

/** What an engine needs from the process that it serves. */
export interface Local {
  /** Takes a message for the subscribers of this process. Never throws. */
  deliver(message: Message): void;
  /** How many subscribers of this process a channel has. */
  subscribers(channel: string): number;
}

/**
 * Where messages are numbered and kept. `tests/engine_suite.ts` holds every engine to these rules.
 *
 * Answers MAY be given at once or as a promise; the hot path is synchronous with an engine that
 * answers at once. A promise MUST be settled before long, whatever happens. Calls about one channel MUST take effect in the order in which they were made.
 * An error MUST leave the channel as it was.
 */
export interface Engine {
  /** Gets ready. MUST be called once, before anything else. */
  start(local: Local): Promise<void> | void;

  /**
   * Numbers and keeps a message.
   *
   * - MUST give each message of a channel and epoch the seq one above the one before, from 1.
   * - A channel that starts over MUST get an epoch that it never had, of `0-9a-z`, and that sorts
   *   after those it had.
   * - MUST have stored it before it answers: `since` finds it from then on, within the limits.
   * - MUST hand it to `local.deliver` if the channel is watched: once, in the order of seq, and not
   *   before `since` finds it.
   * - MUST answer a repeated `id` of a channel with the first receipt and number nothing.
   * - MUST throw `EngineFullError` if there is no room for another channel.
   */
  publish(channel: string, data: string, id?: string): Promise<Receipt> | Receipt;

  /** MUST tell whether all of these channels could be published to now; stores nothing. */
  admits(channels: readonly string[]): Promise<boolean> | boolean;

  /**
   * What came after a position.
   *
   * - Without a cursor: MUST answer with the head and no messages.
   * - A cursor of another epoch, or none of this channel's: MUST answer as for `{seq: 0}`.
   * - MUST answer with the oldest messages after the cursor that are kept, at least one if there is
   *   any, and about `maxBytes` at the most. MUST NOT leave out a message in between.
   * - A cursor beyond the head MUST be answered without messages.
   */
  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay;

  /**
   * Starts relaying a channel. MUST be in force once it has answered. MUST keep the channel's
   * epoch and seq from then on until `unwatch`. MUST throw `EngineFullError` if there is no room.
   */
  watch(channel: string): Promise<void> | void;

  /** Stops relaying a channel; MAY forget it when its history is gone. */
  unwatch(channel: string): Promise<void> | void;

  /** The state of a channel; undefined if it is not known. */
  info(channel: string): Promise<ChannelInfo | undefined> | ChannelInfo | undefined;

  /**
   * Known channels whose name starts with `prefix`, `limit` at the most. A channel that is known
   * all the time MUST come up once as the pages are followed. MUST NOT hold up the process.
   *
   * @param after `next` of the page before. MUST throw a `RangeError` if it is malformed.
   */
  list(prefix: string, limit: number, after?: string): Promise<ChannelPage>;

  /** Forgets the history of a channel and starts a new epoch; false if it is not known. */
  reset(channel: string): Promise<boolean> | boolean;

  /** What was numbered here and what is held, for the metrics. */
  usage(): Usage;

  /** Lets go of everything. MUST NOT call `local` afterwards. */
  close(): Promise<void> | void;
}

/** There is no room for another channel. */
export class EngineFullError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "EngineFullError";
}

/** What the memory engine keeps. */
export interface MemoryLimits {
  /** Messages a channel. */
  readonly history: number;
  /** Milliseconds a message is kept. */
  readonly historyTtl: number;
  /** Bytes of history in all. */
  readonly maxMemory: number;
  /** Channels at a time. */
  readonly maxChannels: number;
  /** Idempotency keys remembered in all. */
  readonly maxIds: number;
  /** Milliseconds an idempotency key is remembered. */
  readonly idTtl: number;
}

/**
 * A channel with its history, as the memory engine keeps it: one object, as there may be millions.
 * Linked into a list, longest untouched first.
 */
class Log extends History {
  readonly channel: string;
  readonly order: number;
  epoch: string;
  seq = 0;
  watched = false;
  /** When it was last published to or left by its last subscriber, or up to `#touchMs` before. */
  touched = 0;
  older: Log | undefined;
  newer: Log | undefined;

  constructor(channel: string, epoch: string, order: number) {
    super();
    this.channel = channel;
    this.epoch = epoch;
    this.order = order;
  }
}

/**
 * How exactly the order of last touches is kept, as a share of the time that history is kept, and at the
 * most in milliseconds. Moving a channel to the end of the list touches the memory of two others: on
 * every publish that would cost as much as the publish where there are very many.
 */
const TOUCH_SHARE = 1 / 64;
const MAX_TOUCH_MS = 60_000;
/** How often channels past their time are looked for, in milliseconds. */
const SWEEP_MS = 1000;
/** Channels dropped, or keys forgotten, in one go; more wait for the next turn of the event loop. */
const SWEEP_BATCH = 1000;
/** Channels looked at by `list` before others get a turn. */
const LIST_BATCH = 10_000;

/** Keeps everything in this process. Answers at once. */
export class MemoryEngine implements Engine {
  readonly #limits: MemoryLimits;
  readonly #touchMs: number;
  readonly #now: () => number;
  readonly #newEpoch: () => string;
  readonly #logs = new Map<Key, Log>();
  /** By channel and key, longest known first. */
  readonly #ids = new Map<Key, { receipt: Receipt; time: number }>();
  #local!: Local;
  #oldest: Log | undefined;
  #newest: Log | undefined;
  #created = 0;
  #published = 0;
  #messages = 0;
  /** Bytes of data kept in all. */
  #bytes = 0;
  /**
   * The epoch of channels to come. Channels share it until one that had messages is dropped: only
   * then could a name come back with numbers that were used before. So a position in a channel
   * that never had a message stays good when the channel is dropped and made again.
   */
  #epoch: string;
  #timer: ReturnType<typeof setInterval> | undefined;
  #sweeping: ReturnType<typeof setImmediate> | undefined;

  /**
   * An engine without channels, held to `limits`.
   *
   * @param options `now` gives milliseconds since whenever, `newEpoch` a name that sorts after those it gave before.
   */
  constructor(
    limits: MemoryLimits,
    { now = sinceNow(), newEpoch = epochsByTime() }: {
      now?: () => number;
      newEpoch?: () => string;
    } = {},
  ) {
    this.#limits = limits;
    this.#touchMs = Math.min(limits.historyTtl * TOUCH_SHARE, MAX_TOUCH_MS);
    this.#now = now;
    this.#newEpoch = newEpoch;
    this.#epoch = newEpoch();
  }

  start(local: Local): void {
    this.#local = local;
    this.#timer = setInterval(() => this.sweep(), SWEEP_MS);
  }

  publish(channel: string, data: string, id?: string): Receipt {
    const now = this.#now();
    const key = id === undefined ? undefined : keyOf(`${channel}\n${id}`);
    if (key !== undefined) {
      const known = this.#ids.get(key);
      if (known !== undefined && known.time > now - this.#limits.idTtl) return known.receipt;
      this.#ids.delete(key);
    }
    const log = this.#logs.get(keyOf(channel)) ?? this.#create(channel);
    const message: Message = {
      // The one name for all: that of the request may be a copy.
      channel: log.channel,
      epoch: log.epoch,
      seq: ++log.seq,
      data,
      bytes: utf8Length(data),
      time: now,
    };
    this.#published++;
    this.#keep(log, message);
    const receipt: Receipt = {
      channel: log.channel,
      seq: message.seq,
      epoch: message.epoch,
      subscribers: log.watched ? this.#local.subscribers(channel) : 0,
    };
    if (key !== undefined) this.#remember(key, receipt, now);
    if (log.watched) this.#local.deliver(message);
    return receipt;
  }

  admits(channels: readonly string[]): boolean {
    const room = this.#limits.maxChannels - this.#logs.size;
    if (channels.length <= room) return true;
    const unknown = new Set<Key>();
    for (const channel of channels) {
      const key = keyOf(channel);
      if (!this.#logs.has(key)) unknown.add(key);
    }
    return unknown.size <= room;
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
    const log = this.#logs.get(keyOf(channel)) ?? this.#create(channel);
    log.watched = true;
  }

  unwatch(channel: string): void {
    const log = this.#logs.get(keyOf(channel));
    if (log === undefined) return;
    log.watched = false;
    if (log.seq === 0) this.#drop(log);
    else this.#touch(log);
  }

  info(channel: string): ChannelInfo | undefined {
    const log = this.#logs.get(keyOf(channel));
    return log && this.#describe(log);
  }

  async list(prefix: string, limit: number, after = "0"): Promise<ChannelPage> {
    if (!/^[0-9]{1,15}$/.test(after)) {
      throw new RangeError(`Cannot continue the list after ${JSON.stringify(after)}`);
    }
    // A map is walked in the order of creation, and goes on rightly while it changes.
    const channels: ChannelInfo[] = [];
    let looked = 0;
    let last = Number(after);
    for (const log of this.#logs.values()) {
      if (++looked % LIST_BATCH === 0) await new Promise((resolve) => setImmediate(resolve));
      if (log.order <= last || !log.channel.startsWith(prefix)) continue;
      if (channels.length === limit) return { channels, next: String(last) };
      channels.push(this.#describe(log));
      last = log.order;
    }
    return { channels, next: null };
  }

  reset(channel: string): boolean {
    const log = this.#logs.get(keyOf(channel));
    if (log === undefined) return false;
    this.#evict(log, 0, Infinity);
    log.epoch = this.#newEpoch();
    log.seq = 0;
    this.#touch(log);
    return true;
  }

  usage(): Usage {
    return {
      published: this.#published,
      channels: this.#logs.size,
      messages: this.#messages,
      bytes: this.#bytes,
    };
  }

  close(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#sweeping);
    this.#logs.clear();
    this.#ids.clear();
    this.#oldest = this.#newest = undefined;
  }

  /**
   * Drops what is past its time. The list is in the order of the last touch, so only what goes is
   * looked at, and at most `SWEEP_BATCH` of it in one turn.
   */
  sweep(): void {
    const now = this.#now();
    let budget = SWEEP_BATCH;
    for (const [key, { time }] of this.#ids) {
      if (time > now - this.#limits.idTtl || --budget < 0) break;
      this.#ids.delete(key);
    }
    for (let log = this.#oldest; log !== undefined; log = this.#oldest) {
      if (log.touched > now - this.#limits.historyTtl || --budget < 0) break;
      this.#expire(log);
      // Published to after it was touched, but not much: the others can wait as long.
      if (log.length > 0) break;
      if (log.watched) this.#touch(log);
      else this.#drop(log);
    }
    if (budget < 0) this.#sweeping = setImmediate(() => this.sweep());
  }

  #create(channel: string): Log {
    if (this.#logs.size >= this.#limits.maxChannels) {
      throw new EngineFullError(
        `Cannot create the channel: there are ${this.#logs.size} already, the most allowed`,
      );
    }
    const log = new Log(channel, this.#epoch, ++this.#created);
    this.#logs.set(keyOf(channel), log);
    log.touched = this.#now();
    this.#link(log);
    return log;
  }

  #drop(log: Log): void {
    this.#logs.delete(keyOf(log.channel));
    this.#unlink(log);
    // An epoch that is not the shared one was a reset's: nobody else has it, but numbers before the
    // reset were of the shared one.
    if (log.seq > 0 || log.epoch !== this.#epoch) this.#epoch = this.#newEpoch();
  }

  #keep(log: Log, message: Message): void {
    const { length, bytes } = log;
    log.push(message, this.#limits.history);
    log.trim(Infinity, message.time - this.#limits.historyTtl);
    this.#messages += log.length - length;
    this.#bytes += log.bytes - bytes;
    if (message.time - log.touched >= this.#touchMs || log === this.#oldest) {
      this.#touch(log, message.time);
    }
    while (this.#cost > this.#limits.maxMemory && this.#messages > 0) {
      const idlest = this.#oldest!;
      this.#evict(idlest, idlest.length - 1, -Infinity);
      if (idlest.length > 0) continue;
      if (idlest.watched || idlest === log) this.#touch(idlest);
      else this.#drop(idlest);
    }
  }

  get #cost(): number {
    return this.#bytes + this.#messages * MESSAGE_OVERHEAD;
  }

  #expire(log: Log): void {
    this.#evict(log, this.#limits.history, this.#now() - this.#limits.historyTtl);
  }

  /** Keeps at most `count` messages, all later than `time`. */
  #evict(log: Log, count: number, time: number): void {
    const { length, bytes } = log;
    log.trim(count, time);
    this.#messages -= length - log.length;
    this.#bytes -= bytes - log.bytes;
  }

  #remember(key: Key, receipt: Receipt, time: number): void {
    if (this.#ids.size >= this.#limits.maxIds) {
      for (const oldest of this.#ids.keys()) {
        this.#ids.delete(oldest);
        break;
      }
    }
    this.#ids.set(key, { receipt, time });
  }

  #describe(log: Log): ChannelInfo {
    this.#expire(log);
    const { length, bytes, oldest } = log;
    return {
      channel: log.channel,
      seq: log.seq,
      epoch: log.epoch,
      history: { messages: length, bytes, oldest: oldest?.seq ?? null },
    };
  }

  #touch(log: Log, now: number = this.#now()): void {
    log.touched = now;
    if (log === this.#newest) return;
    this.#unlink(log);
    this.#link(log);
  }

  #link(log: Log): void {
    log.older = this.#newest;
    log.newer = undefined;
    if (this.#newest === undefined) this.#oldest = log;
    else this.#newest.newer = log;
    this.#newest = log;
  }

  #unlink(log: Log): void {
    if (log.older === undefined) this.#oldest = log.newer;
    else log.older.newer = log.newer;
    if (log.newer === undefined) this.#newest = log.older;
    else log.newer.older = log.older;
  }
}

/**
 * A clock that starts at 0: for weeks its numbers are small enough for the runtime to keep them in an
 * object, where those since 1970 are objects of their own.
 */
function sinceNow(): () => number {
  const start = Date.now();
  return () => Date.now() - start;
}

/**
 * Names for epochs: the time in milliseconds to the base 36, which has eight digits and so sorts
 * by age until 2059; never the same one twice.
 */
function epochsByTime(): () => string {
  let last = 0;
  return () => (last = Math.max(last + 1, Date.now())).toString(36);
}
