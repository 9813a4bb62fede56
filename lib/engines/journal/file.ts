/**
 * The file of the journal: an SQLite database that one thread writes.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { begin, markEnd, setMeta } from "./begin.ts";
import type {
  ChannelRow,
  Figures,
  FileOptions,
  ForkRow,
  MessageRow,
  Opened,
  ReceiptRow,
  Transaction,
} from "./rows.ts";
import { openDatabase, pragma } from "./tables.ts";
import { type Stored, stored, textOf } from "./text.ts";

/** Messages that one statement inserts: a call into SQLite costs more than a row does. */
const INSERTED = 16;
/** What must fit into a file that was full before it counts as having room again. */
const PROBE_BYTES = 256 * 1024;
/** The most receipts that are forgotten at once. */
const FORGOTTEN = 10_000;

/** An open file. */
export class JournalFile {
  readonly #db: DatabaseSync;
  readonly #pageSize: number;
  readonly #insertMessage: StatementSync;
  readonly #insertMessages: StatementSync;
  readonly #insertChannel: StatementSync;
  readonly #insertReceipt: StatementSync;
  readonly #deleteMessages: StatementSync;
  readonly #deleteChannel: StatementSync;
  readonly #deleteForks: StatementSync;
  readonly #pages: StatementSync;
  readonly #oldReceipts: StatementSync;
  #epoch: string;
  #rows: number;
  #ids: number;

