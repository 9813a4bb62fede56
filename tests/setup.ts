/**
 * Makes sure that what the tests need is on this machine, or says clearly what is missing.
 * `deno task test` runs it first.
 *
 * @module
 */

/** Programs that tests run, and the Debian package that each comes in. */
const PROGRAMS = { curl: "curl" };

function works(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}

function install(packages: string[]): void {
  console.log(`installing ${packages.join(", ")} with apt-get`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update", "-q"], ["install", "-q", "-y", ...packages]]) {
    const { success } = new Deno.Command("apt-get", { args, env, stdout: "null" }).outputSync();
    if (!success) throw new Error(`apt-get ${args.join(" ")} failed`);
  }
}

const missing = Object.entries(PROGRAMS).filter(([program]) => !works(program));
if (missing.length > 0) {
  try {
    install(missing.map(([, name]) => name));
  } catch (error) {
    const names = missing.map(([program]) => program).join(", ");
    console.error(`The tests need ${names}. Installing failed: ${error}`);
    Deno.exit(1);
  }
}
