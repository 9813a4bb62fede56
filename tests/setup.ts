/**
 * Makes sure that what the tests need is on this machine, or says clearly what is missing.
 * `deno task test` runs it first.
 *
 * @module
 */
import chromiumBinary from "@sparticuz/chromium";

/** What tests run, and the Debian packages that it comes in or needs. */
const PROGRAMS = [
  { name: "curl", path: "curl", packages: ["curl"] },
  // The browser itself comes with an npm package; the libraries and a font do not.
  {
    name: "Chromium",
    path: await chromiumBinary.executablePath(),
    packages: ["libnss3", "libnspr4", "fonts-dejavu-core"],
  },
];

function works(path: string): boolean {
  try {
    return new Deno.Command(path, { args: ["--version"], stdout: "null", stderr: "null" })
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

const missing = PROGRAMS.filter(({ path }) => !works(path));
if (missing.length > 0) {
  try {
    install(missing.flatMap(({ packages }) => packages));
  } catch (error) {
    console.error(`Cannot install what the tests need: ${error}`);
  }
  for (const { name, packages } of missing.filter(({ path }) => !works(path))) {
    console.error(
      `The tests need ${name}, which does not run here: install ${packages.join(", ")}`,
    );
    Deno.exitCode = 1;
  }
}
