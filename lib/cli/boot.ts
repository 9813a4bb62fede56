/**
 * The run of the machine.
 *
 * @module
 */

/**
 * Names the run of the machine. It changes when the machine restarts. The runtime does not let us read it
 * with less than all permissions, but `cat` may. Empty where it cannot be read.
 */
export function bootId(): string {
  try {
    const { stdout } = new Deno.Command("cat", {
      args: ["/proc/sys/kernel/random/boot_id"],
      stderr: "null",
    }).outputSync();
    return new TextDecoder().decode(stdout).trim();
  } catch {
    return "";
  }
}
