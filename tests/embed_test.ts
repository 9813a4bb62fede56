/**
 * Everybody who starts river waits for each package that the program imports. A literal
 * `import("npm:..")` counts as well, even if it never runs: Deno fetches it with the rest. An
 * optional part must therefore be imported by a specifier that is not a literal, which Deno fetches
 * when the import runs.
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
import { MAIN, publish, RUN, spawnServer } from "./support/server.ts";

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

Deno.test("tests, dev and compile have the permissions of deno task start", () => {
  const { tasks } = manifest;
  const permissions = permissionsOf(tasks.start);
  assertEquals(permissions, permissionsOf(RUN.join(" ")));
  assertEquals(permissions, permissionsOf(tasks.dev));
  assertEquals(permissions, permissionsOf(tasks.compile));
});

Deno.test("every task checks its packages against deno.lock", () => {
  for (const [name, task] of Object.entries(manifest.tasks)) {
    for (
      const command of task.match(/(?<!')deno (run|test|check|doc|bundle|compile) [^&|]*/g) ?? []
    ) {
      assert(command.includes(" --lock=deno.lock "), `${name}: ${command}`);
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

Deno.test("the program reads no file of its source tree: bundled, it serves from an empty folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const main = `${folder}/river.js`;
    const bundle = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", "--output", main, MAIN],
      cwd: ROOT,
      stderr: "piped",
    }).output();
    assert(bundle.success, new TextDecoder().decode(bundle.stderr));
    const empty = `${folder}/empty`;
    await Deno.mkdir(empty);
    const run = RUN.filter((flag) => flag !== "--allow-read");
    await using server = await spawnServer([], { main, cwd: empty, run });
    assertEquals((await publish(server, "a", "hi")).seq, 1);
    for (const [path, { type, text }] of ASSETS) {
      const response = await fetch(`${server.url}${path}`);
      assertEquals([response.status, response.headers.get("content-type")], [200, type], path);
      assertEquals(await response.text(), text, path);
    }
    assertEquals((await server.end()).code, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
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
