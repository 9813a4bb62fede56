import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** Files whose examples a reader would copy. */
const FILES = ["lib/river.ts", "lib/core/engine.ts", "lib/core/sink.ts"];

/** The examples in a file's doc comments, with relative imports made absolute. */
function examplesOf(path: string): string[] {
  const file = new URL(path, ROOT);
  const blocks = Deno.readTextFileSync(file).matchAll(/^ \* ```ts\n([^]*?)^ \* ```$/gm);
  return [...blocks].map(([, block]) =>
    block.replaceAll(/^ \* ?/gm, "")
      .replaceAll(/from "(\.[^"]+)"/g, (_, specifier) => `from "${new URL(specifier, file).href}"`)
  );
}

Deno.test("the examples of createRiver, Engine and Sink are right by their types", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const programs: string[] = [];
    for (const path of FILES) {
      const examples = examplesOf(path);
      assert(examples.length > 0, `${path} has no example`);
      for (const example of examples) {
        programs.push(`${folder}/${programs.length}.ts`);
        await Deno.writeTextFile(programs.at(-1)!, example);
      }
    }
    const config = new URL("deno.json", ROOT).pathname;
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", "--config", config, ...programs],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the first example of createRiver prints what it says", async () => {
  const [example] = examplesOf("lib/river.ts");
  const [, expected] = /console\.log\(.*\); \/\/ (.*)$/m.exec(example)!;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, example);
    const config = new URL("deno.json", ROOT).pathname;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--config", config, file],
    }).output();
    assertEquals(new TextDecoder().decode(stdout).trim(), expected);
  } finally {
    await Deno.remove(file);
  }
});
