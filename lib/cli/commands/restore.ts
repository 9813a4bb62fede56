/**
 * The command `river restore`: makes the history of `--data` from a copy.
 *
 * @module
 */
import { restoreJournal } from "../../river.ts";
import type { Command } from "../command.ts";
import { ConfigError, type Options } from "../option.ts";
import { SERVER_OPTIONS } from "../options.ts";
import { orRefuse } from "./backup.ts";

/** The options of `river restore`. */
export const RESTORE_OPTIONS = {
  file: { kind: "text", help: "the copy", operand: true },
  data: { ...SERVER_OPTIONS.data, help: "the server's file" },
  overwrite: { kind: "boolean", help: "replace the history that is there", flagOnly: true },
  config: { kind: "text", help: "the server's TOML file, which may name its file" },
} as const satisfies Options;

/** Makes the file of a server that does not run from a copy. */
export const restore: Command<typeof RESTORE_OPTIONS> = {
  name: "restore",
  about: "makes the history of --data from a copy, before river starts",
  usage: "FILE [--data FILE] [flags]",
  options: RESTORE_OPTIONS,
  notes: [
    "All channels go on in another epoch then. Clients whose positions the copy still has resume",
    "without a gap, and all others are told of a gap (restart).",
  ],
  async run({ file, data, overwrite }, { print }) {
    if (file === undefined) throw new ConfigError("Name the copy: river restore FILE");
    if (data === undefined) throw new ConfigError("Name the server's file: set --data");
    await orRefuse(restoreJournal(file, data, overwrite));
    print(`river: restored ${data} from ${file}\n`);
  },
};
