import { assertEquals } from "@std/assert";
import equivalents from "./equivalents.json" with { type: "json" };
import { mutantsOf } from "./mutators.ts";

const ROOT = new URL("../../", import.meta.url);

/** The edits of a source, without the unchanged text around them. */
function edits(source: string): string[] {
  return mutantsOf("lib/x.ts", source).flat().map(({ edit }) => edit.split(" -> ")[1]);
}

for (
  const [what, source, expected] of [
    ["comparisons and their limits", "f(() => a < b);", [
      ";",
      "f(() => a <= b);",
      "f(() => a >= b);",
    ]],
    ["conditions and early ends", "const f = () => { if (a) return; };", [
      "const f = () => {};",
      "const f = () => { if (true) return; };",
      "const f = () => { if (false) return; };",
      "const f = () => { if (a) ; };",
    ]],
    ["arithmetic and what is missing", "const f = () => a?.b() ?? c - d;", [
      "const f = () => a?.b() && c - d;",
      "const f = () => a.b() ?? c - d;",
      "const f = () => a?.b() ?? c + d;",
    ]],
    ["words, but not prose", 'const x = ["word", "some words"];', [
      "const x = [];",
      'const x = ["", "some words"];',
    ]],
    ["numbers in functions, not tuned constants", "const MAX = 5 * 6; const f = () => 5;", [
      "const MAX = 5 * 6; const f = () => 6;",
    ]],
    ["anchors and flags", "const x = /^a$/i;", [
      "const x = /a$/i;",
      "const x = /^a/i;",
      "const x = /^a$/;",
    ]],
    ["opposite methods", "const x = a.some(b);", ["const x = a.every(b);"]],
    ["no types and imports", 'import x from "y"; type A = "b"; interface C { d: true }', []],
  ] as const
) {
  Deno.test(`mutantsOf() edits ${what}`, () => assertEquals(edits(source), [...expected]));
}

Deno.test("mutantsOf() says where an edit is, and what else may have its place", () => {
  const source = "class A {\n  b() {\n    return !c;\n  }\n}\n";
  const places = mutantsOf("lib/a.ts", source);
  assertEquals(places.map((place) => place.map(({ line, within }) => [line, within])), [
    [[2, "A.b"]],
    [[3, "A.b"]],
  ]);
  assertEquals(places[1][0].source, source.replace("!c", "c"));
});

Deno.test("equivalents.json names edits that can be made", () => {
  const stale = equivalents.filter(({ file, within, edit }) => {
    const mutants = mutantsOf(file, Deno.readTextFileSync(new URL(file, ROOT))).flat();
    // The tool numbers edits that a function has more than once.
    return !mutants.some((each) => each.within === within && edit.startsWith(each.edit));
  });
  assertEquals(stale.map(({ file, edit }) => `${file}: ${edit}`), []);
});
