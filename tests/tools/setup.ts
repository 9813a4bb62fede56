/**
 * Makes sure that what the tests need is on this machine, or says clearly what is missing.
 * `deno task test` runs it first, and `deno task test:hard` with `--hard`, for what only those need.
 *
 * @module
 */
import chromiumBinary from "@sparticuz/chromium";
import { NODE_VERSIONS } from "../support/node_versions.ts";
import { PYTHON, PYTHON_PACKAGES } from "../support/python/python.ts";
import { STREAM_MODULE } from "../support/stream_module.ts";

/** What tests run. */
interface Program {
  readonly name: string;
  readonly path: string;
  /** With these it ends at once, with 0 unless another code is given, if it works. */
  readonly args: string[];
  readonly code?: number;
  /** The Debian packages that it comes in or needs. */
  readonly packages: string[];
  /** Where it comes from if not from Debian. */
  readonly source?: string;
}

const PROGRAMS: Program[] = [
  { name: "curl", path: "curl", args: ["--version"], packages: ["curl"] },
  // The browser itself comes with an npm package; the libraries and a font do not.
  {
    name: "Chromium",
    path: await chromiumBinary.executablePath(),
    args: ["--version"],
    packages: ["libnss3", "libnspr4", "fonts-dejavu-core"],
  },
  // The npm package `node` carries the binary.
  ...NODE_VERSIONS.map((version) => ({
    name: `Node ${version}`,
    path: "npx",
    args: ["-y", `node@${version}`, "--version"],
    packages: [],
    source: `npx and the npm package node@${version}`,
  })),
];

if (Deno.args.includes("--hard")) {
  PROGRAMS.push(
    { name: "nginx", path: "nginx", args: ["-v"], packages: ["nginx-light"] },
    {
      name: "nginx's stream module",
      path: "test",
      args: ["-f", STREAM_MODULE],
      packages: ["libnginx-mod-stream"],
    },
    { name: "haproxy", path: "haproxy", args: ["-v"], packages: ["haproxy"] },
    // A JDK: a JRE does not run a source file.
    { name: "Java", path: "javac", args: ["-version"], packages: ["default-jdk-headless"] },
    ...PYTHON_PACKAGES.map((name) => ({
      name: `Python's ${name}`,
      path: PYTHON,
      args: ["-c", `import ${name}`],
      packages: [`python3-${name}`],
    })),
    // Checks queries and alert rules.
    { name: "promtool", path: "promtool", args: ["--version"], packages: ["prometheus"] },
    // Shows what a process asks of the kernel.
    { name: "strace", path: "strace", args: ["--version"], packages: ["strace"] },
    // Builds the disk that tests make slow, break, and watch.
    { name: "gcc", path: "gcc", args: ["--version"], packages: ["gcc", "libc6-dev"] },
    // Sets the clock of a process.
    { name: "faketime", path: "faketime", args: ["--version"], packages: ["faketime"] },
    {
      name: "slowhttptest",
      path: "slowhttptest",
      args: ["-h"],
      code: 1,
      packages: ["slowhttptest"],
    },
  );
}

function works({ path, args, code = 0 }: Program): boolean {
  try {
    const command = new Deno.Command(path, { args, stdout: "null", stderr: "null" });
    return command.outputSync().code === code;
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

const missing = PROGRAMS.filter((program) => !works(program));
if (missing.length > 0) {
  const packages = missing.flatMap(({ packages }) => packages);
  try {
    if (packages.length > 0) install(packages);
  } catch (error) {
    console.error(`Cannot install what the tests need: ${error}`);
  }
  for (const { name, packages, source } of missing.filter((program) => !works(program))) {
    console.error(
      `The tests need ${name}, which does not run here: install ${source ?? packages.join(", ")}`,
    );
    Deno.exitCode = 1;
  }
}
