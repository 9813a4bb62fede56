/**
 * What the file holds, as the engine and the thread tell it each other. Rows are arrays: they take a fraction
 * of the time that objects would take between threads.
 *
 * @module
 */

/** When a commit is safe: when the operating system has it, or when the disk has it. */
export type Sync = "normal" | "full";

/** How a file is opened. */
export interface FileOptions {
  /** The file. It is made if it is not there. */
  readonly path: string;
  /** What a commit waits for. */
  readonly sync: Sync;
  /** Maximum size of the file, in bytes. */
  readonly maxData: number;
  /** Names the run of the machine. Empty if it is not known. */
  readonly boot: string;
  /** The starts that the file itself names, unless it is a copy. */
  readonly lastStarts: readonly string[];
  /** Whether the log of changes is beside the file. After a crash, it holds what was written last. */
  readonly hasLog: boolean;
  /** Names this start. */
  readonly start: string;
  /** Receipts up to this time are forgotten, in milliseconds since 1970. */
  readonly receiptsAfter: number;
}

/**
 * A message that is not written yet: its channel's id, its seq, type and data. Its row is one more than that
 * of the message before it.
 */
export type NewMessage = [channel: number, seq: number, type: string | null, data: string];

/** A message: its row, its channel's id, its seq, time in milliseconds since 1970, type and data. */
export type MessageRow = [
  row: number,
  channel: number,
  seq: number,
  time: number,
  type: string | null,
  data: string,
];

/**
 * A channel: its id, name, epoch, and the seq of the last message that is not in the file any more. An id names
 * a channel from its begin until it is dropped or reset. It is the row of its first message.
 */
export type ChannelRow = [id: number, name: string, epoch: string, seq: number];

/** An earlier epoch of a channel, and its last seq that the next epoch shares. */
export type ForkRow = [channel: number, epoch: string, after: number];

/** A receipt that is not written yet: the row of its message, channel, id, seq and epoch. */
export type NewReceipt = [row: number, channel: string, id: string, seq: number, epoch: string];

/** A receipt, and when it was given, in milliseconds since 1970. */
export type ReceiptRow = [...NewReceipt, time: number];

/** What one transaction writes. */
export interface Transaction {
  /** The row of the first message. */
  readonly first: number;
  /** In milliseconds since 1970. */
  readonly time: number;
  /** The messages, in the order of their rows. */
  readonly messages: readonly NewMessage[];
  /** The receipts of those with an id. */
  readonly receipts: readonly NewReceipt[];
  /** Channels that began, or whose last message is deleted. */
  readonly channels: readonly ChannelRow[];
  /** Rows of messages to delete. */
  readonly deleted: readonly number[];
  /** Ids of channels to delete. Their messages may stay: nobody looks for them. */
  readonly dropped: readonly number[];
  /** The epoch of channels that begin from now on. */
  readonly epoch: string;
}

/** How much a file holds. */
export interface Figures {
  /** Number of messages. */
  readonly rows: number;
  /** Number of ids whose receipts are kept. */
  readonly ids: number;
  /** Its size in bytes. */
  readonly bytes: number;
  /** How much of it is in use. */
  readonly used: number;
}

/** What an opened file holds beside its messages. */
export interface Opened extends Figures {
  /** The epoch of channels that begin from now on. */
  readonly epoch: string;
  /** All channels. */
  readonly channels: readonly ChannelRow[];
  /** The epochs that channels continue, oldest first. */
  readonly forks: readonly ForkRow[];
  /** The receipts that count, oldest first. */
  readonly receipts: readonly ReceiptRow[];
}

/** A file that cannot be used as it is. Nothing in it was changed. */
export class JournalError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "JournalError";
}
