import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { channelCost, MESSAGE_OVERHEAD } from "../../lib/engines/cost.ts";
import { MemoryEngine, type MemoryLimits } from "../../lib/engines/memory.ts";
import { engineSuite } from "../support/engine_suite.ts";
import { LateEngine } from "../support/late_engine.ts";
import { memoryLimits } from "../support/server.ts";
import { until } from "../support/until.ts";

engineSuite("MemoryEngine", (limits) => new MemoryEngine(limits));
engineSuite("LateEngine", (limits) => new LateEngine(limits));

/** What a message of so many bytes takes. */
const messageCost = (bytes: number) => MESSAGE_OVERHEAD + bytes;
/** What a channel with a name of one letter takes. */
const CHANNEL_COST = channelCost("a");

/** An engine whose time stands still until `tick` moves it. */
function memory(limits: Partial<MemoryLimits>) {
  let time = 1_000_000;
  let epochs = 0;
  const engine = new MemoryEngine(memoryLimits(limits), {
    now: () => time,
    newEpoch: () => `e${100 + ++epochs}`,
  });
  engine.start({ deliver() {}, subscribers: () => 0 });
  const tick = (ms: number) => {
    time += ms;
    engine.sweep();
  };
  const wait = (ms: number) => {
    time += ms;
  };
  const names = async () => (await engine.list("", 1000)).channels.map(({ channel }) => channel);
  return { engine, tick, wait, names, [Symbol.dispose]: () => engine.close() };
}

function assertHeld(engine: MemoryEngine, channels: number, messages: number, bytes: number): void {
  const usage = engine.usage();
  assertEquals([usage.channels, usage.messages, usage.bytes], [channels, messages, bytes]);
}

Deno.test("MemoryEngine forgets a message when its time is over", () => {
  using river = memory({ historyTtl: 1000 });
  const { engine, tick } = river;
  engine.publish("a", "1");
  tick(600);
  engine.publish("a", "2");
  tick(400);
  assertEquals(engine.since("a", { seq: 0 }, 1e9).messages.map(({ seq }) => seq), [2]);
  assertHeld(engine, 1, 1, 1);
});

Deno.test("MemoryEngine keeps each message its whole time, however often a channel is published to", () => {
  using river = memory({ historyTtl: 1000 });
  const { engine, tick } = river;
  for (let i = 0; i < 30; i++) {
    engine.publish("a", String(i));
    tick(100);
    const { head, messages } = engine.since("a", { seq: 0 }, 1e9);
    assertEquals([head, messages.length], [i + 1, Math.min(i + 1, 9)]);
  }
  tick(900);
  assertHeld(engine, 0, 0, 0);
});

Deno.test("MemoryEngine drops a channel when its history is gone, and it comes back with a new epoch", () => {
  using river = memory({ historyTtl: 1000 });
  const { engine, tick } = river;
  const first = engine.publish("a", "1");
  tick(999);
  assert(engine.info("a") !== undefined);
  tick(1);
  assertEquals(engine.info("a"), undefined);
  assertHeld(engine, 0, 0, 0);
  const second = engine.publish("a", "1");
  assertEquals(second.seq, 1);
  assertNotEquals(second.epoch, first.epoch);
});

Deno.test("MemoryEngine drops an idle channel in time, though it was published to twice in a row", () => {
  using river = memory({ historyTtl: 64_000 });
  const { engine, tick } = river;
  engine.publish("older", "1");
  engine.publish("a", "1");
  tick(500);
  engine.publish("a", "2");
  tick(63_500);
  assertHeld(engine, 1, 1, 1);
  tick(499);
  assertHeld(engine, 1, 1, 1);
  tick(1);
  assertHeld(engine, 0, 0, 0);
});

Deno.test("MemoryEngine keeps a watched channel's numbers when its history is gone", () => {
  using river = memory({ historyTtl: 1000 });
  const { engine, tick } = river;
  const { epoch } = engine.publish("a", "1");
  engine.watch("a");
  tick(5000);
  assertEquals(engine.since("a", { seq: 0 }, 1e9), { epoch, head: 1, messages: [] });
  engine.unwatch("a");
  tick(999);
  assertEquals(engine.publish("a", "2").seq, 2);
});

