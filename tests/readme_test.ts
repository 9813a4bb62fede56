import { assert, assertEquals } from "@std/assert";
import { readme } from "./tools/readme.ts";

Deno.test("README lists the options that lib/cli/options.ts has; `deno task readme` writes them", () => {
  const { actual, expected } = readme();
  assertEquals(actual, expected);
});

Deno.test("tests/README.md names tests that are there, for all 41 rows", async () => {
  const here = new URL(".", import.meta.url);
  const rows = (await Deno.readTextFile(new URL("README.md", here)))
    .split("\n")
    .filter((line) => /^\| [0-9]/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));
  assertEquals(rows.map(([, number]) => Number(number)), rows.map((_, i) => i + 1));
  assertEquals(rows.length, 41);
  for (const [, number, , tests] of rows) {
    for (const [, file, names] of tests.matchAll(/\]\(([a-z0-9_/]+\.ts)\)([^[]*)/g)) {
      const source = (await Deno.readTextFile(new URL(file, here))).split("\n");
      for (const [, name] of names.matchAll(/`([^`]+)`/g)) {
        // What a table fills in stands in the source as an expression.
        const found = (line: string) =>
          name.split("…").reduce((at, part) => {
            const next = at < 0 ? -1 : line.indexOf(part, at);
            return next < 0 ? -1 : next + part.length;
          }, 0) >= 0;
        assert(source.some(found), `row ${number}: ${file} has no test "${name}"`);
      }
    }
  }
});
