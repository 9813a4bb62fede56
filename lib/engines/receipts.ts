/**
 * Idempotency: a publish that repeats an id within `--id-ttl` gets the first receipt again, and nothing
 * is published.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";
import { Recents } from "../base/recents.ts";
import type { Receipt } from "../core/engine.ts";

/** The limits of receipts. They may change, except for `maxIds`. */
export interface ReceiptLimits {
  /** The most ids that are remembered. */
  readonly maxIds: number;
  /** How long an id is remembered, in milliseconds. */
  readonly idTtl: number;
}

/** An id as it is remembered: the same id means another message in another channel. */
export function idKey(channel: string, id: string): Key {
  return keyOf(`${channel}\n${id}`);
}

/** The receipts of messages that were published with an id. */
export class Receipts {
  readonly #limits: ReceiptLimits;
  readonly #recents: Recents<Key, { readonly receipt: Receipt; readonly time: number }>;

  /** No receipts yet. */
  constructor(limits: ReceiptLimits) {
    this.#limits = limits;
    this.#recents = new Recents(limits.maxIds);
  }

  /** The receipt of an id. Undefined if it was not used within `idTtl`. */
  get(key: Key, now: number): Receipt | undefined {
    const known = this.#recents.get(key);
    return known !== undefined && !this.#isOver(known.time, now) ? known.receipt : undefined;
  }

  /** Remembers the receipt of an id. Forgets the oldest id if there are too many. */
  set(key: Key, receipt: Receipt, now: number): void {
    this.#recents.set(key, { receipt, time: now });
  }

  /**
   * Forgets ids that are over, at most `budget` of them. Returns what is left of the budget: less than 0 if
   * more ids are over.
   */
  expire(now: number, budget: number): number {
    for (let id = this.#recents.oldest; id !== undefined; id = this.#recents.oldest) {
      if (!this.#isOver(id.value.time, now) || --budget < 0) break;
      this.#recents.delete(id.key);
    }
    return budget;
  }

  #isOver(time: number, now: number): boolean {
    return time <= now - this.#limits.idTtl;
  }
}
