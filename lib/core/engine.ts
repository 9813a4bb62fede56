/**
 * The contract of an engine: it numbers messages, keeps the recent ones and relays them to those who watch.
 * `tests/support/engine_suite.ts` holds every engine to it.
 *
 * @module
 */
import type { Cursor, Position } from "./cursor.ts";
import type { Message } from "./message.ts";

/** A message to be published. */
export interface Publication {
  /** Name of the channel. */
  readonly channel: string;
  /** The text to publish. */
  readonly data: string;
  /** A repeat of the same id within the time that ids are kept is answered, but not published. */
  readonly id?: string;
}

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
  /** Of these, the ones that hold nothing and are known only because they are watched. */
  readonly onlyWatched: number;
  /** Messages kept. */
  readonly messages: number;
  /** UTF-8 bytes of data kept. */
  readonly bytes: number;
  /** Bytes of memory that history takes. */
  readonly held: number;
}

/** Why an engine cannot do its work just now. */
export interface Unready {
  /** Stable, in snake_case: `starting`, for example. */
  readonly reason: string;
  /** Since when, in milliseconds since 1970. */
  readonly since: number;
}

/** What an engine needs from the process that it serves. */
export interface Local {
  /** Takes a message for the subscribers of this process. Never throws. */
  deliver(message: Message): void;
  /** How many subscribers of this process a channel has. */
  subscribers(channel: string): number;
}

/**
 * Where messages are numbered and kept. `tests/support/engine_suite.ts` holds every engine to these rules.
 *
 * Answers MAY be given at once or as a promise; the hot path is synchronous with an engine that
 * answers at once. A promise MUST be settled before long, whatever happens. Calls about one channel MUST take effect in the order in which they were made.
 * An error MUST leave the channel as it was.
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
 *   override publish(channel: string, data: string, id?: string): Receipt {
 *     this.counts.set(channel, (this.counts.get(channel) ?? 0) + 1);
 *     return super.publish(channel, data, id);
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

  /**
   * Numbers and keeps several messages in order, each as `publish` does; the receipts are in the same
   * order.
   *
   * - MUST number, keep and deliver all of them, or none if it throws. Nothing else MUST take effect in
   *   between.
   * - MUST throw `EngineFullError` if there is no room for all of the channels.
   * - MUST throw `BatchTooLargeError` if they would take so much memory that the history of others had
   *   to go for them, beyond a share that the engine grants.
   */
  publishAll(publications: readonly Publication[]): Promise<Receipt[]> | Receipt[];

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

  /**
   * Forgets the history of a channel and starts a new epoch. The answer is its state afterwards;
   * undefined if it was not known.
   */
  reset(channel: string): Promise<ChannelInfo | undefined> | ChannelInfo | undefined;

  /** What was numbered here and what is held, for the metrics. */
  usage(): Usage;

  /**
   * Why it can neither publish nor replay just now; undefined if it can. MUST answer at once. MAY be
   * called before `start` has answered.
   */
  ready(): Unready | undefined;

  /** Lets go of everything. MUST NOT call `local` afterwards. */
  close(): Promise<void> | void;
}

/** There is no room for another channel. */
export class EngineFullError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "EngineFullError";
}

/** The messages of one request would take more memory than one request may. */
export class BatchTooLargeError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "BatchTooLargeError";
}
