/**
 * Everybody who starts river waits for each package that the program imports, and everybody who
 * compiles it carries that package along. A literal `import("npm:..")` counts as well, even if it
 * never runs: Deno fetches it with the rest. An optional part must therefore be imported by a
 * specifier that is not a literal, which Deno fetches when the import runs. The executable is made
 * from a bundle, which does not contain such a part.
 *
 * `deno task` fetches all of `imports` in deno.json and all of a lockfile that Deno finds by
 * itself. So what only tests or benchmarks use is in `scopes`, and `lock` is false: each task names
 * deno.lock instead.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { ASSETS } from "../lib/http/assets.ts";
import { publish } from "./support/http.ts";
import { RUN, spawnServer } from "./support/server.ts";

const ROOT = new URL("..", import.meta.url);

/** Every file under a folder of the project, by path from the top. */
function filesUnder(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesUnder(`${folder}${name}/`) : [`${folder}${name}`]
  );
}

/** Where a file of static/ or chat-demo/ is served. */
function pathOf(file: string): string {
  return file.replace(/^static\//, "/").replace(/^chat-demo\//, "/chat-demo/")
    .replace(/\/index\.html$/, "/");
}

Deno.test("every file of static/ and chat-demo/ is embedded", () => {
  const files = [...filesUnder("static/"), ...filesUnder("chat-demo/")];
  assert(files.length > 0);
  for (const file of files) {
    const text = Deno.readTextFileSync(new URL(file, ROOT));
    assertEquals(ASSETS.get(pathOf(file))?.text, text, file);
  }
  const others = [...ASSETS.keys()].filter((path) => !files.map(pathOf).includes(path));
  assertEquals(others, ["/uplot.js", "/uplot.css"]);
});

/** The packages of the program. Add one only if every start needs it. */
const PACKAGES = ["deno-std", "jose", "uplot"];

const START_BYTES = 12_000_000;
const EMBEDDED_BYTES = 3_000_000;

/** Any ELF file will do as the base runtime of an executable that is not run. */
const BASE_RUNTIME = "/bin/true";

/** The flags of a task that grant or refuse permissions. */
function permissionsOf(task: string): string[] {
  return task.split(" ").filter((flag) => /^--(no-prompt$|allow-|deny-)/.test(flag));
}

/** The size in bytes of all files under a folder that may change meanwhile. */
function sizeOf(folder: string): number {
  let bytes = 0;
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    try {
      bytes += isDirectory ? sizeOf(path) : Deno.statSync(path).size;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return bytes;
}

/** The npm packages in a DENO_DIR. */
function packagesIn(cache: string): string[] {
  return [...Deno.readDirSync(`${cache}/npm`)].flatMap(({ name: registry }) =>
    [...Deno.readDirSync(`${cache}/npm/${registry}`)].map(({ name }) => name)
  ).sort();
}

/** What `deno compile` says that it embeds, in bytes: "Files: 1.26MB" and the like. */
function embeddedBytes(listing: string): number {
  const units: Record<string, number> = { B: 1, KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 };
  const sums = [...listing.matchAll(/^(?:Files|Metadata|Remote modules): ([\d.]+)([KMG]?B)$/gm)];
  assertEquals(sums.length, 3, listing);
  return sums.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit], 0);
}

