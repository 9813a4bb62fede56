/**
 * The tables of the file, and whether a file has them.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { type FileOptions, JournalError } from "./rows.ts";

/** Says that a database is ours: "rivr". */
const APPLICATION_ID = 0x72_69_76_72;
/** The setting of `auto_vacuum` with which free pages are given back when they are asked for. */
const INCREMENTAL = 2;
/** The version of the tables below. */
const VERSION = 1;

// Messages have no index but their row, so that each costs one write at the end of one table. What clients
// choose has the type ANY: see `text.ts`.
const TABLES = `
  CREATE TABLE message (
    row INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    type ANY,
    data ANY NOT NULL
  ) STRICT;
  CREATE TABLE channel (
    id INTEGER PRIMARY KEY,
    name ANY NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE fork (
    channel INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    after INTEGER NOT NULL,
    PRIMARY KEY (channel, epoch)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE receipt (
    row INTEGER PRIMARY KEY,
    channel ANY NOT NULL,
    id ANY NOT NULL,
    seq INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    time INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/**
 * How large the log of changes may become, as a share of the file and in bytes, before it is copied into the
 * file. A slow disk holds up publishers for some flushes then, so it should be rare: with a flush of 10 ms, a log
 * of 4 MiB made the p99 of a receipt seven times as long, and one of 64 MiB hardly shows.
 */
const LOG_SHARE = 1 / 16;
const MOST_LOG = 64 * 2 ** 20;
/** The least size of a file: without messages it takes some of that. */
const MIN_PAGES = 64;

/**
 * Opens the database, and makes it if it is not there.
 *
 * @throws {JournalError} If it is not a journal, or a newer version wrote it.
 */
export function openDatabase({ path, maxData }: FileOptions): DatabaseSync {
  return withDatabase(path, {}, (db) => {
    checkJournal(db, path);
    db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    // This is settled with the first page. Without it, the file would never become smaller.
    if (pragma(db, "auto_vacuum") !== INCREMENTAL) {
      throw new JournalError(`${path} is an empty database of another program: remove it`);
    }
    // What begins a run must be on the disk before anything is acknowledged. `begin` sets what holds then.
    db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA journal_size_limit = ${MOST_LOG};
      PRAGMA busy_timeout = 1000;
      PRAGMA cache_size = -16384;
      PRAGMA temp_store = MEMORY;
    `);
    if (pragma(db, "application_id") === 0) {
      db.exec(`BEGIN; ${TABLES}; PRAGMA application_id = ${APPLICATION_ID};
        PRAGMA user_version = ${VERSION}; COMMIT`);
    }
    const pageSize = pragma(db, "page_size");
    const pages = Math.max(MIN_PAGES, Math.floor(maxData / pageSize));
    const logPages = Math.ceil(Math.min(MOST_LOG, maxData * LOG_SHARE) / pageSize);
    db.exec(`PRAGMA max_page_count = ${pages}; PRAGMA wal_autocheckpoint = ${logPages}`);
    return db;
  });
}

/**
 * Opens a journal that is there, as it is.
 *
 * @throws {JournalError} If it is not there, is not a journal, or a newer version wrote it.
 */
export function openJournal(path: string): DatabaseSync {
  // To open a file makes it if it is not there.
  withDatabase(path, { readOnly: true }, (db) => db.close());
  return withDatabase(path, {}, (db) => {
    checkJournal(db, path);
    if (pragma(db, "application_id") === 0) throw new JournalError(`${path} is empty`);
    return db;
  });
}

/**
 * Checks every page of a file.
 *
 * @throws {JournalError} If one is damaged.
 */
export function checkPages(db: DatabaseSync, path: string): void {
  const found = db.prepare("PRAGMA quick_check(1)").get() as { quick_check: string };
  if (found.quick_check !== "ok") {
    throw new JournalError(`${path} is damaged: ${found.quick_check.replaceAll(/\s+/g, " ")}`);
  }
}

/** A number that the database knows by this name. */
export function pragma(db: DatabaseSync, name: string): number {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[0];
}

/** Opens a database for an action that may refuse it. */
function withDatabase<T>(
  path: string,
  options: { readOnly?: boolean },
  action: (db: DatabaseSync) => T,
): T {
  let db: DatabaseSync;
  try {
    db = new DatabaseSync(path, options);
  } catch (error) {
    throw new JournalError(`Cannot open ${path}: ${(error as Error).message}`);
  }
  try {
    return action(db);
  } catch (error) {
    db.close();
    if (error instanceof JournalError) throw error;
    throw new JournalError(`Cannot use ${path}: ${(error as Error).message}`);
  }
}

/** Refuses a file that is not ours before anything is written to it. */
function checkJournal(db: DatabaseSync, path: string): void {
  const id = pragma(db, "application_id");
  const { count } = db.prepare("SELECT count(*) AS count FROM sqlite_schema").get() as {
    count: number;
  };
  if (id === 0 && count === 0) return;
  if (id !== APPLICATION_ID) throw new JournalError(`${path} is a database of another program`);
  const version = pragma(db, "user_version");
  if (version > VERSION) {
    throw new JournalError(
      `${path} was written by a newer river (version ${version} of the file, this one knows ${VERSION})`,
    );
  }
}
