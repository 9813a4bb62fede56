import { assert, assertEquals } from "@std/assert";
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
