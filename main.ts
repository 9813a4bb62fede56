/**
 * The program: the list of its commands. It runs the one that the command line names.
 *
 * @module
 */
import manifest from "./deno.json" with { type: "json" };
import { serve } from "./lib/cli/commands/serve.ts";
import { token } from "./lib/cli/commands/token.ts";
import { runProgram } from "./lib/cli/program.ts";

/** All commands. The first is the default. */
export const COMMANDS = [serve, token];

if (import.meta.main) await runProgram(COMMANDS, manifest.version);
