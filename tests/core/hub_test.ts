import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Channel } from "../../lib/core/channel.ts";
import { type Engine, EngineFullError } from "../../lib/core/engine.ts";
import { Hub, type HubOptions } from "../../lib/core/hub.ts";
import { Batch } from "../../lib/core/message.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { LateEngine } from "../support/late_engine.ts";
import { RecordingSink, stoppedWheel } from "../support/recording_sink.ts";
import { memoryLimits } from "../support/server.ts";
import { until } from "../support/until.ts";

/** A hub that flushes when told to. */
function makeHub(engine: Engine = new MemoryEngine(memoryLimits()), more?: Partial<HubOptions>) {
  const flushes: (() => void)[] = [];
  const errors: unknown[] = [];
  const { wheel, pass } = stoppedWheel();
  const hub = new Hub({
    engine,
    wheel,
    maxQueue: 1_000_000,
    heartbeat: 25_000,
    report: (error) => errors.push(error),
    schedule: (flush) => flushes.push(flush),
    ...more,
  });
  const ready = hub.start();
  const flush = () => flushes.splice(0).forEach((flush) => flush());
  return {
    hub,
    engine,
    ready,
    flushes,
    flush,
    errors,
    pass,
    [Symbol.asyncDispose]: () => hub.close(),
  };
}

Deno.test("Hub flushes once a turn, however much is published", async () => {
  await using river = makeHub();
  const { hub, flush, flushes } = river;
  const sinks = [new RecordingSink(), new RecordingSink()];
  for (const sink of sinks) hub.subscribe(hub.connect(sink), [{ channel: "a" }, { channel: "b" }]);
  for (let i = 0; i < 10; i++) {
    hub.publish({ channel: "a", data: `a${i}` });
    hub.publish({ channel: "b", data: `b${i}` });
  }
  assertEquals(sinks[0].frames.length, 0);
  assertEquals(flushes.length, 1);
  flush();
  assertEquals(sinks[0].frames.length, 2, "a frame a channel");
  assertEquals(sinks[0].frames, sinks[1].frames);
  assert(sinks[0].frames[0] === sinks[1].frames[0], "the same frame for both");
  hub.publish({ channel: "a", data: "next" });
  assertEquals(flushes.length, 1);
});

Deno.test("Hub makes no promise with an engine that answers at once", async () => {
  await using river = makeHub();
  const { hub } = river;
  for (const cursor of [undefined, { seq: 0 }]) {
    const joined = hub.subscribe(hub.connect(new RecordingSink()), [{ channel: "a", cursor }]);
    assertEquals(joined, undefined);
  }
  assert(!(hub.publish({ channel: "a", data: "x" }) instanceof Promise));
});

Deno.test("Hub delivers a large batch in parts, a turn for each, and other channels in between", async () => {
  await using river = makeHub();
  const { hub, flush, flushes } = river;
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "a" }, { channel: "b" }]);
  for (let i = 0; i < 1000; i++) hub.publish({ channel: "a", data: "" });
  hub.publish({ channel: "b", data: "" });
  const turns: number[] = [];
  for (let sent = 0; sent < 1001; sent = sink.seqs.length) {
    assertEquals(flushes.length, 1);
    flush();
    turns.push(sink.seqs.length - sent);
  }
  assert(Math.max(...turns) <= 256, `${turns}`);
  assertEquals(flushes.length, 0);
  const order = sink.messages.map(({ channel }) => channel);
  assert(order.indexOf("b") <= 512, "the other channel waits for a part, not for all of them");
  assertEquals(
    sink.seqs.filter((_, i) => order[i] === "a"),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  );
});

Deno.test("Hub delivers no more data in a turn than a part of --max-queue", async () => {
  await using river = makeHub(undefined, { maxQueue: 80_000 });
  const { hub, flush } = river;
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "a" }]);
  for (let i = 0; i < 40; i++) hub.publish({ channel: "a", data: "x".repeat(2000) });
  hub.publish({ channel: "a", data: "x".repeat(60_000) });
  for (let sent = 0; sent < 41; sent = sink.seqs.length) {
    flush();
    const data = sink.messages.slice(sent).map(({ data }) => data.length);
    assert(data.length === 1 || data.reduce((sum, length) => sum + length) <= 10_000, `${data}`);
  }
  assertEquals(sink.closed, undefined);
});