Deno.test("MemoryEngine keeps positions good in a channel that never had a message", () => {
  using river = memory({});
  const { engine } = river;
  engine.watch("a");
  const { epoch } = engine.since("a", undefined, 1e9);
  engine.unwatch("a");
  assertEquals(engine.usage().channels, 0);
  assertEquals(engine.publish("a", "1").epoch, epoch);
});

Deno.test("MemoryEngine never uses an epoch again, through resets and drops", () => {
  using river = memory({ historyTtl: 1000 });
  const { engine, tick } = river;
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const { epoch } = engine.publish("a", "1");
    assert(!seen.has(epoch), `${epoch} again`);
    seen.add(epoch);
    if (i % 2 === 0) engine.reset("a");
    if (i % 3 !== 0 || i % 2 !== 0) tick(1000);
  }
});

Deno.test("MemoryEngine drops the idlest channel's history first when memory is full", async () => {
  using river = memory({ maxMemory: 3 * (messageCost(100) + CHANNEL_COST) });
  const { engine, names } = river;
  const data = "x".repeat(100);
  for (const name of ["a", "b", "a"]) engine.publish(name, data);
  engine.publish("c", data);
  assertEquals(await names(), ["a", "c"]);
  engine.publish("c", data);
  assertEquals(engine.info("a")!.history, { messages: 1, bytes: 100, oldest: 2 });
  assertHeld(engine, 2, 3, 300);
});

Deno.test("MemoryEngine keeps what was just published when memory is full", () => {
  for (const ms of [0, 900]) {
    using river = memory({ historyTtl: 64_000, maxMemory: 4 * (messageCost(100) + CHANNEL_COST) });
    const { engine, wait } = river;
    engine.publish("x", "");
    engine.publish("a", "");
    for (let i = 0; i < 4; i++) engine.publish("b", "x".repeat(50));
    // Too soon for "a" to be touched again: "x" is the longest untouched, and then it is "a".
    wait(ms);
    assertEquals(engine.publish("a", "y".repeat(700)).seq, 2);
    assertEquals(engine.since("a", { seq: 1 }, 1e9).messages.length, 1, `after ${ms} ms`);
    assert(engine.info("b") === undefined || engine.info("b")!.history.messages < 4);
  }
});

Deno.test("MemoryEngine keeps the history of a busy channel before that of an idle one", () => {
  using river = memory({ historyTtl: 64_000, maxMemory: 4 * (messageCost(100) + CHANNEL_COST) });
  const { engine, wait } = river;
  const data = "x".repeat(100);
  for (const name of ["a", "busy", "c"]) engine.publish(name, data);
  wait(900);
  engine.publish("busy", data);
  wait(90);
  for (const name of ["d", "e"]) engine.publish(name, data);
  assertEquals(engine.info("busy")?.history.messages, 2);
  assertEquals(engine.info("c"), undefined);
});

Deno.test("MemoryEngine counts a message that is larger than all memory, and keeps it no longer", () => {
  using river = memory({ maxMemory: 100 });
  const { engine } = river;
  assertEquals(engine.publish("a", "x").seq, 1);
  assertEquals(engine.publish("a", "x").seq, 2);
  assertHeld(engine, 1, 0, 0);
});

Deno.test("MemoryEngine spares watched channels' numbers when memory is full", () => {
  using river = memory({ maxMemory: 2 * (messageCost(1) + CHANNEL_COST) });
  const { engine } = river;
  for (const name of ["a", "b"]) {
    engine.watch(name);
    engine.publish(name, "x");
  }
  engine.publish("c", "x");
  assertEquals(engine.publish("a", "x").seq, 2);
  assertEquals(engine.publish("b", "x").seq, 2);
});

