/**
 * A map that forgets the entry that was set longest ago.
 *
 * @module
 */
import { Chain, type Linked } from "./chain.ts";

/** A key and its value, as `Recents` keeps them. */
export interface Recent<K, V> {
  /** The key. */
  readonly key: K;
  /** The value that was set last. */
  readonly value: V;
}

interface Entry<K, V> extends Recent<K, V>, Linked<Entry<K, V>> {
  value: V;
}

/**
 * Values by key, at most so many. Finding and forgetting the oldest costs the same, however many
 * were forgotten. A plain `Map` would walk over all deleted keys to reach its first one.
 */
export class Recents<K, V> {
  readonly #max: number;
  readonly #entries = new Map<K, Entry<K, V>>();
  readonly #chain = new Chain<Entry<K, V>>();

  /** A map without keys that keeps at most `max` of them. */
  constructor(max: number) {
    this.#max = max;
  }

  /** How many keys are kept. */
  get size(): number {
    return this.#entries.size;
  }

  /** The entry that was set longest ago. Undefined if there is none. */
  get oldest(): Recent<K, V> | undefined {
    return this.#chain.oldest;
  }

  /** The value of a key. */
  get(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /**
   * Sets the value of a key, which becomes the newest. Forgets the oldest key if there are too
   * many.
   */
  set(key: K, value: V): void {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.value = value;
      return this.#chain.touch(known);
    }
    const entry: Entry<K, V> = { key, value, older: undefined, newer: undefined };
    this.#entries.set(key, entry);
    this.#chain.add(entry);
    if (this.#entries.size > this.#max) this.delete(this.#chain.oldest!.key);
  }

  /** Forgets a key. Does nothing if it is not there. */
  delete(key: K): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#chain.remove(entry);
  }
}
