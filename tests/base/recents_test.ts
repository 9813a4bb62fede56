import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Recents } from "../../lib/base/recents.ts";

Deno.test("Recents keeps the keys that were set last, and knows the oldest of them", () => {
  const recents = new Recents<string, number>(2);
  assertEquals([recents.size, recents.oldest, recents.get("a")], [0, undefined, undefined]);
  recents.set("a", 1);
  recents.set("b", 2);
  assertEquals(recents.oldest?.key, "a");
  recents.set("a", 3);
  assertEquals(recents.oldest?.key, "b");
  recents.set("c", 4);
  assertEquals(["a", "b", "c"].map((key) => recents.get(key)), [3, undefined, 4]);
  recents.delete("a");
  recents.delete("never set");
  assertEquals([recents.size, recents.oldest?.key, recents.oldest?.value], [1, "c", 4]);
});

Deno.test("Recents behaves as a map in the order of setting does", () => {
  const step = fc.tuple(fc.boolean(), fc.constantFrom(..."abcdefgh"));
  fc.assert(fc.property(fc.array(step), fc.integer({ min: 1, max: 6 }), (steps, max) => {
    const recents = new Recents<string, number>(max);
    const model = new Map<string, number>();
    steps.forEach(([set, key], i) => {
      model.delete(key);
      if (set) {
        recents.set(key, i);
        model.set(key, i);
        if (model.size > max) model.delete([...model.keys()][0]);
      } else {
        recents.delete(key);
      }
      assertEquals(recents.size, model.size);
      assertEquals(recents.oldest?.key, [...model.keys()][0]);
      for (const name of "abcdefgh") assertEquals(recents.get(name), model.get(name));
    });
  }));
});

Deno.test("Recents forgets the oldest as fast as it takes the first ones, however many it forgot", () => {
  const max = 50_000;
  const recents = new Recents<string, number>(max);
  let made = 0;
  const fill = () => {
    const start = performance.now();
    for (let i = 0; i < max; i++) recents.set(`${++made}.`, i);
    return performance.now() - start;
  };
  const empty = fill();
  const full = Math.min(fill(), fill(), fill());
  assertEquals(recents.size, max);
  // A plain map takes many times as long.
  assert(full < 8 * empty + 50, `${full.toFixed(1)} ms instead of ${empty.toFixed(1)}`);
});
