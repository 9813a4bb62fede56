/**
 * What the start of a server finds in its file: whether the channels can go on where they were.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { afterEpoch, epochs } from "../epochs.ts";
import type { FileOptions } from "./rows.ts";
import { checkPages } from "./tables.ts";

/**
 * Begins a run. Every channel goes on in another epoch if something that was acknowledged may be gone, or if
 * the file is a copy, whose original may have gone on.
 *
 * @returns The epoch of channels that begin from now on.
 * @throws {JournalError} If the file is damaged.
 */
export function begin(
  db: DatabaseSync,
  { path, sync, boot, start, lastStarts, hasLog }: FileOptions,
): string {
  const meta = new Map(
    (db.prepare("SELECT key, value FROM meta").all() as { key: string; value: string }[])
      .map(({ key, value }) => [key, value]),
  );
  const isNew = meta.size === 0;
  const isClean = meta.get("clean") === "1";
  if (!isNew && !isClean) checkPages(db, path);
  // A process that is killed loses nothing of what it committed, unless somebody removes the log of changes. A
  // machine that stops may lose some, unless each commit waited for the disk.
  const isSameRun = boot !== "" && meta.get("boot") === boot;
  const isWhole = isClean || hasLog && (isSameRun || meta.get("sync") === "full");
  const goesOn = !isNew && isWhole && lastStarts.includes(meta.get("start") ?? "");
  const epoch = goesOn ? meta.get("epoch")! : epochs(afterEpoch(meta.get("epoch") ?? ""))();
  db.exec("BEGIN IMMEDIATE");
  if (!isNew && !goesOn) fork(db, epoch);
  for (const [key, value] of Object.entries({ clean: "0", sync, boot, start, epoch })) {
    setMeta(db, key, value);
  }
  db.exec("COMMIT");
  if (sync === "normal") db.exec("PRAGMA synchronous = NORMAL");
  return epoch;
}

/** Lets every channel go on in another epoch, from its last message that is here. */
function fork(db: DatabaseSync, epoch: string): void {
  db.exec(`
    CREATE TEMP TABLE span (channel INTEGER PRIMARY KEY, first INTEGER, last INTEGER);
    INSERT INTO span SELECT channel, min(seq), max(seq) FROM message GROUP BY channel;
    UPDATE channel SET seq = max(channel.seq, span.last) FROM span WHERE span.channel = channel.id;
    INSERT INTO fork SELECT id, epoch, seq FROM channel;
    DELETE FROM fork WHERE after < coalesce(
      (SELECT first - 1 FROM span WHERE span.channel = fork.channel),
      (SELECT seq FROM channel WHERE id = fork.channel)
    );
    DROP TABLE span;
  `);
  db.prepare("UPDATE channel SET epoch = ?").run(epoch);
}

/** Notes that a run has ended in order, and its name: a copy that was made before has another one. */
export function markEnd(db: DatabaseSync, end: string): void {
  setMeta(db, "clean", "1");
  setMeta(db, "start", end);
}

/** Lets every start of the file begin another epoch, as of a copy. */
export function markCopy(db: DatabaseSync): void {
  setMeta(db, "start", "");
}

/** Notes a fact about the file. */
export function setMeta(db: DatabaseSync, key: string, value: string): void {
  db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
}
