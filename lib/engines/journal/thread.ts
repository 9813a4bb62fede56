/**
 * The journal's thread as the engine sees it.
 *
 * @module
 */
import { FileLock } from "./lock.ts";
import { exists } from "./paths.ts";
import {
  type Figures,
  type FileOptions,
  JournalError,
  type MessageRow,
  type Opened,
  type Transaction,
} from "./rows.ts";
import { type Answer, JOURNAL_THREAD, JOURNAL_WORKER, type Order } from "./worker.ts";

/**
 * The most starts that did not finish, one after the other, whose names are kept. With more, the file may
 * count as a copy.
 */
const MOST_STARTS = 16;

/** SQLite failed. */
export class StorageError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "StorageError";
  /** Whether there is no room. */
  readonly full: boolean;

  /** A failure that SQLite describes like this. */
  constructor(message: string, full: boolean) {
    super(message);
    this.full = full;
  }
}

/** Gives orders to the thread, one after the other. */
export class JournalThread {
  #worker: Worker | undefined;
  #lock: FileLock | undefined;
  #opened = false;
  readonly #answers: ((answer: Answer) => void)[] = [];
  /** Why the thread has ended, if it has ended by itself. */
  #death: Answer | undefined;

  /**
   * Opens the file, for this process alone.
   *
   * @throws {JournalError} If it cannot be used. Nothing in it was changed then.
   */
  async open(options: Omit<FileOptions, "start" | "lastStarts" | "hasLog">): Promise<Opened> {
    this.#lock = await FileLock.acquire(options.path);
    const { path } = this.#lock;
    const lastStarts = await this.#lock.lastStarts();
    const hasLog = await exists(`${path}-wal`);
    const start = crypto.randomUUID();
    // A kill may come before the file names this start, or after.
    await this.#lock.write([...lastStarts.slice(-MOST_STARTS), start]);
    this.#worker = new Worker(JOURNAL_WORKER, { type: "module", name: JOURNAL_THREAD });
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#answers.shift()!(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#death = { error: `the thread ended: ${event.message}`, refused: false, full: false };
      for (const answer of this.#answers.splice(0)) answer(this.#death);
    };
    const opened = await this.#order<Opened>({
      method: "open",
      args: [{ ...options, path, start, lastStarts, hasLog }],
    });
    await this.#lock.write([start]);
    this.#opened = true;
    return opened;
  }

  /** The messages after a row. */
  messages(after: number, count: number): Promise<readonly MessageRow[]> {
    return this.#order({ method: "messages", args: [after, count] });
  }

  /** Writes a transaction. */
  commit(transaction: Transaction): Promise<Figures> {
    return this.#order({ method: "commit", args: [transaction] });
  }

  /** Fails unless the file is there and has room for a message. */
  async probe(): Promise<void> {
    await this.#checkFile();
    await this.#order({ method: "probe", args: [] });
  }

  /**
   * Forgets receipts, and gives free pages back. Fails unless the file is there.
   *
   * @returns Whether there is more to do.
   */
  async tidy(receiptsUpTo: number, mostReceipts: number, mostPages: number): Promise<boolean> {
    await this.#checkFile();
    return await this.#order({ method: "tidy", args: [receiptsUpTo, mostReceipts, mostPages] });
  }

  /** Closes the file, ends the thread, and lets other processes have the file. */
  async close(): Promise<void> {
    if (this.#opened) {
      const end = crypto.randomUUID();
      // If the disk fails, the next start finds that the file was not closed.
      await this.#order({ method: "close", args: [end] }).then(() => this.#lock!.write([end]))
        .catch(() => {});
    }
    this.#worker?.terminate();
    this.#lock?.release();
  }

  /** The database would go on writing to a file that nobody finds any more. */
  async #checkFile(): Promise<void> {
    if (!await this.#lock!.holds()) {
      throw new StorageError("the file was removed or replaced", false);
    }
  }

  #order<T>(order: Order): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (answer: Answer) => {
        if ("value" in answer) resolve(answer.value as T);
        else if (answer.refused) reject(new JournalError(answer.error));
        else reject(new StorageError(answer.error, answer.full));
      };
      if (this.#death !== undefined) return settle(this.#death);
      this.#answers.push(settle);
      this.#worker!.postMessage(order);
    });
  }
}
