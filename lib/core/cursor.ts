/**
 * A position in a channel: `epoch-seq`, or a bare `seq`.
 *
 * @module
 */
import { quote } from "./refusal.ts";

/** "I have seen everything up to and including `seq`." */
export interface Cursor {
  /**
   * Absent if the client knows only the number. `seq` then belongs to the channel's current epoch.
   */
  readonly epoch?: string;
  /** Seq of the last message seen, 0 before the first. */
  readonly seq: number;
}

/** A position that names its epoch. */
export interface Position extends Cursor {
  /** The epoch that `seq` belongs to. */
  readonly epoch: string;
}

const CURSOR = /^(?:([0-9a-z]{1,32})-)?([0-9]{1,16})$/;

/**
 * Parses one position.
 *
 * @throws {RangeError} If it is not `seq` or `epoch-seq` with a whole number from 0 to 2^53-1.
 */
export function parseCursor(text: string): Cursor {
  const match = CURSOR.exec(text);
  const seq = match ? Number(match[2]) : NaN;
  if (!Number.isSafeInteger(seq)) {
    throw new RangeError(
      `Cannot parse the position ${quote(text)}: expected "990" or "mi9x2k3fq7d0v-990", ` +
        "with a number up to 2^53-1",
    );
  }
  return match![1] === undefined ? { seq } : { epoch: match![1], seq };
}

/**
 * Parses a comma-separated list of positions, one per channel. If there are several channels, an
 * empty item means that its channel has no position.
 *
 * @throws {RangeError} If a position is malformed, or if there are not exactly `count` items.
 */
export function parseCursors(text: string, count: number): (Cursor | undefined)[] {
  const items = text.split(",", count + 1);
  if (items.length !== count) {
    throw new RangeError(
      `Cannot match the positions ${quote(text)} to ${count} channel${count === 1 ? "" : "s"}: ` +
        "expected one per channel, in order",
    );
  }
  return items.map((item) => item === "" && count > 1 ? undefined : parseCursor(item));
}

/**
 * The position of a client that comes from another server. No channel ever has its epoch. So the
 * client is told of a restart and gets the whole history.
 */
export const FOREIGN: Position = { epoch: "0", seq: 0 };

/**
 * Parses the id of the last event. Browsers send it by themselves, whichever server it came from.
 * An id that is not a position counts as `FOREIGN`. If the list does not have `count` items, every
 * channel gets `FOREIGN`.
 */
export function parseEventIds(text: string, count: number): (Cursor | undefined)[] {
  const items = text.split(",", count + 1);
  if (items.length !== count) return new Array<Cursor>(count).fill(FOREIGN);
  return items.map((item) => {
    const trimmed = item.trim();
    if (trimmed === "" && count > 1) return undefined;
    try {
      return parseCursor(trimmed);
    } catch {
      return FOREIGN;
    }
  });
}

/** Formats a position: `epoch-seq`, or a bare `seq` if the epoch is not known. */
export function printCursor({ epoch, seq }: Cursor): string {
  return epoch === undefined ? String(seq) : `${epoch}-${seq}`;
}
