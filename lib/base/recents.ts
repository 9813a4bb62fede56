/**
 * A map of limited size, which forgets the entry that was set longest ago.
 *
 * @module
 */
import { Chain, type Linked } from "./chain.ts";

/** A key and its value, as `Recents` keeps them. */
export interface Recent<K, V> {
  /** The key. */
  readonly key: K;
  /** The value that was last set. */
  readonly value: V;
}

interface Entry<K, V> extends Recent<K, V>, Linked<Entry<K, V>> {
  value: V;
}

/**
 * A map with a maximum number of keys. Finding and forgetting the oldest key take constant time,
 * however many keys were forgotten before. A plain `Map` would walk over all its deleted keys to
 * reach the first one.
 */
export class Recents<K, V> {
  readonly #max: number;
  readonly #entries = new Map<K, Entry<K, V>>();
  readonly #chain = new Chain<Entry<K, V>>();

  /** An empty map that keeps at most `max` keys. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Number of keys. */
  get size(): number {
    return this.#entries.size;
  }

  /** The entry that was set longest ago. Undefined if the map is empty. */
  get oldest(): Recent<K, V> | undefined {
    return this.#chain.oldest;
  }

  /** The value of a key. Undefined if the key is not there. */
  get(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /**
   * Sets the value of a key and makes the key the newest. If there are then too many keys, forgets
   * the oldest one.
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
