/**
 * No input of less than a megabyte, from anybody, keeps others waiting, makes much memory or breaks
 * anything. Each row is one input; `strangers/harness.ts` says what is measured and how.
 *
 * @module
 */
import { bodies } from "./strangers/bodies.ts";
import { crowded } from "./strangers/crowds.ts";
import { checkMemory, checkWaits, type Memory, type Row, Target } from "./strangers/harness.ts";
import { heads } from "./strangers/heads.ts";
import { http2 } from "./strangers/http2.ts";
import { sockets } from "./strangers/sockets.ts";

const rows: Row[] = [...bodies, ...heads, ...sockets, ...crowded, ...http2];

/**
 * How often memory is measured again. An input needs its memory every time; how much garbage lies about
 * beside it when the collector comes differs by as much as half.
 */
const TRIES = 3;

/** Rows that can share a server: nothing is there before, and nothing stays. */
function groups(): Map<string, Row[]> {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const { flags = [], setup, crowd, after, channels, name } = row;
    const alone = [setup, crowd, after, channels].some((it) => it !== undefined);
    const key = alone ? name : flags.length === 0 ? "on a server as it comes" : flags.join(" ");
    found.set(key, [...found.get(key) ?? [], row]);
  }
  return found;
}

async function attack(target: Target, row: Row): Promise<void> {
  const cost = await target.measureWaits(row);
  const waits = `${row.name}: others waited ${cost.hostile.toFixed(0)} ms, ` +
    `${cost.honest.toFixed(0)} ms beside an honest input`;
  if (row.times === 0) console.log(waits);
  checkWaits(cost);
  if (row.times === 0) return;
  let memory = await target.measureMemory(row);
  for (let n = 0; n < TRIES && memory.grown > memory.most; n++) memory = await measuredAlone(row);
  const perByte = memory.grown / memory.times / memory.size;
  console.log(`${waits}, ${perByte.toFixed(1)} bytes of memory a byte`);
  checkMemory(memory);
}

/** Measures on a server of its own: the heap that earlier inputs left behind counts for no later one. */
async function measuredAlone(row: Row): Promise<Memory> {
  await using target = await Target.start(row);
  return await target.measureMemory(row);
}

for (const [key, group] of groups()) {
  Deno.test(`a stranger keeps nobody waiting and makes little memory: ${key}`, async (t) => {
    let target: Target | undefined;
    for (const row of group) {
      const passed = await t.step({
        name: row.name,
        async fn() {
          target ??= await Target.start(row);
          await attack(target, row);
        },
        sanitizeOps: false,
        sanitizeResources: false,
      });
      // What a failure leaves behind must not be counted against the next.
      if (!passed) await target?.[Symbol.asyncDispose]();
      if (!passed) target = undefined;
    }
    await target?.finish(group[0]);
  });
}
