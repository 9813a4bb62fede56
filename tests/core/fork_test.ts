/**
 * Epochs that continue another: a client resumes from a position that both share, and hears of a gap beyond it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type Cursor, printCursor } from "../../lib/core/cursor.ts";
import { Hub } from "../../lib/core/hub.ts";
import { engineSuite } from "../support/engine_suite.ts";
import { ForkingEngine } from "../support/forking_engine.ts";
import { RecordingSink, stoppedWheel } from "../support/recording_sink.ts";
import { memoryLimits } from "../support/server.ts";

engineSuite("ForkingEngine", (limits) => new ForkingEngine(limits));

/** A hub that flushes at once, and whose channel `a` has two messages in its first epoch. */
function setUp() {
  const engine = new ForkingEngine(memoryLimits());
  const { wheel } = stoppedWheel();
  const schedule = (flush: () => number) => void flush();
  const hub = new Hub({
    engine,
    wheel,
    schedule,
    maxQueue: 1_000_000,
    heartbeat: 25_000,
    report: (error) => {
      throw error;
    },
  });
  hub.start();
  const publish = (data: string) => {
    const receipt = hub.publish({ channel: "a", data });
    if (receipt instanceof Promise) throw new Error("it answers at once");
    return receipt;
  };
  const subscribe = (cursor?: Cursor) => {
    const sink = new RecordingSink();
    hub.subscribe(hub.connect(sink), [{ channel: "a", cursor }]);
    return sink;
  };
  publish("m1");
  const { epoch } = publish("m2");
  return { engine, hub, publish, subscribe, epoch, [Symbol.asyncDispose]: () => hub.close() };
}

/** The positions at which a channel was opened. */
function opened({ events }: RecordingSink): string[] {
  return events.filter((event) => event.kind === "open").map(({ cursor }) => cursor);
}

Deno.test("a position up to the fork resumes without a gap, and is told by its new name", async () => {
  await using river = setUp();
  const { engine, publish, subscribe, epoch } = river;
  const fork = engine.fork("a");
  assertEquals(publish("m3"), { channel: "a", seq: 3, epoch: fork, subscribers: 0 });
  for (const seq of [0, 1, 2]) {
    const sink = subscribe({ epoch, seq });
    assertEquals([opened(sink), sink.gaps], [[printCursor({ epoch: fork, seq })], []]);
    assertEquals(sink.seqs, [1, 2, 3].slice(seq));
  }
});

Deno.test("a position beyond the fork gets a gap, and everything that is kept", async () => {
  await using river = setUp();
  const { engine, publish, subscribe, epoch } = river;
  const fork = engine.fork("a");
  publish("m3");
  const sink = subscribe({ epoch, seq: 3 });
  const fields = sink.gaps.map(({ epoch, to, reason }) => [epoch, to, reason]);
  assertEquals([fields, sink.seqs], [[[fork, 0, "restart"]], [1, 2, 3]]);
});

Deno.test("a live subscriber goes on over a fork without a gap, and learns the epoch", async () => {
  await using river = setUp();
  const { engine, publish, subscribe, epoch } = river;
  const sink = subscribe();
  const forks: string[] = [];
  for (const data of ["m3", "m4"]) {
    forks.push(engine.fork("a"));
    publish(data);
    publish(`after ${data}`);
  }
  assertEquals([sink.seqs, sink.gaps], [[3, 4, 5, 6], []]);
  assertEquals(
    sink.messages.map((message) => message.epoch),
    forks.flatMap((fork) => [fork, fork]),
  );
  assertEquals(opened(sink), [`${epoch}-2`, `${forks[0]}-2`, `${forks[1]}-4`]);
  // Two forks later, a position of the first epoch still names the same message.
  const late = subscribe({ epoch, seq: 1 });
  assertEquals([late.seqs, late.gaps], [[2, 3, 4, 5, 6], []]);
});

Deno.test("a fork while history is sent leaves nothing out and says of no gap", async () => {
  await using river = setUp();
  const { engine, hub, publish, epoch } = river;
  for (let seq = 3; seq <= 20; seq++) publish("x".repeat(60_000));
  const sink = new RecordingSink();
  sink.clogged = true;
  const subscriber = hub.connect(sink);
  hub.subscribe(subscriber, [{ channel: "a", cursor: { epoch, seq: 0 } }]);
  const before = sink.seqs.length;
  engine.fork("a");
  publish("last");
  while (sink.seqs.at(-1) !== 21) {
    sink.unclog();
    subscriber.resume();
  }
  const all = Array.from({ length: 21 }, (_, i) => i + 1);
  assertEquals([before < 20, sink.seqs, sink.gaps], [true, all, []]);
});

Deno.test("an epoch that continues no other is not taken for one, whatever its numbers", async () => {
  await using river = setUp();
  const { engine, hub, publish, subscribe, epoch: first } = river;
  const sink = subscribe({ epoch: first, seq: 2 });
  const { deliver } = hub;
  hub.deliver = () => {};
  engine.reset("a");
  publish("new m1");
  publish("new m2");
  hub.deliver = deliver;
  const { epoch } = publish("new m3");
  assertEquals(sink.gaps.map(({ epoch, to, reason }) => [epoch, to, reason]), [[
    epoch,
    0,
    "restart",
  ]]);
  assertEquals(sink.messages.map(({ data }) => data), ["new m1", "new m2", "new m3"]);
});
