/**
 * What memory forgot and the file has not heard of yet.
 *
 * @module
 */
import { type Key, keyOf } from "../../base/key.ts";
import type { ChannelRow } from "./rows.ts";

/** The most messages that one transaction deletes. */
const MOST_DELETED = 10_000;

/** Some changes, which one transaction writes. */
export interface ChangeSet {
  /** Rows of messages to delete. */
  readonly deleted: number[];
  /** Ids of channels to delete. */
  readonly dropped: number[];
  /** Channels whose last message is deleted. */
  readonly channels: ChannelRow[];
}

/** Collects what the next transactions have to forget. */
export class Changes {
  readonly #ids = new Map<Key, number>();
  #deleted: number[] = [];
  #dropped: number[] = [];
  readonly #channels = new Map<number, ChannelRow>();

  /** How much the file has not heard of. */
  get size(): number {
    return this.#deleted.length + this.#dropped.length + this.#channels.size;
  }

  /** The id of a channel in the file. Undefined if it is not there. */
  idOf(channel: string): number | undefined {
    return this.#ids.get(keyOf(channel));
  }

  /** A channel is in the file from now on. */
  began(channel: string, id: number): void {
    this.#ids.set(keyOf(channel), id);
  }

  /** A message is forgotten. */
  forget(row: number): void {
    this.#deleted.push(row);
  }

  /** A channel keeps no message any more, but its position. */
  empty(channel: string, epoch: string, seq: number): void {
    const id = this.idOf(channel);
    if (id !== undefined) this.#channels.set(id, [id, channel, epoch, seq]);
  }

  /** A channel is forgotten. If it begins again, it gets another id. */
  drop(channel: string): void {
    const id = this.idOf(channel);
    if (id === undefined) return;
    this.#ids.delete(keyOf(channel));
    this.#channels.delete(id);
    this.#dropped.push(id);
  }

  /** The changes of the next transaction. */
  take(): ChangeSet {
    const set = {
      deleted: this.#deleted.splice(0, MOST_DELETED),
      dropped: this.#dropped,
      channels: [...this.#channels.values()],
    };
    this.#dropped = [];
    this.#channels.clear();
    return set;
  }

  /** Puts back what a transaction that failed should have written. */
  putBack({ deleted, dropped, channels }: ChangeSet): void {
    this.#deleted = [...deleted, ...this.#deleted];
    this.#dropped = [...dropped, ...this.#dropped];
    const now = new Set(this.#dropped);
    for (const row of channels) {
      if (!this.#channels.has(row[0]) && !now.has(row[0])) this.#channels.set(row[0], row);
    }
  }
}
