/**
 * What is forgotten: messages and channels that are too old, and, when memory is full, the oldest messages of
 * the channel that was used longest ago.
 *
 * @module
 */
import { Chain } from "../base/chain.ts";
import type { ChannelLog } from "./channel_log.ts";
import type { Holdings } from "./cost.ts";

/**
 * The order of last touches may be wrong by this share of the time that history is kept, but at
 * most by this many milliseconds. Moving a channel to the end of the list accesses the memory of
 * two others. With very many channels, that would double the cost of each publish.
 */
const TOUCH_SHARE = 1 / 64;
const MAX_TOUCH_MS = 60_000;
/** Maximum number of messages and channels visited per turn, if the limit has become less. */
const SETTLE_STEPS = 10_000;

/** The limits of eviction. */
export interface EvictionLimits {
  /** Maximum number of messages kept per channel. */
  readonly history: number;
  /** Milliseconds that a message is kept. */
  readonly historyTtl: number;
  /** Maximum bytes of memory that history may take, including the channels. */
  readonly maxMemory: number;
}

/**
 * The channels that count against the limits, sorted by when each was last used: all except those that
 * are watched and keep nothing. Forgetting those would free nothing, and they must not keep other
 * channels out.
 *
 * To be published to is a use, and so is the moment at which the last subscriber leaves. `touched` of
 * a channel may lag behind its last publish, by at most `TOUCH_SHARE` and `MAX_TOUCH_MS`.
 */
export class Evictable {
  readonly #limits: EvictionLimits;
  readonly #holdings: Holdings;
  readonly #touchMs: number;
  readonly #chain = new Chain<ChannelLog>();

  /** No channels yet. What they take is added to `holdings`. */
  constructor(limits: EvictionLimits, holdings: Holdings) {
    this.#limits = limits;
    this.#holdings = holdings;
    this.#touchMs = Math.min(limits.historyTtl * TOUCH_SHARE, MAX_TOUCH_MS);
  }

  /** Number of channels. */
  get size(): number {
    return this.#chain.size;
  }

  /** The channel that was used longest ago. Undefined if there is none. */
  get oldest(): ChannelLog | undefined {
    return this.#chain.oldest;
  }

  /** Whether a channel counts. */
  has(log: ChannelLog): boolean {
    return this.#chain.has(log);
  }

  /** A channel counts from now on. It must not count already. */
  add(log: ChannelLog, now: number): void {
    log.touched = now;
    this.#chain.add(log);
    this.#holdings.held += log.cost;
  }

  /** A channel no longer counts. */
  remove(log: ChannelLog): void {
    this.#chain.remove(log);
    this.#holdings.held -= log.cost;
  }

  /** Makes a channel the last used. */
  touch(log: ChannelLog, now: number): void {
    log.touched = now;
    this.#chain.touch(log);
  }

  /** A channel was published to. */
  used(log: ChannelLog, now: number): void {
    if (now - log.touched >= this.#touchMs || log === this.#chain.oldest) this.touch(log, now);
  }

  /**
   * Forgets what is older than history is kept, and drops the channels that keep nothing then. They are
   * sorted by the last use, so only those that are dropped and one more are visited.
   *
   * @param budget The most channels to visit.
   * @param drop Called with each channel that has no messages left. It must no longer count afterwards.
   * @returns What is left of the budget: less than 0 if more channels have expired.
   */
  expire(now: number, budget: number, drop: (log: ChannelLog) => void): number {
    for (let log = this.#chain.oldest; log !== undefined; log = this.#chain.oldest) {
      const end = now - this.#limits.historyTtl;
      if (log.touched > end || --budget < 0) break;
      log.trim(this.#limits.history, end, this.#holdings);
      // `touched` lags, so this channel is not idle yet. All behind it were touched later.
      if (log.length > 0) break;
      drop(log);
    }
    return budget;
  }

  /**
   * Forgets messages until the rest fits into memory.
   *
   * @param log The channel that was just published to. It gives way last. Undefined if there is none.
   * @param drop Called with each channel that has no messages left. It must no longer count afterwards.
   * @param most Maximum bytes of memory that the rest may take.
   * @param steps Maximum number of messages and channels to visit.
   * @returns Whether the rest fits. Always true without `steps`.
   */
  makeRoom(
    log: ChannelLog | undefined,
    now: number,
    drop: (log: ChannelLog) => void,
    most: number = this.#limits.maxMemory,
    steps = Infinity,
  ): boolean {
    while (this.#holdings.held > most) {
      if (--steps < 0) return false;
      const longestIdle = this.#chain.oldest;
      if (longestIdle === undefined) break;
      if (this.#isBusy(longestIdle, log)) {
        this.touch(longestIdle, now);
        continue;
      }
      // It may be empty: its messages expired, or were gone before its last subscriber left.
      longestIdle.trim(longestIdle.length - 1, -Infinity, this.#holdings);
      if (longestIdle.length > 0) continue;
      // All other channels are gone. The message alone exceeds the limit, so it is not kept either.
      if (longestIdle === log) break;
      drop(longestIdle);
    }
    return true;
  }

  /**
   * Makes some room, if `maxMemory` has become less.
   *
   * @param drop See `makeRoom`.
   * @returns Whether the rest fits.
   */
  settle(now: number, drop: (log: ChannelLog) => void): boolean {
    return this.makeRoom(undefined, now, drop, this.#limits.maxMemory, SETTLE_STEPS);
  }

  /**
   * Whether the channel that was touched longest ago has been published to since. If so, other
   * channels have been idle for longer. If it is `log`, it was published to just now.
   */
  #isBusy(longestIdle: ChannelLog, log: ChannelLog | undefined): boolean {
    if (longestIdle === log) return this.#chain.size > 1;
    return longestIdle.newest !== undefined && longestIdle.newest.time > longestIdle.touched;
  }
}
