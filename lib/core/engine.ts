/**
 * The contract of an engine. An engine numbers messages, keeps the recent ones, and relays them.
 * `tests/support/engine_suite.ts` holds every engine to it.
 *
 * @module
 */
import type { Histogram } from "../base/histogram.ts";
import type { Cursor, Position } from "./cursor.ts";
import type { Message } from "./message.ts";
import { Refusal, RETRY_AFTER } from "./refusal.ts";

/** A message to publish. */
export interface Publication {
  /** Name of the channel. */
  readonly channel: string;
  /** Its text. */
  readonly data: string;
  /** The idempotency key. As long as it is kept, a repeat is answered but not published. */
  readonly id?: string;
  /** The name of its event in event streams. Clients choose messages by it. */
  readonly type?: string;
}

/** The answer to a publisher: the message is numbered and stored. */
export interface Receipt {
  /** The channel published to. */
  readonly channel: string;
  /** The seq of the message. */
  readonly seq: number;
  /** The epoch that `seq` belongs to. */
  readonly epoch: string;
  /** How many subscribers of this process get the message. */
  readonly subscribers: number;
}

/** The messages after a position, and where the channel is now. */
export interface Replay {
  /** The current epoch of the channel. */
  readonly epoch: string;
  /**
   * The asked position in `epoch`, if `epoch` continues the asked epoch and both share that position. The
   * subscription then resumes from it without a gap. Left out if the asked epoch is the present one.
   */
  readonly from?: Position;
  /** Seq of the last message that was numbered, 0 before the first. */
  readonly head: number;
  /** Messages after the position, oldest first, without holes. There may be more of them. */
  readonly messages: readonly Message[];
}

/** The state of a channel, for operators. */
export interface ChannelInfo extends Position {
  /** Name of the channel. */
  readonly channel: string;
  /** Number of subscribers that the engine knows of: at least those of this process. */
  readonly subscribers: number;
  /**
   * How much is kept. `bytes` counts the data in UTF-8. `oldest` is a seq, or null if nothing is
   * kept.
   */
  readonly history: { messages: number; bytes: number; oldest: number | null };
}

/** One page of channels. */
export interface ChannelPage {
  /** The channels of this page, at most `limit`. */
  readonly channels: ChannelInfo[];
  /** Where the next page starts. Null on the last one. */
  readonly next: string | null;
}

/** What an engine has done and what it holds. It leaves out what it does not know. */
export interface Usage {
  /** Messages numbered since the start. */
  readonly published?: number;
  /** UTF-8 bytes of their data. */
  readonly publishedBytes?: number;
  /** Channels that the engine knows. */
  readonly channels?: number;
  /** Of these, channels that keep nothing and are known only because they are watched. */
  readonly onlyWatched?: number;
  /** Messages kept. */
  readonly messages?: number;
  /** UTF-8 bytes of data kept. */
  readonly bytes?: number;
  /** Bytes of memory that history takes. */
  readonly held?: number;
  /** Left out if it keeps nothing on a disk. */
  readonly storage?: StorageUsage;
}

/** What an engine has done with its disk. */
export interface StorageUsage {
  /** How long its transactions took, as the publishers wait for them. */
  readonly commitSeconds: Histogram;
  /** Messages in its file. */
  readonly rows: number;
  /** Size of its file, in bytes. */
  readonly bytes: number;
  /** Bytes of messages that wait to be written. */
  readonly unwritten: number;
  /** How often the disk failed. */
  readonly failures: number;
  /** When the last transaction was written, in milliseconds since 1970. Undefined before the first. */
  readonly lastCommit: number | undefined;
}

/** Why an engine cannot do its work at the moment. */
export interface Unready {
  /** A stable identifier in snake_case, for example `starting`. */
  readonly reason: string;
  /** Since when, in milliseconds since 1970. */
  readonly since: number;
}

/** The process that an engine serves. */
export interface Local {
  /** Takes a message for the subscribers of this process. Never throws. */
  deliver(message: Message): void;
  /** How many subscribers of this process a channel has. */
  subscribers(channel: string): number;
}

/**
 * Where messages are numbered and kept. `tests/support/engine_suite.ts` holds every engine to these
 * rules.
 *
 * **Epochs.** An epoch is the promise that a position names one message for ever. An engine that may have
 * forgotten a message that it acknowledged MUST NOT go on in that epoch. It MAY continue the epoch by another:
 * the two share all positions up to a fork, and the later one goes on from there. A position beyond the fork
 * names nothing any more.
 *
 * An engine MAY answer at once or with a promise. If it answers at once, the hot path creates no
 * promise. A promise MUST settle soon, whatever happens. Calls about one channel MUST take effect
 * in the order in which they were made. An error MUST leave the channel as it was.
 *
 * @example An engine that counts what passes through it, in a river
 * ```ts
 * import { MemoryEngine } from "../engines/memory.ts";
 * import { createRiver, DEFAULTS } from "../river.ts";
 * import type { Receipt } from "./engine.ts";
 *
 * class CountingEngine extends MemoryEngine {
 *   readonly counts = new Map<string, number>();
 *
 *   override publish(channel: string, data: string, id?: string, type?: string): Receipt {
 *     this.counts.set(channel, (this.counts.get(channel) ?? 0) + 1);
 *     return super.publish(channel, data, id, type);
 *   }
 * }
 *
 * const river = createRiver({ engine: new CountingEngine(DEFAULTS) });
 * await river.start();
 * ```
 *
 * @example Hold an engine to these rules
 * ```ts
 * import { engineSuite } from "../../tests/support/engine_suite.ts";
 * import { MemoryEngine } from "../engines/memory.ts";
 *
 * engineSuite("MemoryEngine", (limits) => new MemoryEngine(limits));
 * ```
 */
