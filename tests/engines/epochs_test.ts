import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { afterEpoch, epochs } from "../../lib/engines/epochs.ts";

Deno.test("epochs() never gives a name twice, and each sorts after those before it", () => {
  const newEpoch = epochs();
  let last = "";
  for (let i = 0; i < 50_000; i++) {
    const epoch = newEpoch();
    assert(epoch > last, `${epoch} after ${last}`);
    last = epoch;
  }
  assertMatch(last, /^[0-9a-z]{13,32}$/);
});

Deno.test("epochs() gives two processes different names, though they started in the same millisecond", () => {
  const start = Date.now();
  const names = (newEpoch: () => string) => Array.from({ length: 1000 }, newEpoch);
  const mine = new Set(names(epochs(start)));
  assertEquals(names(epochs(start)).filter((name) => mine.has(name)), []);
  assertNotEquals(epochs(start)(), epochs(start)());
});

Deno.test("epochs() does not run ahead of the clock, however many it gives", () => {
  const start = Date.now();
  const newEpoch = epochs(start);
  for (let i = 0; i < 500_000; i++) newEpoch();
  assertEquals(parseInt(newEpoch().slice(0, 8), 36), start);
});

Deno.test("afterEpoch() lets names sort after those of a process whose clock was ahead", () => {
  const ahead = epochs(Date.now() + 1e9);
  const last = [ahead(), ahead()][1];
  assert(epochs(afterEpoch(last))() > last);
  const now = Date.now();
  for (const epoch of ["", epochs(now - 1000)()]) {
    assert(Math.abs(afterEpoch(epoch) - now) < 1000, `${afterEpoch(epoch)} at ${now}`);
  }
});
