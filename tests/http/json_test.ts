import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { MAX_STRINGS, MAX_SYNTAX, parseJson } from "../../lib/http/json.ts";

Deno.test("parseJson() reads what JSON.parse() does, however long", () => {
  const anyLong = fc.tuple(fc.json(), fc.integer({ min: 0, max: 5000 }))
    .map(([json, blanks]) => json + " ".repeat(blanks));
  const anyString = fc.string({ minLength: 1500, maxLength: 5000 })
    .map((text) => JSON.stringify({ data: text + '\\"', name: ["a", text] }));
  fc.assert(fc.property(fc.oneof(anyLong, anyString), (text) => {
    assertEquals(parseJson(text), JSON.parse(text));
  }));
});

Deno.test("parseJson() takes as many strings and as much around them as is allowed, and no more", () => {
  const strings = (count: number) => JSON.stringify(Array(count).fill("abc"));
  assertEquals((parseJson(strings(MAX_STRINGS)) as string[]).length, MAX_STRINGS);
  assertThrows(() => parseJson(strings(MAX_STRINGS + 1)), RangeError, "more than 2000 strings");
  const syntax = (count: number) =>
    JSON.stringify(["{[,:".repeat(50_000)]).slice(0, -1) + ",\n  1".repeat((count - 2) / 2) + "]";
  assert(parseJson(syntax(MAX_SYNTAX)));
  assertThrows(() => parseJson(syntax(MAX_SYNTAX + 2)), RangeError, "outside of strings");
});

Deno.test("parseJson() counts no quote within a string", () => {
  const data = '"\\'.repeat(100_000);
  assertEquals(parseJson(JSON.stringify({ data })), { data });
});

for (
  const [what, text] of [
    [
      "numbers with the same hash",
      JSON.stringify(Array.from({ length: 90_000 }, (_, i) => `${i * 65_536}`)),
    ],
    ["nested lists", "[".repeat(1e6)],
    ["a string without an end", '{"a":"' + "\\".repeat(1e6)],
    ["quotes", '"'.repeat(1e6)],
    ["empty lists", "[" + "[],".repeat(330_000) + "0]"],
  ]
) {
  Deno.test(`parseJson() refuses a megabyte of ${what} as fast as it reads one of data`, () => {
    const honest = JSON.stringify({ data: '"'.repeat(500_000) });
    const best = { honest: Infinity, attack: Infinity };
    for (let i = 0; i < 5; i++) {
      let start = performance.now();
      parseJson(honest);
      best.honest = Math.min(best.honest, performance.now() - start);
      start = performance.now();
      assertThrows(() => parseJson(text));
      best.attack = Math.min(best.attack, performance.now() - start);
    }
    assert(best.attack < best.honest * 3, `${best.attack} ms, an honest one ${best.honest} ms`);
  });
}
