/**
 * Reads history back into memory.
 *
 * @module
 */
import type { Fork } from "../forks.ts";
import type { MemoryEngine } from "../memory.ts";
import type { Changes } from "./changes.ts";
import type { Opened } from "./rows.ts";
import type { JournalThread } from "./thread.ts";

/** Messages that are read between two turns. */
const PIECE = 1000;

/**
 * Reads back what a file holds. Other work gets its turns meanwhile.
 *
 * @returns The row of the next message.
 */
export async function restore(
  opened: Opened,
  thread: JournalThread,
  memory: MemoryEngine,
  changes: Changes,
): Promise<number> {
  const names = placeChannels(opened, memory, changes);
  let last = rememberReceipts(opened, memory);
  // The id of a channel is a row, too, and its messages may be gone.
  for (const id of names.keys()) last = Math.max(last, id);
  let [read, rows] = [0, await thread.messages(0, PIECE)];
  while (rows.length > 0) {
    // The thread reads the next ones meanwhile.
    read = rows.at(-1)![0];
    const following = thread.messages(read, PIECE);
    const now = Date.now();
    for (const [row, id, seq, time, type, data] of rows) {
      const channel = names.get(id);
      if (channel === undefined) {
        // Its channel was dropped or reset.
        changes.forget(row);
        continue;
      }
      const { epoch } = memory.since(channel, undefined, 0);
      const typed = type === null ? {} : { type };
      const message = { channel, epoch, seq, data, ...typed, row };
      memory.take(message, undefined, Math.max(0, now - time));
    }
    rows = await following;
  }
  memory.release();
  return Math.max(last, read) + 1;
}

/** Sets the positions of all channels. Returns their names by their ids. */
function placeChannels(
  { epoch, channels, forks }: Opened,
  memory: MemoryEngine,
  changes: Changes,
): Map<number, string> {
  memory.epoch = epoch;
  const ofChannel = Map.groupBy(forks, ([id]) => id);
  for (const [id, name, epoch, seq] of channels) {
    const earlier = (ofChannel.get(id) ?? []).map(([, epoch, after]): Fork => ({ epoch, after }));
    memory.place(name, { epoch, seq }, earlier);
    changes.began(name, id);
  }
  return new Map(channels.map(([id, name]) => [id, name]));
}

/** Remembers the receipts that count. Returns the row of the last one, 0 if there is none. */
function rememberReceipts({ receipts }: Opened, memory: MemoryEngine): number {
  const now = Date.now();
  for (const [, channel, id, seq, epoch, time] of receipts) {
    memory.remember(id, { channel, seq, epoch, subscribers: 0 }, Math.max(0, now - time));
  }
  return receipts.at(-1)?.[0] ?? 0;
}
