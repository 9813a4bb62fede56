/**
 * What counts against `--max-memory` is what the runtime takes for it.
 *
 * @module
 */
import { assert } from "@std/assert";
import v8 from "node:v8";
import vm from "node:vm";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { memoryLimits } from "../support/server.ts";

v8.setFlagsFromString("--expose-gc");
const gc: () => void = vm.runInNewContext("gc");

function heap(): number {
  for (let i = 0; i < 3; i++) gc();
  return Deno.memoryUsage().heapUsed;
}

/** A text as one comes out of a request: of its own, not put together from others. */
function fresh(text: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(text));
}

type Publish = (i: number) => [channel: string, data: string];

const CASES: [what: string, messages: number, of: Publish][] = [
  ["ASCII", 10_000, (i) => [`c${i % 100}`, "x".repeat(1000)]],
  ["umlauts", 10_000, (i) => [`c${i % 100}`, "ü".repeat(1000)]],
  ["emoji", 10_000, (i) => [`c${i % 100}`, "\u{1f30a}".repeat(500)]],
  ["ASCII and one emoji", 10_000, (i) => [`c${i % 100}`, "x".repeat(998) + "\u{1f30a}"]],
  ["Chinese", 10_000, (i) => [`c${i % 100}`, "漢".repeat(1000)]],
  ["many small messages", 100_000, (i) => [`c${i % 1000}`, `${i}`]],
  ["a channel for each message", 50_000, (i) => [`c${i}`, `${i}`]],
  ["a channel with a long name for each", 30_000, (i) => [`${i}`.padEnd(255, "n"), `${i}`]],
  ["a channel with a Chinese name for each", 30_000, (i) => [`${i}`.padEnd(85, "漢"), `${i}`]],
];

for (const [what, messages, of] of CASES) {
  Deno.test(`MemoryEngine counts what it takes, within a quarter: ${what}`, () => {
    const before = heap();
    const engine = new MemoryEngine(memoryLimits({ maxMemory: 2 ** 30 }));
    engine.start({ deliver() {}, subscribers: () => 0 });
    try {
      for (let i = 0; i < messages; i++) {
        const [channel, data] = of(i);
        engine.publish(fresh(channel), fresh(data));
      }
      const taken = heap() - before;
      const { held } = engine.usage();
      assert(taken > 0.75 * held && taken < 1.25 * held, `${taken} bytes, counted as ${held}`);
    } finally {
      engine.close();
    }
  });
}

Deno.test("MemoryEngine takes no more for an id, or a name that is only watched, than docs/operate.md says", () => {
  const count = 50_000;
  const engine = new MemoryEngine(memoryLimits({ history: 1 }));
  engine.start({ deliver() {}, subscribers: () => 0 });
  try {
    engine.publish("a", "");
    let before = heap();
    for (let i = 0; i < count; i++) engine.publish("a", "", fresh(`${i}`.padEnd(100, "i")));
    const id = (heap() - before) / count - 101;
    before = heap();
    for (let i = 0; i < count; i++) engine.watch(fresh(`${i}`.padEnd(100, "n")));
    const name = (heap() - before) / count - 200;
    assert(id < 270 && name < 270, `${id} bytes for an id, ${name} for a name`);
  } finally {
    engine.close();
  }
});
