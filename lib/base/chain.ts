/**
 * A list in the order of the last touch. Its items hold the links themselves, so finding, moving
 * and removing one costs the same, however many there are or have been.
 *
 * @module
 */

/** The links of an item. They belong to its chain. */
export interface Linked<T> {
  /** The item that was touched before this one. */
  older: T | undefined;
  /** The item that was touched after this one. */
  newer: T | undefined;
}

/** Items in the order of the last touch. An item may be in one chain at a time. */
export class Chain<T extends Linked<T>> {
  #oldest: T | undefined;
  #newest: T | undefined;
  #size = 0;

  /** How many items there are. */
  get size(): number {
    return this.#size;
  }

  /** The item that was touched longest ago. Undefined if there is none. */
  get oldest(): T | undefined {
    return this.#oldest;
  }

  /** Whether the item is in this chain. It must not be in another one. */
  has(item: T): boolean {
    return item.older !== undefined || item === this.#oldest;
  }

  /** Adds an item, which must not be in a chain, as the newest. */
  add(item: T): void {
    item.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = item;
    else this.#newest.newer = item;
    this.#newest = item;
    this.#size++;
  }

  /** Removes an item, which must be in this chain. */
  remove(item: T): void {
    const { older, newer } = item;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    item.older = item.newer = undefined;
    this.#size--;
  }

  /** Makes an item, which must be in this chain, the newest. */
  touch(item: T): void {
    if (item === this.#newest) return;
    this.remove(item);
    this.add(item);
  }
}
