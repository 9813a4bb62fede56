/**
 * A list of items, sorted by when each was last touched. The items hold the links themselves. So
 * finding, moving and removing an item take constant time, however long the list is or has been.
 *
 * @module
 */

/** The links of an item. Only its chain changes them. */
export interface Linked<T> {
  /** The item that was touched before this one. */
  older: T | undefined;
  /** The item that was touched after this one. */
  newer: T | undefined;
}

/** Items, sorted by when each was last touched. An item may be in one chain at a time. */
export class Chain<T extends Linked<T>> {
  #oldest: T | undefined;
  #newest: T | undefined;
  #size = 0;

  /** Number of items. */
  get size(): number {
    return this.#size;
  }

  /** The item that was touched longest ago. Undefined if the chain is empty. */
  get oldest(): T | undefined {
    return this.#oldest;
  }

  /** Whether the item is in this chain. It must not be in another one. */
  has(item: T): boolean {
    return item.older !== undefined || item === this.#oldest;
  }

  /** Adds an item as the newest. It must not be in any chain. */
  add(item: T): void {
    item.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = item;
    else this.#newest.newer = item;
    this.#newest = item;
    this.#size++;
  }

  /** Removes an item. It must be in this chain. */
  remove(item: T): void {
    const { older, newer } = item;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    item.older = item.newer = undefined;
    this.#size--;
  }

  /** Makes an item the newest. It must be in this chain. */
  touch(item: T): void {
    if (item === this.#newest) return;
    this.remove(item);
    this.add(item);
  }
}