/** Runs `deno task compile` on a copy of the sources, and gives what was printed. */
async function compiled(): Promise<{ folder: string; listing: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  const files = ["deno.json", "deno.lock", "main.ts", "lib", "static", "chat-demo"];
  const copy = new Deno.Command("cp", { args: ["-r", ...files, folder], cwd: ROOT });
  assert((await copy.output()).success);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "compile"],
    cwd: folder,
    env: { DENORT_BIN: BASE_RUNTIME, NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  const listing = decoder.decode(stdout) + decoder.decode(stderr);
  assert(success, listing);
  return {
    folder,
    listing,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

Deno.test("deno task start with an empty DENO_DIR fetches only what the program runs", async () => {
  const cache = await Deno.makeTempDir();
  const task = new Deno.Command(Deno.execPath(), {
    args: ["task", "start", "--port", "0"],
    cwd: ROOT,
    env: { DENO_DIR: cache, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(task.stderr).text();
  const deadline = setTimeout(() => task.kill("SIGTERM"), 120_000);
  try {
    let said = "";
    for await (const text of task.stdout.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (!said.includes("listening on")) continue;
      assertEquals(packagesIn(cache), PACKAGES);
      const bytes = sizeOf(cache);
      assert(bytes < START_BYTES, `${bytes} bytes`);
      task.kill("SIGTERM");
    }
    assert(said.includes("listening on"), `no river within two minutes: ${await errors}`);
  } finally {
    clearTimeout(deadline);
    try {
      task.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await Promise.all([errors, task.status]);
    await Deno.remove(cache, { recursive: true });
  }
});

Deno.test("deno task compile embeds only what the program runs", async () => {
  await using program = await compiled();
  const { listing, folder } = program;
  const bytes = embeddedBytes(listing);
  assert(bytes < EMBEDDED_BYTES, `${bytes} bytes: ${listing}`);
  assertEquals([...listing.matchAll(/[^\s/]+(?=\/\d+\.\d+\.\d+\/)/g)].map(String), []);
  // The listing shows the bundle as one file: its source map names what is in it.
  const bundle = await Deno.readTextFile(`${folder}/dist/river.js`);
  const map = /^\/\/# sourceMappingURL=data:application\/json;base64,(.*)$/m.exec(bundle)!;
  const sources: string[] = JSON.parse(atob(map[1])).sources;
  assert(sources.some((source) => source.endsWith("main.ts")), String(sources));
  const packages = sources.flatMap((source) =>
    /\/npm\/[^/]+\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1] ?? []
  );
  const others = packages.filter((name) => !PACKAGES.includes(name));
  assert(packages.includes("jose"), String(sources));
  assertEquals(others, []);
});

Deno.test("the executable has the permissions and the features of deno task start", async () => {
  const { tasks, unstable } = manifest;
  const permissions = permissionsOf(tasks.start);
  assertEquals(permissions, permissionsOf(RUN.join(" ")));
  assertEquals(permissions, permissionsOf(tasks.dev));
  assertEquals(permissions, permissionsOf(tasks.compile));
  await using program = await compiled();
  const bytes = await Deno.readFile(`${program.folder}/dist/river`);
  const features = /"features":(\[.*?\])/.exec(new TextDecoder("latin1").decode(bytes));
  assertEquals(JSON.parse(features?.[1] ?? "[]"), unstable);
});

Deno.test("every task checks its packages against deno.lock", () => {
  for (const [name, task] of Object.entries(manifest.tasks)) {
    for (
      const command of task.match(/(?<!')deno (run|test|check|doc|bundle|compile) [^&|]*/g) ?? []
    ) {
      // What is compiled is the bundle, which imports nothing.
      const flag = command.startsWith("deno compile") ? " --no-lock " : " --lock=deno.lock ";
      assert(command.includes(flag), `${name}: ${command}`);
    }
  }
});

Deno.test("deno.lock holds every package of deno.json", async () => {
  const { specifiers } = JSON.parse(await Deno.readTextFile(new URL("deno.lock", ROOT)));
  for (const imports of [manifest.imports, ...Object.values(manifest.scopes)]) {
    for (const specifier of Object.values(imports)) {
      const [wanted] = /^npm:(@[^/]+\/)?[^/]+/.exec(specifier) ?? [specifier];
      assert(wanted in specifiers, wanted);
    }
  }
});

Deno.test("what is compiled reads no file of its source tree: it serves from an empty folder", async () => {
  await using program = await compiled();
  const cwd = await Deno.makeTempDir();
  try {
    const main = `${cwd}/river.js`;
    await Deno.rename(`${program.folder}/dist/river.js`, main);
    await Deno.remove(program.folder, { recursive: true });
    await Deno.mkdir(program.folder);
    const run = RUN.filter((flag) => flag !== "--allow-read");
    await using server = await spawnServer([], { main, cwd: program.folder, run });
    assertEquals((await publish(server, "a", "hi")).seq, 1);
    for (const [path, { type, text }] of ASSETS) {
      const response = await fetch(`${server.url}${path}`);
      assertEquals([response.status, response.headers.get("content-type")], [200, type], path);
      assertEquals(await response.text(), text, path);
    }
    assertEquals((await server.end()).code, 0);
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

Deno.test("what is compiled holds the thread that writes the file of --data", async () => {
  await using program = await compiled();
  const cwd = await Deno.makeTempDir();
  try {
    const main = `${cwd}/river.js`;
    await Deno.rename(`${program.folder}/dist/river.js`, main);
    const start = () => spawnServer(["--data", `${cwd}/river.db`], { main, cwd });
    for (const seq of [1, 2]) {
      const server = await start();
      assertEquals((await publish(server, "a", "hi")).seq, seq);
      await server.end("SIGKILL");
    }
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

Deno.test("deno task compile makes an executable, or says how to get the base runtime", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "compile"],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
  }).output();
  const words = new TextDecoder().decode(stderr);
  if (code !== 0) {
    assert(/DENORT_BIN/.test(words), words);
    assert(/base runtime/.test(words), words);
    return;
  }
  const { stdout } = await new Deno.Command(new URL("dist/river", ROOT).pathname, {
    args: ["--version"],
  }).output();
  assert(/^river \d+\.\d+\.\d+\n$/.test(new TextDecoder().decode(stdout)));
});
