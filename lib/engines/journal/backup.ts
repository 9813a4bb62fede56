/**
 * Copies of the file, to and from. A copy that is served goes on in other epochs, because the original may
 * have given the same positions to other messages.
 *
 * @module
 */
import { backup, DatabaseSync } from "node:sqlite";
import { markCopy } from "./begin.ts";
import { FileLock } from "./lock.ts";
import { JournalError } from "./rows.ts";
import { checkPages, openJournal } from "./tables.ts";

/** All pages in one step: between steps a server would write, and the copy would begin again. */
const ALL_PAGES = 2 ** 31 - 1;

/**
 * Copies a journal, also while a server writes it. The copy replaces `target` when it is whole.
 *
 * @throws {JournalError} If `path` is not a journal, or the copy cannot be written.
 */
export async function backupJournal(path: string, target: string): Promise<void> {
  if (isSame(path, target)) throw new JournalError(`${target} is the history itself`);
  const db = openJournal(path);
  try {
    await replace(target, async (partial) => void await backup(db, partial, { rate: ALL_PAGES }));
  } finally {
    db.close();
  }
}

/**
 * Makes a journal from a copy.
 *
 * @param overwrite Whether a journal at `path` may be replaced.
 * @throws {JournalError} If `source` is not a whole journal, if a process uses `path`, or if something is
 * there that may not be replaced.
 */
export async function restoreJournal(
  source: string,
  path: string,
  overwrite: boolean,
): Promise<void> {
  if (isSame(source, path)) throw new JournalError(`${source} is the history itself`);
  openJournal(source).close();
  const lock = await FileLock.acquire(path);
  ({ path } = lock);
  try {
    if (!overwrite && exists(path)) throw new JournalError(`${path} exists already (--overwrite)`);
    await replace(path, (partial) => Deno.copyFile(source, partial));
    for (const ending of ["-wal", "-shm"]) {
      if (exists(path + ending)) await Deno.remove(path + ending);
    }
  } finally {
    lock.release();
  }
}

/** Makes a file beside `path`, and puts it in the place of `path` when it is whole. */
async function replace(path: string, make: (partial: string) => Promise<void>): Promise<void> {
  const partial = `${path}.partial`;
  try {
    await make(partial);
    const db = new DatabaseSync(partial);
    try {
      checkPages(db, partial);
      markCopy(db);
      // One file, whatever was copied: the log of changes goes into it, and is removed.
      db.exec("PRAGMA journal_mode = DELETE");
    } finally {
      db.close();
    }
    await Deno.rename(partial, path);
  } catch (error) {
    if (exists(partial)) await Deno.remove(partial);
    if (error instanceof JournalError) throw error;
    throw new JournalError(`Cannot write ${path}: ${(error as Error).message}`);
  }
}

function isSame(one: string, other: string): boolean {
  return exists(one) && exists(other) && Deno.realPathSync(one) === Deno.realPathSync(other);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
