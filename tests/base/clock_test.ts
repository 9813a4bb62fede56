import { assert } from "@std/assert";
import { sinceStart } from "../../lib/base/clock.ts";

Deno.test("sinceStart() gives whole milliseconds that the wall clock does not move", () => {
  const { now } = Date;
  try {
    const before = sinceStart();
    for (const jump of [7_200_000, -7_200_000]) {
      Date.now = () => now() + jump;
      const after = sinceStart();
      assert(Number.isInteger(after) && after >= before && after < before + 60_000, `${after}`);
    }
  } finally {
    Date.now = now;
  }
});
