/**
 * The program: the list of its commands. It runs the one that the command line names.
 *
 * @module
 */
import manifest from "./deno.json" with { type: "json" };
import { backup } from "./lib/cli/commands/backup.ts";
import { restore } from "./lib/cli/commands/restore.ts";
import { serve } from "./lib/cli/commands/serve.ts";
import { token } from "./lib/cli/commands/token.ts";
import { runProgram } from "./lib/cli/program.ts";

/** All commands. The first is the default. */
export const COMMANDS = [serve, token, backup, restore];

// A thread of the program loads the same file if it is a bundle.
if (import.meta.main && !("WorkerGlobalScope" in globalThis)) {
  await runProgram(COMMANDS, manifest.version);
}