export interface Engine {
  /** Gets ready. MUST be called once, before anything else. */
  start(local: Local): Promise<void> | void;

  /**
   * Numbers and keeps a message.
   *
   * - MUST number the messages of each channel and epoch from 1, or from the fork if the epoch continues
   *   another, without holes.
   * - MUST set `continues` on the first message after a fork, and on no other.
   * - A channel that starts over MUST get an epoch that it never had before. Epochs consist of
   *   `0-9a-z`, and a later epoch of a channel sorts after its earlier ones.
   * - MUST store the message before it answers. From then on `since` finds it, within the limits.
   * - MUST pass it to `local.deliver` if the channel is watched: once, in order of seq, and not
   *   before `since` finds it.
   * - MUST answer a repeated `id` of a channel with the first receipt, and number nothing.
   * - MUST keep and relay the `type` with the message, and leave it out if there is none.
   * - MUST throw `EngineFullError` if there is no room for another channel.
   * - MUST throw `EngineUnavailableError` if it cannot store the message. If it does not know whether it
   *   stored it, the error MUST say so.
   */
  publish(
    channel: string,
    data: string,
    id?: string,
    type?: string,
  ): Promise<Receipt> | Receipt;

  /**
   * Numbers and keeps several messages in order, each as `publish` does. The receipts are in the
   * same order.
   *
   * - MUST number, keep and deliver all of them, or none if it throws. Other calls MUST NOT take
   *   effect in between.
   * - MUST throw `EngineFullError` if there is no room for all of the channels.
   * - MUST throw `BatchTooLargeError` if they would take more memory than the engine grants to one
   *   request. Otherwise one request could evict the history of other channels.
   */
  publishAll(publications: readonly Publication[]): Promise<Receipt[]> | Receipt[];

  /**
   * The messages after a position.
   *
   * - Without a cursor: MUST answer with the head and no messages.
   * - With a cursor in an epoch that the channel's epoch continues, at or before the fork: MUST answer as for
   *   the same seq in the channel's epoch, with `from`.
   * - With a cursor in any other epoch: MUST answer as for `{seq: 0}`.
   * - MUST answer with the oldest kept messages after the cursor: at least one if there is any, and
   *   roughly `maxBytes` at most. MUST NOT leave out a message in between.
   * - With a cursor beyond the head: MUST answer without messages.
   */
  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay;

  /**
   * Starts relaying a channel. Once it has answered, it MUST relay every message. From then on,
   * until `unwatch`, the engine MUST NOT forget the channel's epoch and seq. MUST throw
   * `EngineFullError` if there is no room.
   */
  watch(channel: string): Promise<void> | void;

  /** Stops relaying a channel. The engine MAY forget the channel once its history is gone. */
  unwatch(channel: string): Promise<void> | void;

  /**
   * Told how many subscribers of this process a watched channel has, each time that the number changes.
   * For an engine that serves several processes. Must not throw.
   */
  count?(channel: string, subscribers: number): void;

  /** The state of a channel. Undefined if it is not known. */
  info(channel: string): Promise<ChannelInfo | undefined> | ChannelInfo | undefined;

  /**
   * Known channels whose names start with `prefix`, at most `limit` of them. A channel that is
   * known all the time MUST appear exactly once on the pages. MUST NOT block the process.
   *
   * @param after `next` of the previous page. MUST throw a `RangeError` if it is malformed.
   */
  list(prefix: string, limit: number, after?: string): Promise<ChannelPage>;

  /**
   * Forgets the history of a channel and starts a new epoch. Answers with its state afterwards, or
   * undefined if it was not known.
   */
  reset(channel: string): Promise<ChannelInfo | undefined> | ChannelInfo | undefined;

  /** What it has done and what it holds, for the metrics. */
  usage(): Promise<Usage> | Usage;

  /**
   * Why it cannot publish or replay at the moment. Undefined if it can. MUST answer at once. MAY be
   * called before `start` has answered.
   */
  ready(): Unready | undefined;

  /** Releases everything. MUST NOT call `local` afterwards. */
  close(): Promise<void> | void;
}

/** There is no room for another channel. */
export class EngineFullError extends Refusal {
  /** Names the error in logs and stack traces. */
  override name = "EngineFullError";

  /** An error that says which room is lacking. */
  constructor(message: string) {
    super(503, "too_many_channels", `${message} (--max-channels)`, { "retry-after": RETRY_AFTER });
  }
}

/** The messages of one request would take more memory than one request may take. */
export class BatchTooLargeError extends Refusal {
  /** Names the error in logs and stack traces. */
  override name = "BatchTooLargeError";

  /** An error that says how much they would take. */
  constructor(message: string) {
    super(413, "batch_too_large", `${message} (--max-memory)`);
  }
}

/** The engine cannot do what it is asked at the moment, for example because its disk is full. */
export class EngineUnavailableError extends Refusal {
  /** Names the error in logs and stack traces. */
  override name = "EngineUnavailableError";

  /**
   * An error that clients take as a reason to come back later.
   *
   * @param message Says what is wrong, and whether the message may have been published.
   * @param code A stable identifier in snake_case.
   */
  constructor(message: string, code = "engine_unavailable") {
    // Random, so that clients do not come back all at once.
    super(503, code, message, { "retry-after": Math.random() < 0.5 ? "1" : "2" });
  }
}