Deno.test("Hub delivers all that it can once more is pending than one request publishes", async () => {
  await using river = makeHub(new MemoryEngine(memoryLimits({ history: 1 })), { maxQueue: 1e9 });
  const { hub, flush, flushes } = river;
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "a" }, { channel: "b" }]);
  // Faster than a part each turn: it must not pile up.
  for (let turn = 0, most = 0; turn < 100; turn++) {
    for (let i = 0; i < 2000; i++) hub.publish({ channel: i % 2 === 0 ? "a" : "b", data: "" });
    flush();
    most = Math.max(most, (turn + 1) * 2000 - sink.seqs.length);
    assert(most <= 65_536 + 2000, `${most} messages are pending`);
  }
  while (flushes.length > 0) flush();
  assertEquals(sink.seqs.length, 200_000);
});

Deno.test("Hub stops in the middle of a crowd, and delivers to the others in the next turn", async () => {
  await using river = makeHub();
  const { hub, flush, flushes } = river;
  const sinks = Array.from({ length: 600 }, () => new RecordingSink());
  const subscribers = sinks.map((sink) => hub.connect(sink));
  for (const subscriber of subscribers) hub.subscribe(subscriber, [{ channel: "a" }]);
  for (const sink of sinks) {
    const write = sink.write.bind(sink);
    sink.write = (frame) => {
      const end = performance.now() + 0.1;
      while (performance.now() < end);
      return write(frame);
    };
  }
  const publish = (data: string) => hub.publish({ channel: "a", data });
  publish("1");
  flush();
  const reached = sinks.findIndex(({ seqs }) => seqs.length === 0);
  assert(reached > 0 && reached < 590, `${reached} of 600`);
  assertEquals(flushes.length, 1, "the rest comes in the next turn");
  // Somebody who had it leaves, somebody who has not as well, somebody comes, and more is published.
  subscribers[0].close("gone");
  subscribers[599].close("gone");
  const newcomer = new RecordingSink();
  hub.subscribe(hub.connect(newcomer), [{ channel: "a" }]);
  const behind = new RecordingSink();
  hub.subscribe(hub.connect(behind), [{ channel: "a", cursor: { seq: 0 } }]);
  publish("2");
  while (flushes.length > 0) flush();
  assertEquals(sinks.map(({ seqs }) => seqs.join()), [
    "1",
    ...Array(598).fill("1,2"),
    "",
  ]);
  assertEquals([newcomer.seqs, behind.seqs], [[2], [1, 2]]);
});

Deno.test("Hub gives a subscriber what comes after it joined, not what came before in the same turn", async () => {
  await using river = makeHub();
  const { hub, flush } = river;
  const [early, late, behind] = [new RecordingSink(), new RecordingSink(), new RecordingSink()];
  hub.subscribe(hub.connect(early), [{ channel: "a" }]);
  hub.publish({ channel: "a", data: "1" });
  hub.subscribe(hub.connect(late), [{ channel: "a" }]);
  hub.subscribe(hub.connect(behind), [{ channel: "a", cursor: { seq: 0 } }]);
  hub.publish({ channel: "a", data: "2" });
  flush();
  assertEquals(early.seqs, [1, 2]);
  assertEquals(late.seqs, [2]);
  assertEquals(behind.seqs, [1, 2]);
});

Deno.test("Hub counts a channel's subscribers in the receipt", async () => {
  await using river = makeHub();
  const { hub } = river;
  const receipt = async () => (await hub.publish({ channel: "a", data: "" })).subscribers;
  assertEquals(await receipt(), 0);
  const subscriber = hub.connect(new RecordingSink());
  hub.subscribe(subscriber, [{ channel: "a" }]);
  hub.subscribe(hub.connect(new RecordingSink()), [{ channel: "a" }, { channel: "b" }]);
  assertEquals(await receipt(), 2);
  subscriber.close("gone");
  assertEquals(await receipt(), 1);
  assertEquals([hub.size, hub.subscribers("a"), hub.subscribers("b")], [1, 1, 1]);
});

