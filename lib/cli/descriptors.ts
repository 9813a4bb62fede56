/**
 * How many subscribers the file descriptors of the process allow.
 *
 * @module
 */

/** File descriptors kept for listening, logs and requests that do not stay. */
const RESERVE = 64;
/** The usual limit, for machines where it cannot be read. */
const USUAL = 1024;

/**
 * How many subscribers the file descriptors allow. The runtime does not tell the limit, but a child
 * process inherits it, and `prlimit` (util-linux) prints its own.
 */
export function connectionBudget(): number {
  let descriptors = USUAL;
  try {
    const { stdout } = new Deno.Command("prlimit", {
      args: ["--nofile", "--output=SOFT", "--noheadings", "--raw"],
      stderr: "null",
    }).outputSync();
    descriptors = Number(new TextDecoder().decode(stdout)) || USUAL;
  } catch {
    // It is not there, or not permitted.
  }
  return Math.max(1, descriptors - RESERVE);
}
