/**
 * The channels that an engine knows, and pages of them.
 *
 * @module
 */
import { afterOthers } from "../base/event_loop.ts";
import { type Key, keyOf } from "../base/key.ts";
import type { ChannelInfo, ChannelPage } from "../core/engine.ts";
import { ChannelLog } from "./channel_log.ts";

/** How many channels a page visits before other work gets a turn. */
const VISITED_PER_TURN = 10_000;

/** Channels by their names, in the order in which they began. */
export class Directory {
  readonly #logs = new Map<Key, ChannelLog>();
  #created = 0;

  /** Number of channels. */
  get size(): number {
    return this.#logs.size;
  }

  /** A channel. Undefined if it is not known. */
  get(channel: string): ChannelLog | undefined {
    return this.#logs.get(keyOf(channel));
  }

  /** Begins a channel that is not known yet. */
  create(channel: string, epoch: string): ChannelLog {
    const log = new ChannelLog(channel, epoch, ++this.#created);
    this.#logs.set(keyOf(channel), log);
    return log;
  }

  /** Forgets a channel. */
  delete(channel: string): void {
    this.#logs.delete(keyOf(channel));
  }

  /**
   * Channels whose names start with `prefix`, at most `limit` of them.
   *
   * @param describe What the page says of a channel.
   * @param after `next` of the page before.
   * @throws {RangeError} If `after` is malformed.
   */
  async page(
    prefix: string,
    limit: number,
    describe: (log: ChannelLog) => ChannelInfo,
    after = "0",
  ): Promise<ChannelPage> {
    if (!/^[0-9]{1,15}$/.test(after)) {
      throw new RangeError(`Cannot continue the list after ${JSON.stringify(after)}`);
    }
    // A Map is iterated in the order of insertion, even if it changes meanwhile.
    const channels: ChannelInfo[] = [];
    let visited = 0;
    let last = Number(after);
    for (const log of this.#logs.values()) {
      if (++visited % VISITED_PER_TURN === 0) await new Promise<void>(afterOthers);
      if (log.order <= last || !log.channel.startsWith(prefix)) continue;
      if (channels.length === limit) return { channels, next: String(last) };
      channels.push(describe(log));
      last = log.order;
    }
    return { channels, next: null };
  }
}