Deno.test("MemoryEngine makes room soon after max-memory has become less, in several turns", async () => {
  const limits = memoryLimits({ history: 100_000 }) as { maxMemory: number };
  const engine = new MemoryEngine(limits as MemoryLimits);
  engine.start({ deliver() {}, subscribers: () => 0 });
  try {
    for (let i = 0; i < 25_000; i++) engine.publish(i < 24_000 ? "a" : "b", "c");
    engine.watch("a");
    limits.maxMemory = 100 * messageCost(1) + CHANNEL_COST;
    engine.sweep();
    assert(engine.usage().messages > 10_000, "all in one turn");
    await until(() => engine.usage().held <= limits.maxMemory);
    assertEquals(engine.since("b", { seq: 0 }, 1e9).messages.map(({ seq }) => seq).at(0), 901);
    assertHeld(engine, 2, 100, 100);
    limits.maxMemory = 1;
    engine.sweep();
    assertHeld(engine, 1, 0, 0);
    assertEquals(engine.usage().held, 0);
  } finally {
    engine.close();
  }
});

Deno.test("MemoryEngine fails no publish when memory is full and what was longest untouched has expired", () => {
  using river = memory({ historyTtl: 1000, maxMemory: 3 * (messageCost(100) + CHANNEL_COST) });
  const { engine, tick } = river;
  const data = "x".repeat(100);
  engine.watch("watched");
  for (const name of ["watched", "old", "left"]) engine.publish(name, data);
  engine.watch("left");
  tick(999);
  engine.unwatch("left");
  tick(1);
  // Past its time, but kept for those who may come back: empty, and the longest untouched.
  assertEquals(engine.info("left")?.history.messages, 0);
  assertHeld(engine, 2, 0, 0);
  for (let seq = 1; seq <= 9; seq++) assertEquals(engine.publish("b", data).seq, seq);
  assertEquals(engine.publish("watched", data).seq, 2);
  assertEquals(engine.publish("left", data).seq, 1);
});

Deno.test("MemoryEngine counts what is held: names too, and two bytes a character beyond Latin-1", () => {
  using river = memory({});
  const { engine } = river;
  const held = () => engine.usage().held;
  const texts: [data: string, bytes: number][] = [
    ["ascii", 5],
    ["ümläut", 6],
    ["emoji \u{1f30a}", 16],
    ["漢字", 4],
    ["", 0],
  ];
  let total = CHANNEL_COST;
  for (const [data, bytes] of texts) {
    engine.publish("a", data);
    assertEquals(held(), total += messageCost(bytes), data);
  }
  engine.publish("漢".repeat(10), "");
  assertEquals(held(), total += CHANNEL_COST - 2 + 40 + messageCost(0));
  engine.watch("watched only");
  assertEquals(held(), total);
  engine.reset("a");
  engine.reset("漢".repeat(10));
  assertEquals(held(), 0);
});

Deno.test("MemoryEngine counts a text for several channels once, as long as one of them keeps it", () => {
  using river = memory({ history: 1 });
  const { engine } = river;
  const data = "x".repeat(1000);
  engine.publishAll(["a", "b", "c"].map((channel) => ({ channel, data })));
  const rest = 3 * (CHANNEL_COST + messageCost(0));
  assertEquals(engine.usage().held, rest + 1000);
  engine.publish("a", "");
  engine.publish("b", "");
  assertEquals(engine.usage().held, rest + 1000);
  engine.publish("c", "");
  assertEquals(engine.usage().held, rest);
});

Deno.test("MemoryEngine evicts nobody's history for one text in many channels", () => {
  using river = memory({ maxMemory: 1_000_000 });
  const { engine } = river;
  engine.publish("mine", "x");
  const data = "x".repeat(64_000);
  const names = Array.from({ length: 128 }, (_, i) => `${i}`);
  for (let line = 0; line < 2; line++) {
    engine.publishAll(names.map((channel) => ({ channel, data })));
  }
  assertEquals(engine.info("mine")?.history.messages, 1);
});