  /**
   * Opens a file, or makes one.
   *
   * @throws {JournalError} If it is not a journal, of a newer version, or damaged.
   */
  constructor(options: FileOptions) {
    const db = openDatabase(options);
    try {
      this.#epoch = begin(db, options);
    } catch (error) {
      db.close();
      throw error;
    }
    this.#db = db;
    this.#pageSize = pragma(db, "page_size");
    this.#insertMessage = db.prepare(insertOf(1));
    this.#insertMessages = db.prepare(insertOf(INSERTED));
    this.#insertChannel = db.prepare("INSERT OR REPLACE INTO channel VALUES (?, ?, ?, ?)");
    this.#insertReceipt = db.prepare("INSERT INTO receipt VALUES (?, ?, ?, ?, ?, ?)");
    this.#deleteMessages = db.prepare(
      "DELETE FROM message WHERE row IN (SELECT value FROM json_each(?))",
    );
    this.#deleteChannel = db.prepare("DELETE FROM channel WHERE id = ?");
    this.#deleteForks = db.prepare("DELETE FROM fork WHERE channel = ?");
    this.#oldReceipts = db.prepare(`
      DELETE FROM receipt WHERE row IN (SELECT row FROM receipt ORDER BY row LIMIT ${FORGOTTEN})
      AND (time <= ? OR row <= (SELECT row FROM receipt ORDER BY row DESC LIMIT 1 OFFSET ?))
    `);
    this.#pages = db.prepare(
      "SELECT page_count AS pages, freelist_count AS free FROM pragma_page_count, pragma_freelist_count",
    );
    this.#rows = this.#count("message");
    this.#ids = this.#count("receipt");
  }

  /** What the file holds beside its messages. Receipts up to a time are forgotten first. */
  opened(receiptsUpTo: number): Opened {
    while (this.#forget(receiptsUpTo) > 0);
    return {
      ...this.figures(),
      epoch: this.#epoch,
      channels: this.#all<ChannelRow>("SELECT id, name, epoch, seq FROM channel"),
      forks: this.#all<ForkRow>("SELECT channel, epoch, after FROM fork ORDER BY channel, epoch"),
      receipts: this.#all<ReceiptRow>(
        "SELECT row, channel, id, seq, epoch, time FROM receipt ORDER BY row",
      ),
    };
  }

  /** The messages after a row, at most so many. */
  messages(after: number, count: number): MessageRow[] {
    return this.#all(
      "SELECT row, channel, seq, time, type, data FROM message WHERE row > ? ORDER BY row LIMIT ?",
      after,
      count,
    );
  }

  /** Carries out a transaction, or nothing of it if it throws. */
  commit(transaction: Transaction): Figures {
    const { epoch, messages, receipts } = transaction;
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const deleted = this.#change(transaction);
      if (epoch > this.#epoch) setMeta(this.#db, "epoch", epoch);
      this.#db.exec("COMMIT");
      this.#rows += messages.length - deleted;
      this.#ids += receipts.length;
    } catch (error) {
      // After some errors SQLite has rolled back already.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
    if (epoch > this.#epoch) this.#epoch = epoch;
    return this.figures();
  }

  /** Writes as much as a message may take, and deletes it again. Fails if there is no room. */
  probe(): void {
    setMeta(this.#db, "probe", "x".repeat(PROBE_BYTES));
    this.#db.exec("DELETE FROM meta WHERE key = 'probe'");
  }

  /**
   * Forgets receipts up to a time, and all but the newest so many. Gives free pages back to the file system,
   * at most so many.
   *
   * @returns Whether there is more to do.
   */
  tidy(receiptsUpTo: number, mostReceipts: number, mostPages: number): boolean {
    const forgotten = this.#forget(receiptsUpTo, mostReceipts);
    return this.#shrink(mostPages) || forgotten > 0;
  }

  /**
   * Writes everything into the file itself, and notes that nothing is missing.
   *
   * @param end Names the end of this run. A copy that was made before has another name.
   */
  close(end: string): void {
    this.#db.exec("PRAGMA synchronous = FULL; BEGIN IMMEDIATE");
    markEnd(this.#db, end);
    this.#db.exec("COMMIT");
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#db.close();
  }

  /** How much the file holds. */
  figures(): Figures {
    const { pages, free } = this.#pages.get() as { pages: number; free: number };
    const bytes = pages * this.#pageSize;
    return { rows: this.#rows, ids: this.#ids, bytes, used: bytes - free * this.#pageSize };
  }

  /** Writes what a transaction changes. Returns how many messages it deletes. */
  #change({ first, time, messages, receipts, channels, deleted, dropped }: Transaction): number {
    const gone = deleted.length === 0
      ? 0
      : Number(this.#deleteMessages.run(JSON.stringify(deleted)).changes);
    for (const id of dropped) {
      this.#deleteChannel.run(id);
      this.#deleteForks.run(id);
    }
    for (const [id, name, epoch, seq] of channels) {
      this.#insertChannel.run(id, stored(name), epoch, seq);
    }
    const rows = messages.map(([channel, seq, type, data], i) => [
      first + i,
      channel,
      seq,
      time,
      type && stored(type),
      stored(data),
    ]);
    const whole = rows.length - rows.length % INSERTED;
    for (let at = 0; at < whole; at += INSERTED) {
      this.#insertMessages.run(...rows.slice(at, at + INSERTED).flat());
    }
    for (const row of rows.slice(whole)) this.#insertMessage.run(...row);
    for (const [row, channel, id, seq, epoch] of receipts) {
      this.#insertReceipt.run(row, stored(channel), stored(id), seq, epoch, time);
    }
    return gone;
  }

  /** Gives back free pages. Returns whether there are more. */
  #shrink(mostPages: number): boolean {
    const free = pragma(this.#db, "freelist_count");
    if (mostPages === 0 || free === 0) return false;
    // `exec` would stop after the first page.
    this.#db.prepare(`PRAGMA incremental_vacuum(${mostPages})`).all();
    // Otherwise the file would become smaller only after more messages.
    this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    const left = pragma(this.#db, "freelist_count");
    return left > 0 && left < free;
  }

  /** Forgets old receipts and those that are too many, some at a time. Returns how many. */
  #forget(upTo: number, most = Number.MAX_SAFE_INTEGER): number {
    const forgotten = Number(this.#oldReceipts.run(upTo, most).changes);
    this.#ids -= forgotten;
    return forgotten;
  }

  #count(table: string): number {
    const row = this.#db.prepare(`SELECT count(*) AS count FROM ${table}`).get();
    return (row as { count: number }).count;
  }

  // deno-lint-ignore no-explicit-any
  #all<T extends any[]>(sql: string, ...values: number[]): T[] {
    const statement = this.#db.prepare(sql);
    // The declarations of the runtime lack it. Objects would take five times as long.
    (statement as unknown as { setReturnArrays(on: boolean): void }).setReturnArrays(true);
    const rows = statement.all(...values) as unknown as (number | null | Stored)[][];
    for (const row of rows) {
      for (let i = 0; i < row.length; i++) {
        const value = row[i];
        if (value instanceof Uint8Array) row[i] = textOf(value);
      }
    }
    return rows as T[];
  }
}

/** The statement that inserts so many messages. */
function insertOf(messages: number): string {
  return `INSERT INTO message VALUES ${Array(messages).fill("(?, ?, ?, ?, ?, ?)").join(", ")}`;
}