Deno.test("Hub lets nobody be skipped when subscribers come and go during a flush", async () => {
  await using river = makeHub();
  const { hub, flush } = river;
  const sinks = Array.from({ length: 9 }, () => new RecordingSink());
  const subscribers = sinks.map((sink) => hub.connect(sink));
  for (const subscriber of subscribers) hub.subscribe(subscriber, [{ channel: "a" }]);
  const newcomer = new RecordingSink();
  const write = sinks[3].write.bind(sinks[3]);
  sinks[3].write = (frame) => {
    const sent = write(frame);
    for (const i of [1, 3, 5]) subscribers[i].close("gone");
    hub.subscribe(hub.connect(newcomer), [{ channel: "a" }]);
    return sent;
  };
  hub.publish({ channel: "a", data: "x" });
  flush();
  assertEquals(sinks.map(({ seqs }) => seqs.length), [1, 1, 1, 1, 1, 0, 1, 1, 1]);
  assertEquals(newcomer.seqs, []);
  hub.publish({ channel: "a", data: "y" });
  flush();
  assertEquals(newcomer.seqs, [2]);
});

Deno.test("Hub survives a sink that throws, and closes that subscriber alone", async () => {
  await using river = makeHub();
  const { hub, flush, errors } = river;
  const [broken, well] = [new RecordingSink(), new RecordingSink()];
  for (const sink of [broken, well]) hub.subscribe(hub.connect(sink), [{ channel: "a" }]);
  broken.write = () => {
    throw new Error("broken sink");
  };
  hub.publish({ channel: "a", data: "x" });
  flush();
  assertEquals(errors.map(String), ["Error: broken sink"]);
  assertEquals([broken.closed, well.closed, hub.size], ["error", undefined, 1]);
  assertEquals(well.seqs, [1]);
});

Deno.test("Hub publishes several messages in order, or none", async () => {
  const engine = new MemoryEngine(memoryLimits({ maxChannels: 2 }));
  await using river = makeHub(engine);
  const { hub } = river;
  const of = (...names: string[]) => names.map((channel) => ({ channel, data: "x" }));
  const receipts = await hub.publishAll(of("a", "b", "a"));
  assertEquals(receipts.map(({ channel, seq }) => channel + seq), ["a1", "b1", "a2"]);
  assertThrows(() => hub.publishAll(of("a", "c")), EngineFullError);
  assertEquals(engine.info("a")!.seq, 2);
});

for (const Kind of [MemoryEngine, LateEngine]) {
  Deno.test(`Hub publishes each of several batches whole or not at all, though all come in one turn: ${Kind.name}`, async () => {
    const engine = new Kind(memoryLimits({ maxChannels: 100 }));
    await using river = makeHub(engine);
    const { hub, ready } = river;
    await ready;
    const batches = Array.from(
      { length: 4 },
      (_, batch) => Array.from({ length: 60 }, (_, i) => ({ channel: `${batch}.${i}`, data: "x" })),
    );
    const publishAll = async (batch: typeof batches[0]) => (await hub.publishAll(batch)).length;
    const outcomes = await Promise.all(
      batches.map((batch) => publishAll(batch).catch((error) => error.name)),
    );
    assertEquals(outcomes, [60, ...Array(3).fill("EngineFullError")]);
    assertEquals((await engine.usage()).published, 60);
  });
}

Deno.test("Hub joins all channels or none", async () => {
  await using river = makeHub(new MemoryEngine(memoryLimits({ maxChannels: 2 })));
  const { hub } = river;
  const subscriber = hub.connect(new RecordingSink());
  const joins = ["a", "b", "c"].map((channel) => ({ channel }));
  assertThrows(() => hub.subscribe(subscriber, joins), EngineFullError);
  assertEquals([subscriber.size, hub.subscribers("a"), hub.subscribers("b")], [0, 0, 0]);
  hub.subscribe(subscriber, joins.slice(1));
  assertEquals(subscriber.size, 2);
});

