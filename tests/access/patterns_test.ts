import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Patterns } from "../../lib/access/patterns.ts";

const PATTERNS: [pattern: string, fitting: string[], others: string[]][] = [
  ["room", ["room"], ["room.", "roo", "Room", ""]],
  ["room.*", ["room.", "room.1", "room.*"], ["room", "roomx1", "my-room.1"]],
  ["*", ["", "a", "*"], []],
  ["a*b", ["a*b"], ["ab", "axb", "a"]],
  ["a.b", ["a.b"], ["axb"]],
  ["**", ["*", "*a"], ["a"]],
  ["", [""], ["a"]],
  ["__proto__", ["__proto__"], ["constructor", ""]],
];

for (const [pattern, fitting, others] of PATTERNS) {
  Deno.test(`Patterns.fit() takes "${pattern}" for what it stands for`, () => {
    const patterns = new Patterns([pattern]);
    assertEquals(fitting.filter((channel) => !patterns.fit(channel)), []);
    assertEquals(others.filter((channel) => patterns.fit(channel)), []);
  });
}

Deno.test("Patterns.fit() is true for no channel without a pattern", () => {
  assertEquals(["", "a", "*"].map((channel) => new Patterns([]).fit(channel)), [
    false,
    false,
    false,
  ]);
});

Deno.test("Patterns.fit() says of any patterns what a look at each of them says", () => {
  // Few characters, so that one begins with another; "!" sorts before "*", and "~" after it.
  const text = fc.string({ unit: fc.constantFrom("a", "!", "*", "~", "\u{1F600}"), maxLength: 4 });
  fc.assert(
    fc.property(fc.array(text, { maxLength: 8 }), fc.array(text), (patterns, channels) => {
      const sorted = new Patterns(patterns);
      for (const channel of channels) {
        const fits = patterns.some((pattern) =>
          pattern.endsWith("*") ? channel.startsWith(pattern.slice(0, -1)) : channel === pattern
        );
        assertEquals(sorted.fit(channel), fits, JSON.stringify({ patterns, channel }));
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("Patterns.fit() costs the same for a thousand patterns as for a few", () => {
  const channels = Array.from({ length: 5000 }, (_, i) => `c${i}`);
  const time = (count: number) => {
    const patterns = new Patterns(
      Array.from({ length: count }, (_, i) => `room.${i % 2 ? i : `${i}*`}`),
    );
    const start = performance.now();
    for (const channel of channels) assert(!patterns.fit(channel));
    return performance.now() - start;
  };
  const runs = Array.from({ length: 9 }, () => [time(2), time(1000)]);
  const median = (i: number) => runs.map((run) => run[i]).sort((a, b) => a - b)[4];
  // A look at each of them takes 100 times as long.
  assert(median(1) < 20 * median(0), `${median(1)} ms against ${median(0)} ms`);
});