Deno.test("MemoryEngine never drops a channel of a batch so that the rest of it finds no room", () => {
  using river = memory({ maxChannels: 3, maxMemory: 4 * (messageCost(400) + 2 * CHANNEL_COST) });
  const { engine } = river;
  for (const name of ["a", "b", "c"]) engine.publish(name, "x".repeat(400));
  for (const name of ["b", "c", "a", "c", "b", "a"]) {
    const batch = ["c", "b", "a", name].map((channel) => ({ channel, data: "" }));
    assertEquals(engine.publishAll(batch).length, 4);
    assert(engine.usage().channels <= 3);
  }
});

Deno.test("MemoryEngine counts a watched channel while it keeps something, and lets it go where there is no room", () => {
  using river = memory({ maxChannels: 2, historyTtl: 1000 });
  const { engine, tick } = river;
  const counts = () => [engine.usage().channels, engine.usage().onlyWatched];
  engine.watch("a");
  assertEquals(counts(), [1, 1]);
  engine.publish("a", "1");
  assertEquals(counts(), [1, 0]);
  tick(1000);
  assertEquals(counts(), [1, 1]);
  for (const name of ["b", "c"]) engine.publish(name, "1");
  // It would wait for those who may come back, but there is no room for that.
  engine.unwatch("a");
  assertEquals([engine.info("a"), counts()], [undefined, [2, 0]]);
  engine.watch("b");
  tick(1000);
  assertEquals(counts(), [1, 1]);
  engine.unwatch("b");
  assertEquals([engine.info("b")?.seq, counts()], [1, [1, 0]]);
  engine.watch("b");
  assertEquals(counts(), [1, 1]);
  engine.unwatch("b");
  tick(1000);
  assertEquals(counts(), [0, 0]);
});

Deno.test("MemoryEngine publishes a repeated id again when it was forgotten", () => {
  using river = memory({ idTtl: 1000, maxIds: 2 });
  const { engine, tick } = river;
  engine.publish("a", "x", "1");
  tick(999);
  assertEquals(engine.publish("a", "x", "1").seq, 1, "swept in time");
  tick(1000);
  assertEquals(engine.publish("a", "x", "1").seq, 2, "too old");
  engine.publish("a", "x", "2");
  engine.publish("a", "x", "3");
  assertEquals(engine.publish("a", "x", "1").seq, 5, "too many since");
  assertEquals(engine.publish("a", "x", "3").seq, 4, "still known");
});

Deno.test("MemoryEngine remembers an id from its last use, though it was used before", () => {
  using river = memory({ idTtl: 1000, maxIds: 3 });
  const { engine, wait } = river;
  engine.publish("a", "x", "1");
  wait(500);
  engine.publish("a", "x", "2");
  // Too old, but not swept yet.
  wait(500);
  assertEquals(engine.publish("a", "x", "1").seq, 3);
  engine.publish("a", "x", "3");
  engine.publish("a", "x", "4");
  assertEquals(engine.publish("a", "x", "1").seq, 3, "still known");
  assertEquals(engine.publish("a", "x", "2").seq, 6, "the one that was used longest ago");
});

Deno.test("MemoryEngine drops ten thousand channels a thousand a turn", async () => {
  using river = memory({ historyTtl: 1000 });
  const { engine, tick } = river;
  for (let i = 0; i < 10_000; i++) engine.publish(`c${i}`, "x");
  tick(1000);
  let left = engine.usage().channels;
  assertEquals(left, 9000);
  while (left > 0) {
    await new Promise((resolve) => setTimeout(resolve));
    const now = engine.usage().channels;
    assert(left - now <= 1000 && left > now, `from ${left} to ${now} in one turn`);
    left = now;
  }
  assertHeld(engine, 0, 0, 0);
});

Deno.test("MemoryEngine lists while channels come and go", async () => {
  using river = memory({});
  const { engine } = river;
  for (let i = 0; i < 30; i++) engine.publish(`c${i}`, "x");
  const { channels, next } = await engine.list("c", 10);
  engine.publish("c99", "x");
  engine.watch("d");
  engine.unwatch("d");
  const rest = await engine.list("c", 1000, next!);
  assertEquals(channels.length + rest.channels.length, 31);
  assertEquals(rest.next, null);
});
