/**
 * The program: a list of commands. It picks one and runs it.
 *
 * @module
 */
import manifest from "./deno.json" with { type: "json" };
import { serve } from "./lib/cli/commands/serve.ts";
import { token } from "./lib/cli/commands/token.ts";
import { runProgram } from "./lib/cli/program.ts";

/** All commands. The first is run where none is named. */
export const COMMANDS = [serve, token];

if (import.meta.main) await runProgram(COMMANDS, manifest.version);
