/**
 * Epochs that continue another, by channel. Few channels have any.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";

/** The end of an epoch that a later one continues: they share the positions up to `after`. */
export interface Fork {
  /** The earlier epoch. */
  readonly epoch: string;
  /** The seq of its last message that the later epoch has, too. */
  readonly after: number;
}

/** The earlier epochs of channels. */
export class Forks {
  readonly #forks = new Map<Key, readonly Fork[]>();

  /** Sets the epochs that the present epoch of a channel continues, oldest first. */
  set(channel: string, forks: readonly Fork[]): void {
    if (forks.length > 0) this.#forks.set(keyOf(channel), forks);
    else this.#forks.delete(keyOf(channel));
  }

  /** Whether a position of an earlier epoch names the same message in the present one. */
  isShared(channel: string, epoch: string, seq: number): boolean {
    const forks = this.#forks.get(keyOf(channel)) ?? [];
    const at = forks.findIndex((fork) => fork.epoch === epoch);
    return at >= 0 && forks.slice(at).every(({ after }) => seq <= after);
  }
}