Deno.test("Hub keeps a channel when an older one of its name is released", async () => {
  await using river = makeHub();
  const { hub, flush } = river;
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "a" }]);
  hub.release(new Channel("a", hub));
  hub.publish({ channel: "a", data: "x" });
  flush();
  assertEquals([sink.seqs, hub.subscribers("a")], [[1], 1]);
});

Deno.test("Hub resumes a clogged reader's history when it takes again", async () => {
  await using river = makeHub();
  const { hub } = river;
  const data = "x".repeat(30_000);
  for (let i = 0; i < 30; i++) hub.publish({ channel: "a", data });
  const sink = new RecordingSink();
  sink.clogged = true;
  hub.subscribe(hub.connect(sink), [{ channel: "a", cursor: { seq: 0 } }]);
  const first = sink.seqs.length;
  assert(first > 0 && first < 30, `${first} of 30`);
  hub.resume();
  assertEquals(sink.seqs.length, first);
  sink.unclog();
  await until(() => sink.seqs.length === 30);
  assertEquals(sink.closed, undefined);
});

Deno.test("Hub gives others a turn while many readers' histories go on", async () => {
  await using river = makeHub();
  const { hub } = river;
  for (let i = 0; i < 10; i++) hub.publish({ channel: "a", data: "x".repeat(50_000) });
  const sinks = Array.from({ length: 5 }, () => {
    const sink = new RecordingSink();
    sink.clogged = true;
    hub.subscribe(hub.connect(sink), [{ channel: "a", cursor: { seq: 0 } }]);
    const write = sink.write.bind(sink);
    sink.write = (frame) => {
      for (const start = performance.now(); performance.now() - start < 10;);
      return write(frame);
    };
    return sink;
  });
  for (const sink of sinks) sink.unclog();
  hub.resume();
  const done = () => sinks.filter(({ seqs }) => seqs.length === 10).length;
  assertEquals(done(), 1);
  await until(() => done() === 5);
});

Deno.test("Hub.close() sends what is pending and ends everybody", async () => {
  const { hub } = makeHub();
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "a" }]);
  hub.publish({ channel: "a", data: "last" });
  await hub.close();
  assertEquals(sink.events.map(({ kind }) => kind), ["open", "message", "close"]);
  assertEquals(sink.closed, "shutdown");
  const late = new RecordingSink();
  hub.subscribe(hub.connect(late), [{ channel: "a" }]);
  assertEquals([late.closed, hub.size], ["shutdown", 0]);
});

Deno.test("Hub waits for an engine that answers late", async () => {
  const engine = new LateEngine(memoryLimits({ maxChannels: 1 }));
  await using river = makeHub(engine, { schedule: (flush) => flush() });
  const { hub, ready } = river;
  await ready;
  const [one, two] = [new RecordingSink(), new RecordingSink()];
  await hub.publish({ channel: "a", data: "1" });
  const joined = [one, two].map((sink) =>
    hub.subscribe(hub.connect(sink), [{ channel: "a", cursor: { seq: 0 } }])
  );
  await Promise.all([...joined, hub.publish({ channel: "a", data: "2" })]);
  await hub.publish({ channel: "a", data: "3" });
  await engine.idle();
  assertEquals([one.seqs, two.seqs], [[1, 2, 3], [1, 2, 3]]);
  const join = async (...names: string[]) =>
    await hub.subscribe(
      hub.connect(new RecordingSink()),
      names.map((channel) => ({ channel })),
    );
  await join("b");
  await assertRejects(() => join("a", "c"), EngineFullError);
  assertEquals(["a", "b", "c"].map((name) => hub.subscribers(name)), [2, 1, 0]);
});

