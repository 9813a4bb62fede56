/**
 * A memory engine whose channels can be forked, as those of an engine that may have lost what it acknowledged
 * last: the numbers go on in another epoch.
 *
 * @module
 */
import type { Cursor } from "../../lib/core/cursor.ts";
import type { Local, Receipt, Replay } from "../../lib/core/engine.ts";
import type { Message } from "../../lib/core/message.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";

/** An epoch that continues the one before it, after the message with this seq. */
interface Fork {
  readonly epoch: string;
  readonly after: number;
}

/** Names the epochs of the memory engine anew after each fork. Forks only channels that are never reset. */
export class ForkingEngine extends MemoryEngine {
  readonly #forks = new Map<string, Fork[]>();

  override start(local: Local): void {
    super.start({
      deliver: (message) => local.deliver(this.#named(message)),
      subscribers: (channel) => local.subscribers(channel),
    });
  }

  /** Starts another epoch that shares all messages so far. Returns its name. */
  fork(channel: string): string {
    const { epoch, head } = super.since(channel, undefined, 0);
    const forks = this.#forks.get(channel) ?? [];
    // A later epoch of a channel sorts after its earlier ones.
    const fork = { epoch: `${epoch}z${forks.length}`, after: head };
    this.#forks.set(channel, [...forks, fork]);
    return fork.epoch;
  }

  override publish(channel: string, data: string, id?: string, type?: string): Receipt {
    const receipt = super.publish(channel, data, id, type);
    return { ...receipt, epoch: this.#epochAt(channel, receipt.epoch, receipt.seq) };
  }

  override since(channel: string, cursor: Cursor | undefined, maxBytes: number): Replay {
    const own = super.since(channel, undefined, 0).epoch;
    const epochs = [own, ...(this.#forks.get(channel) ?? []).map(({ epoch }) => epoch)];
    const present = epochs.at(-1)!;
    const at = cursor?.epoch === undefined ? epochs.length - 1 : epochs.indexOf(cursor.epoch);
    // Beyond the fork that ends the asked epoch, its positions name nothing.
    const end = this.#forks.get(channel)?.[at]?.after ?? Infinity;
    const shared = cursor !== undefined && at >= 0 && cursor.seq <= end;
    const asked = cursor === undefined ? undefined : { epoch: shared ? own : "0", seq: cursor.seq };
    const replay = super.since(channel, asked, maxBytes);
    return {
      epoch: present,
      ...(shared && at < epochs.length - 1 ? { from: { epoch: present, seq: cursor.seq } } : {}),
      head: replay.head,
      messages: replay.messages.map((message) => ({ ...this.#named(message), epoch: present })),
    };
  }

  #named(message: Message): Message {
    const { channel, seq } = message;
    const epoch = this.#epochAt(channel, message.epoch, seq);
    const forks = this.#forks.get(channel) ?? [];
    const at = forks.findIndex(({ after }) => after === seq - 1);
    const continues = at < 0 ? undefined : forks[at - 1]?.epoch ?? message.epoch;
    return { ...message, epoch, ...(continues === undefined ? {} : { continues }) };
  }

  #epochAt(channel: string, own: string, seq: number): string {
    return this.#forks.get(channel)?.findLast(({ after }) => after < seq)?.epoch ?? own;
  }
}
