/**
 * Computes how many subscribers the process has file descriptors for.
 *
 * @module
 */

/** File descriptors reserved for the listener, the log and short requests. */
const RESERVED = 64;
/** The usual limit. It counts if the limit cannot be read. */
const USUAL_LIMIT = 1024;

let budget: number | undefined;

/**
 * The most subscribers that the limit of file descriptors allows. It is read once, at the first call, because
 * the server gives up the permission to run other programs. The runtime does not reveal the
 * limit. But a child process inherits it, and `prlimit` (util-linux) prints the limit of its own
 * process.
 */
export function connectionBudget(): number {
  return budget ??= readBudget();
}

function readBudget(): number {
  let descriptors = USUAL_LIMIT;
  try {
    const { stdout } = new Deno.Command("prlimit", {
      args: ["--nofile", "--output=SOFT", "--noheadings", "--raw"],
      stderr: "null",
    }).outputSync();
    descriptors = Number(new TextDecoder().decode(stdout)) || USUAL_LIMIT;
  } catch {
    // `prlimit` is not installed, or we may not run it.
  }
  return Math.max(1, descriptors - RESERVED);
}
