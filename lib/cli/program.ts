/**
 * Runs a command in this process. Only this module reads the command line and the environment.
 *
 * @module
 */
import { type Command, readCommandLine } from "./command.ts";
import type { Sources } from "./config.ts";
import { helpText, overview } from "./help.ts";
import { ConfigError } from "./option.ts";

const utf8 = new TextEncoder();

/**
 * Runs the command that the command line names. After a mistake in the command line, it prints one
 * line to stderr and exits with code 2.
 *
 * @param commands All commands. The first is the default.
 */
export async function runProgram(commands: readonly Command[], version: string): Promise<void> {
  try {
    const sources: Omit<Sources, "shared"> = {
      args: Deno.args,
      env: takeEnvironment(),
      readFile: (path) => Deno.readTextFileSync(path),
    };
    const invocation = readCommandLine(commands, sources);
    if (invocation.kind === "run") {
      const reread = () => {
        const again = readCommandLine(commands, sources);
        return again.kind === "run" ? again.values : invocation.values;
      };
      await invocation.command.run(
        invocation.values,
        { version, print, printError, reread },
        invocation.ignored,
      );
    } else if (invocation.kind === "version") print(`river ${version}\n`);
    else if (invocation.command === undefined) print(overview(version, commands));
    else print(helpText(invocation.command));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    printError(`river: ${error.message}\n`);
    Deno.exit(2);
  }
}

/**
 * Reads the environment and revokes the permission to read it. So code that runs later cannot read
 * a secret from it.
 *
 * @throws {ConfigError} If the process may not list the environment.
 */
export function takeEnvironment(): Record<string, string> {
  try {
    return Deno.env.toObject();
  } catch {
    throw new ConfigError("Cannot list the environment: run with --allow-env, without names");
  } finally {
    Deno.permissions.revokeSync({ name: "env" });
  }
}

/** Writes to stdout. If that fails, the program exits, because its output is its result. */
function print(text: string): void {
  try {
    for (let left = utf8.encode(text); left.length > 0;) {
      left = left.subarray(Deno.stdout.writeSync(left));
    }
  } catch (error) {
    const { message } = error as Error;
    printError(`river: cannot write to stdout: ${message}\n`);
    Deno.exit(1);
  }
}

function printError(text: string): void {
  try {
    Deno.stderr.writeSync(utf8.encode(text));
  } catch {
    // The disk is full, or nobody reads the pipe any more. Neither is a reason to stop serving.
  }
}
