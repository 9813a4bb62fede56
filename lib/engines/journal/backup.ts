/**
 * Copies of the file, to and from. A copy that is served goes on in other epochs, because the original may
 * have given the same positions to other messages.
 *
 * @module
 */
import { backup, DatabaseSync } from "node:sqlite";
import { markCopy } from "./begin.ts";
import { FileLock } from "./lock.ts";
import { exists, resolvePath } from "./paths.ts";
import { JournalError } from "./rows.ts";
import { checkPages, openJournal } from "./tables.ts";

/** All pages in one step: between steps a server would write, and the copy would begin again. */
const ALL_PAGES = 2 ** 31 - 1;

/** What SQLite and river keep beside a journal. */
const BESIDE = ["-wal", "-shm", ".lock"];

/**
 * Copies a journal, also while a server writes it. The copy replaces `target` when it is whole.
 *
 * @throws {JournalError} If `path` is not a journal, or the copy cannot be written.
 */
export async function backupJournal(path: string, target: string): Promise<void> {
  const [source, copy] = [await resolvePath(path), await resolvePath(target)];
  if (["", ...BESIDE].some((ending) => copy === source + ending)) {
    throw new JournalError(`${target} belongs to the history itself`);
  }
  // With the log of changes of another file, the copy would be damaged.
  if (await exists(`${copy}-wal`)) {
    throw new JournalError(`${target} is in use, or was not closed: there is ${target}-wal`);
  }
  await replace(source, copy);
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
  const copy = await resolvePath(source);
  openJournal(copy).close();
  const lock = await FileLock.acquire(path);
  try {
    if (copy === lock.path) throw new JournalError(`${source} is the history itself`);
    if (!overwrite && await exists(path)) {
      throw new JournalError(`${path} exists already (--overwrite)`);
    }
    await replace(copy, lock.path);
  } finally {
    lock.release();
  }
}

/** Copies a journal to a file beside `path`, and puts it in the place of `path` when it is whole. */
async function replace(source: string, path: string): Promise<void> {
  // Its own for each process, as two may run at once.
  const partial = `${path}.${Deno.pid}.partial`;
  const db = openJournal(source);
  try {
    await backup(db, partial, { rate: ALL_PAGES });
    finishCopy(partial);
    // They belong to the file that is replaced.
    for (const ending of ["-wal", "-shm"]) {
      if (await exists(path + ending)) await Deno.remove(path + ending);
    }
    await Deno.rename(partial, path);
  } catch (error) {
    for (const ending of ["", "-journal", "-wal", "-shm"]) {
      if (await exists(partial + ending)) await Deno.remove(partial + ending);
    }
    if (error instanceof JournalError) throw error;
    throw new JournalError(`Cannot write ${path}: ${(error as Error).message}`);
  } finally {
    db.close();
  }
}

/** Checks a copy, marks it as one, and makes it a single file: its log of changes goes into it. */
function finishCopy(path: string): void {
  const db = new DatabaseSync(path);
  try {
    checkPages(db, path);
    markCopy(db);
    db.exec("PRAGMA journal_mode = DELETE");
  } finally {
    db.close();
  }
}
