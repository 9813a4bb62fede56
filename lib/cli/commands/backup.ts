/**
 * The command `river backup`: copies the history of `--data`.
 *
 * @module
 */
import { backupJournal, JournalError } from "../../river.ts";
import type { Command } from "../command.ts";
import { ConfigError, type Options } from "../option.ts";
import { SERVER_OPTIONS } from "../options.ts";

/** The options of `river backup`. */
export const BACKUP_OPTIONS = {
  file: {
    kind: "text",
    help: "where to write the copy; a copy that is there is replaced",
    operand: true,
  },
  data: { ...SERVER_OPTIONS.data, help: "the server's file" },
  config: { kind: "text", help: "the server's TOML file, which may name its file" },
} as const satisfies Options;

/** Copies the file of a server, which may be running. */
export const backup: Command<typeof BACKUP_OPTIONS> = {
  name: "backup",
  about: "copies the history of --data, also while river serves",
  usage: "FILE [--data FILE] [flags]",
  options: BACKUP_OPTIONS,
  notes: [
    "A copy is made beside FILE, checked, and then put in its place. It is one file.",
  ],
  async run({ file, data }, { print }) {
    if (file === undefined) throw new ConfigError("Name the copy: river backup FILE");
    if (data === undefined) throw new ConfigError("Name the server's file: set --data");
    await orRefuse(backupJournal(data, file));
    print(`river: copied ${data} to ${file}\n`);
  },
};

/** Waits for an action. That it refuses a file is a mistake of the operator. */
export async function orRefuse(action: Promise<void>): Promise<void> {
  try {
    await action;
  } catch (error) {
    if (error instanceof JournalError) throw new ConfigError(error.message);
    throw error;
  }
}
