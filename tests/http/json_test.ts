import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { MAX_STRINGS, MAX_SYNTAX, parseJson, startOfMember } from "../../lib/http/json.ts";

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

Deno.test("startOfMember() finds the member that JSON.parse() does, and no other", () => {
  const anyKey = fc.constantFrom(
    "data",
    "d\\u0061ta",
    "\\u0064\\u0061\\u0074\\u0061",
    "Data",
    "x",
    '\\"',
  );
  const anyValue = fc.oneof(
    fc.json(),
    fc.constantFrom('"data"', '{"data":1}', '["data"]', '"\\\\"', '"{[\\""', '"\\"data\\":1"'),
  );
  const anyBlank = fc.constantFrom("", " ", "\r\n\t");
  const anyMember = fc.tuple(anyBlank, anyKey, anyBlank, anyBlank, anyValue)
    .map(([a, key, b, c, value]) => `${a}"${key}"${b}:${c}${value}`);
  const anyObject = fc.tuple(anyBlank, fc.array(anyMember, { maxLength: 4 }), anyBlank)
    .map(([before, members, after]) => `${before}{${members.join()}}${after}`);
  let found = 0;
  fc.assert(
    fc.property(fc.oneof({ weight: 4, arbitrary: anyObject }, anyValue), (text) => {
      const value = JSON.parse(text);
      const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
      const has = isObject && Object.hasOwn(value, "data");
      if (has) found++;
      const start = startOfMember(text, "data");
      if (has) assertEquals(start, JSON.stringify(value.data)[0].replace("-", start ?? ""));
      else assertEquals(start, undefined);
    }),
    { numRuns: 3000 },
  );
  assert(found > 300, `${found} found`);
});

Deno.test("startOfMember() answers for any text at all", () => {
  for (const text of ["", "{", '{"data', '{"data"', '{"data":', '{"data"}', '{"data" "x"}', "}{"]) {
    assertEquals(startOfMember(text, "data"), undefined, text);
  }
});

for (
  const [what, unit] of [
    ["names", '"data":'],
    ["escaped names", '"d\\u0061t\\u0061":"",'],
    ["escaped numbers", '"\\u0031\\u0033\\u0030":"",'],
    ["brackets", "{["],
    ["blanks", '"data"                              '],
    ["quotes", '"'],
    ["backslashes", '"\\'],
  ]
) {
  Deno.test(`startOfMember() searches a megabyte of ${what} as fast as JSON.parse() reads one of data`, () => {
    const honest = JSON.stringify({ data: '"'.repeat(500_000) });
    const text = `{${unit.repeat(1e6 / unit.length)}`;
    const best = { honest: Infinity, attack: Infinity };
    for (let i = 0; i < 5; i++) {
      let start = performance.now();
      parseJson(honest);
      best.honest = Math.min(best.honest, performance.now() - start);
      start = performance.now();
      startOfMember(text, "data");
      best.attack = Math.min(best.attack, performance.now() - start);
    }
    assert(best.attack < best.honest * 5, `${best.attack} ms, an honest one ${best.honest} ms`);
  });
}
