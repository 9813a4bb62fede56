/**
 * All that one transaction publishes.
 *
 * @module
 */
import { type Key, keyOf } from "../../base/key.ts";
import type { Publication, Receipt } from "../../core/engine.ts";
import type { MemoryEngine } from "../memory.ts";
import { idKey } from "../receipts.ts";
import type { Changes } from "./changes.ts";
import type { ChannelRow, NewMessage, NewReceipt } from "./rows.ts";

/** Publications that are published together, or none of them. */
export interface Publishing {
  /** In their order. */
  readonly publications: readonly Publication[];
  /** Bytes that they take while they wait. */
  readonly bytes: number;
  /** Answers the publisher. */
  resolve(receipts: Receipt[]): void;
  /** Refuses the publisher. */
  reject(error: unknown): void;
}

/** Where a channel will be. */
interface Head {
  readonly id: number;
  readonly epoch: string;
  seq: number;
}

/** A publication with its number, and its receipt as soon as it is published. */
interface Numbered {
  readonly publication: Publication;
  readonly row: number;
  readonly epoch: string;
  readonly seq: number;
  receipt?: Receipt;
}

/**
 * Numbers messages, and makes them visible when they are written. Nobody sees a number before: if the
 * transaction fails, the numbers are given again.
 */
export class GroupCommit {
  /** Channels that begin with a message of this transaction. */
  readonly channels: ChannelRow[] = [];
  /** The messages. */
  readonly messages: NewMessage[] = [];
  /** The receipts of those with an id. */
  readonly receipts: NewReceipt[] = [];
  /** The row of the first message. */
  readonly first: number;
  readonly #memory: MemoryEngine;
  readonly #changes: Changes;
  readonly #entries: (readonly [Publishing, readonly (Numbered | Receipt)[]])[] = [];
  readonly #heads = new Map<Key, Head>();
  readonly #ids = new Map<Key, Numbered>();

  /** A transaction without messages. */
  constructor(memory: MemoryEngine, changes: Changes, first: number) {
    this.#memory = memory;
    this.#changes = changes;
    this.first = first;
  }

  /** The row of the next message. */
  get next(): number {
    return this.first + this.messages.length;
  }

  /** Gives numbers to all publications, or refuses them if there is no room for all of them. */
  add(publishing: Publishing): void {
    try {
      this.#memory.reserve(publishing.publications);
    } catch (error) {
      return publishing.reject(error);
    }
    this.#entries.push([publishing, publishing.publications.map((each) => this.#number(each))]);
  }

  /** Makes the messages visible, which are written now, and answers their publishers. */
  show(): void {
    for (const [id, channel] of this.channels) this.#changes.began(channel, id);
    const receipts = this.#entries.map(([, numbered]) => numbered.map((each) => this.#show(each)));
    this.#entries.forEach(([publishing], i) => publishing.resolve(receipts[i]));
  }

  /** Refuses all publishers. */
  refuse(error: unknown): void {
    for (const [publishing] of this.#entries) publishing.reject(error);
  }

  #number(publication: Publication): Numbered | Receipt {
    const { channel, data, id, type = null } = publication;
    const key = id === undefined ? undefined : idKey(channel, id);
    const earlier = key && (this.#memory.receiptOf(channel, id!) ?? this.#ids.get(key));
    if (earlier !== undefined) return earlier;
    const row = this.next;
    const head = this.#headOf(channel, row);
    const { epoch } = head;
    const seq = ++head.seq;
    const numbered = { publication, row, epoch, seq };
    this.messages.push([head.id, seq, type, data]);
    if (key !== undefined) {
      this.#ids.set(key, numbered);
      this.receipts.push([row, channel, id!, seq, epoch]);
    }
    return numbered;
  }

  /** Where a channel will be after what is numbered so far. It begins with a message of this row if it is new. */
  #headOf(channel: string, row: number): Head {
    const key = keyOf(channel);
    let head = this.#heads.get(key);
    if (head !== undefined) return head;
    const { epoch, head: seq } = this.#memory.since(channel, undefined, 0);
    const id = this.#changes.idOf(channel) ?? row;
    if (id === row) this.channels.push([id, channel, epoch, seq]);
    head = { id, epoch, seq };
    this.#heads.set(key, head);
    return head;
  }

  #show(numbered: Numbered | Receipt): Receipt {
    if (!("publication" in numbered)) return numbered;
    const { publication: { channel, data, id, type }, row, epoch, seq } = numbered;
    const typed = type === undefined ? {} : { type };
    return numbered.receipt ??= this.#memory.take({ channel, data, ...typed, epoch, seq, row }, id);
  }
}