Deno.test("Hub lets a watch that fails late end its own subscription, not the one that followed it", async () => {
  const engine = new LateEngine(memoryLimits({ maxChannels: 1 }));
  await using river = makeHub(engine, { schedule: (flush) => flush() });
  const { hub, ready, errors } = river;
  await ready;
  const other = hub.connect(new RecordingSink());
  await hub.subscribe(other, [{ channel: "other" }]);
  const sink = new RecordingSink();
  const subscriber = hub.connect(sink);
  const first = hub.subscribe(subscriber, [{ channel: "a" }]);
  assert(subscriber.remove("a"));
  other.close("gone");
  const second = hub.subscribe(subscriber, [{ channel: "a" }]);
  // The first found no room; but it was left before, so nobody is to be told.
  await Promise.all([first, second]);
  assertEquals([subscriber.size, hub.subscribers("a"), subscriber.closed], [1, 1, undefined]);
  await hub.publish({ channel: "a", data: "1" });
  await engine.idle();
  assertEquals([sink.seqs, errors], [[1], []]);
});

Deno.test("Hub tells everybody in a channel whose watch fails, and watches it anew for the next subscriber", async () => {
  const engine = new MemoryEngine(memoryLimits());
  await using river = makeHub(engine);
  const { hub, flush } = river;
  const watch = Promise.withResolvers<void>();
  Object.defineProperty(engine, "watch", { value: () => watch.promise, configurable: true });
  const connect = () => hub.connect(new RecordingSink());
  const join = async () => await hub.subscribe(connect(), [{ channel: "a" }]);
  const early = [join(), join()];
  const sink = new RecordingSink();
  // At once when it fails, before the subscribers that joined have heard of it.
  const late = watch.promise.catch(() => {
    Reflect.deleteProperty(engine, "watch");
    return hub.subscribe(hub.connect(sink), [{ channel: "a" }]);
  });
  watch.reject(new EngineFullError("no room"));
  for (const joined of early) await assertRejects(() => joined, EngineFullError);
  await late;
  assertEquals(hub.subscribers("a"), 1);
  assertEquals((await hub.publish({ channel: "a", data: "1" })).subscribers, 1);
  flush();
  assertEquals(sink.seqs, [1]);
});

Deno.test("Hub closes nobody for history that fails after they left the channel", async () => {
  const engine = new MemoryEngine(memoryLimits());
  await using river = makeHub(engine);
  const { hub, errors } = river;
  const answer = Promise.withResolvers<never>();
  Object.defineProperty(engine, "since", { value: () => answer.promise });
  const subscriber = hub.connect(new RecordingSink());
  const joined = hub.subscribe(subscriber, [{ channel: "a", cursor: { seq: 0 } }]);
  subscriber.remove("a");
  answer.reject(new Error("too late"));
  await joined;
  assertEquals([subscriber.closed, errors], [undefined, []]);
});

Deno.test("Channel splits a turn in which it was reset", async () => {
  await using river = makeHub();
  const { hub, engine, flush } = river;
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "a", cursor: { seq: 0 } }]);
  const publish = (data: string) => hub.publish({ channel: "a", data });
  publish("1");
  publish("2");
  engine.reset("a");
  publish("3");
  flush();
  flush();
  const batches = sink.frames.filter((frame) => frame instanceof Batch);
  assertEquals(batches.map(({ first, last }) => [first, last]), [[1, 2], [1, 1]]);
  assertEquals(sink.gaps.map(({ reason }) => reason), ["restart"]);
});

Deno.test("Hub tells its engine every change of a channel's subscribers", async () => {
  const counts: [string, number][] = [];
  const engine = Object.assign(new MemoryEngine(memoryLimits()), {
    count: (channel: string, subscribers: number) => void counts.push([channel, subscribers]),
  });
  await using river = makeHub(engine);
  const { hub } = river;
  const [one, other] = [hub.connect(new RecordingSink()), hub.connect(new RecordingSink())];
  hub.subscribe(one, [{ channel: "a" }, { channel: "b" }]);
  hub.subscribe(other, [{ channel: "a" }]);
  one.remove("b");
  one.close("gone");
  other.close("gone");
  assertEquals(counts, [["a", 1], ["b", 1], ["a", 2], ["b", 0], ["a", 1], ["a", 0]]);
});
