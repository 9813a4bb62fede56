/**
 * What publishers are told while the file takes nothing.
 *
 * @module
 */
import { EngineUnavailableError } from "../../core/engine.ts";

const TEXTS: Readonly<Record<string, string>> = {
  starting: "The history is still being read from its file (--data)",
  storage_slow: "Too many messages wait for the disk (--max-unwritten), and nothing was published",
  storage_full:
    "There is no room for another message in the file of --data (--max-data) or on its disk, " +
    "and nothing was published",
  storage_failed: "The disk of --data failed, and nothing was published",
};

/** The error for a reason, which is also its code. */
export function unavailable(reason: string): EngineUnavailableError {
  return new EngineUnavailableError(TEXTS[reason], reason);
}
