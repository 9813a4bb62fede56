import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { keyOf } from "../../lib/base/key.ts";
import { Hub } from "../../lib/core/hub.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { RecordingSink, stoppedWheel } from "../support/recording_sink.ts";
import { memoryLimits } from "../support/server.ts";

const CHANNELS = 8000;
/** The runtime hashes the number itself, and all of these have the same last seventeen bits. */
const colliding = Array.from({ length: CHANNELS }, (_, i) => String(i * 131_072));
const honest = Array.from({ length: CHANNELS }, (_, i) => String(i * 131_071));

/** The shortest of three runs of each, in milliseconds. */
function times(run: (names: readonly string[]) => void): { attack: number; control: number } {
  const best = { attack: Infinity, control: Infinity };
  for (let i = 0; i < 3; i++) {
    for (const [which, names] of [["control", honest], ["attack", colliding]] as const) {
      const start = performance.now();
      run(names);
      best[which] = Math.min(best[which], performance.now() - start);
    }
  }
  return best;
}

Deno.test("keyOf() is the same for the same text, and another in another process", async () => {
  assertEquals(keyOf("a"), keyOf("a"));
  assertNotEquals(keyOf("a"), keyOf("b"));
  // Imported once more, as another process would.
  const other = await import("../../lib/base/key.ts?other");
  assertNotEquals<string>(other.keyOf("a"), keyOf("a"));
});

Deno.test("MemoryEngine takes as long for channels whose hashes collide as for others", () => {
  const { attack, control } = times((names) => {
    const engine = new MemoryEngine(memoryLimits());
    engine.start({ deliver() {}, subscribers: () => 0 });
    engine.publishAll(names.map((channel) => ({ channel, data: "" })));
    for (const name of names) engine.publish(name, "");
    engine.close();
  });
  assert(attack < control * 3 + 20, `${attack} ms, others ${control} ms`);
});

Deno.test("Hub takes as long for channels whose hashes collide as for others", () => {
  const { wheel } = stoppedWheel();
  const { attack, control } = times((names) => {
    const hub = new Hub({
      engine: new MemoryEngine(memoryLimits()),
      wheel,
      maxQueue: 1_000_000,
      heartbeat: 25_000,
      schedule: () => {},
    });
    hub.start();
    for (const channel of names) hub.subscribe(hub.connect(new RecordingSink()), [{ channel }]);
    for (const channel of names) hub.publish({ channel, data: "" });
    hub.close();
  });
  assert(attack < control * 3 + 20, `${attack} ms, others ${control} ms`);
});
