/**
 * Replay racing live publishes: whatever the order of events, every reader's list is contiguous,
 * or a gap says where it is not.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Cursor, printCursor } from "../../lib/core/cursor.ts";
import type { Engine } from "../../lib/core/engine.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Subscriber } from "../../lib/core/subscriber.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { LateEngine } from "../support/late_engine.ts";
import { RecordingSink, stoppedWheel } from "../support/recording_sink.ts";
import { memoryLimits } from "../support/server.ts";

type Step =
  | { do: "publish"; count: number; size: number }
  | { do: "subscribe"; back: number | undefined; once: boolean; bare: boolean }
  | { do: "reconnect"; reader: number }
  | { do: "clog" | "unclog"; reader: number }
  | { do: "turn"; turns: number }
  | { do: "flush" | "reset" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: publishStep() },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("subscribe" as const),
      back: fc.option(fc.integer({ min: -3, max: 30 }), { nil: undefined }),
      once: fc.boolean(),
      bare: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("reconnect" as const), reader: fc.nat(5) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("clog" as const, "unclog" as const),
      reader: fc.nat(5),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("turn" as const),
      turns: fc.integer({ min: 1, max: 9 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reset" as const) }) },
);

function publishStep(): fc.Arbitrary<Step> {
  return fc.record({
    do: fc.constant("publish" as const),
    count: fc.integer({ min: 1, max: 6 }),
    size: fc.constantFrom(1, 1000, 60_000),
  });
}

interface Reader {
  readonly sink: RecordingSink;
  readonly subscriber: Subscriber;
  readonly cursor: Cursor | undefined;
}

/** Where a reader is, going by nothing but what it was sent. Fails where it could not follow. */
function follow({ sink, cursor }: Reader): Cursor | undefined {
  let at: Cursor | undefined = cursor;
  let opened = false;
  for (const event of sink.events) {
    if (event.kind === "open") {
      assert(!opened, "opened twice");
      opened = true;
      const [, epoch, seq] = /^(\w+)-(\d+)$/.exec(event.cursor)!;
      if (cursor !== undefined) assertEquals(Number(seq), cursor.seq);
      at = { epoch, seq: Number(seq) };
    } else if (event.kind === "gap") {
      assert(cursor !== undefined, "a gap for somebody without a position");
      const { gap } = event;
      assertEquals(gap.from, at!.seq + 1);
      if (gap.reason !== "restart") assertEquals(gap.epoch, at!.epoch);
      at = { epoch: gap.epoch, seq: gap.to };
    } else if (event.kind === "message") {
      assert(opened, "a message before the channel was opened");
      const restarted = cursor === undefined && event.epoch !== at!.epoch;
      if (!restarted) {
        assertEquals([event.epoch, event.seq], [at!.epoch, at!.seq + 1]);
      }
      at = { epoch: event.epoch, seq: event.seq };
    }
  }
  return at;
}

/** Runs the steps, lets everything settle, and checks every reader. */
async function run(engine: Engine, steps: readonly Step[], settle: () => Promise<void>) {
  const { wheel } = stoppedWheel();
  const errors: unknown[] = [];
  const flushes: (() => void)[] = [];
  const hub = new Hub({
    engine,
    wheel,
    maxQueue: 10_000_000,
    heartbeat: 25_000,
    report: (error) => errors.push(error),
    // What a late engine relays goes out at once, so that it overtakes the answers under way.
    schedule: (flush) => engine instanceof LateEngine ? flush() : void flushes.push(flush),
  });
  await hub.start();
  const flush = () => flushes.splice(0).forEach((flush) => flush());
  const readers: Reader[] = [];
  const pending: Promise<unknown>[] = [];
  let published = 0;
  let epoch: string | undefined;

  function subscribe(cursor: Cursor | undefined, once: boolean): void {
    const sink = new RecordingSink({ once });
    const subscriber = hub.connect(sink);
    readers.push({ sink, subscriber, cursor });
    pending.push(Promise.resolve(hub.subscribe(subscriber, [{ channel: "c", cursor }])));
  }

  for (const step of steps) {
    switch (step.do) {
      case "publish":
        for (let i = 0; i < step.count; i++) {
          const data = "x".repeat(step.size);
          const receipt = hub.publish({ channel: "c", data });
          published++;
          if (!(receipt instanceof Promise)) epoch = receipt.epoch;
          else pending.push(receipt.then((receipt) => void (epoch = receipt.epoch)));
        }
        break;
      case "subscribe": {
        const { back, bare, once } = step;
        const seq = back === undefined ? undefined : Math.max(0, published - back);
        subscribe(seq === undefined ? undefined : bare ? { seq } : { epoch, seq }, once);
        break;
      }
      case "reconnect": {
        const reader = readers[step.reader];
        if (reader === undefined) break;
        reader.subscriber.close("gone");
        subscribe(follow(reader), reader.sink.once);
        break;
      }
      case "clog":
        if (readers[step.reader]) readers[step.reader].sink.clogged = true;
        break;
      case "unclog":
        readers[step.reader]?.sink.unclog();
        hub.resume();
        break;
      case "flush":
        flush();
        break;
      case "turn":
        for (let i = 0; i < step.turns; i++) await new Promise((resolve) => setImmediate(resolve));
        break;
      case "reset":
        pending.push(Promise.resolve(engine.reset("c")));
        published = 0;
        break;
    }
  }
  await Promise.all(pending);
  const head = await engine.since("c", undefined, 1);
  const arrived = (reader: Reader) => {
    const at = follow(reader);
    // Before the first message of an epoch there is nothing to tell a reset by.
    if (head.head === 0 || (reader.cursor === undefined && reader.sink.seqs.length === 0)) {
      return true;
    }
    return at?.epoch === head.epoch && at.seq === head.head;
  };
  // Late engines hand out long histories a piece a turn.
  for (let turns = 0; turns < 200; turns++) {
    for (const { sink } of readers) sink.unclog();
    await settle();
    flush();
    hub.resume();
    if (turns > 2 && readers.every((reader) => reader.sink.closed || arrived(reader))) break;
  }
  for (const reader of readers) {
    if (reader.sink.closed === undefined) {
      assert(arrived(reader), `stuck before ${printCursor({ ...head, seq: head.head })}`);
    } else {
      follow(reader);
    }
  }
  await hub.close();
  assertEquals(errors, []);
}

for (
  const { name, history, runs, make } of [
    { name: "MemoryEngine", history: 10, runs: 1500, make: MemoryEngine },
    { name: "MemoryEngine with a long history", history: 1000, runs: 500, make: MemoryEngine },
    { name: "LateEngine", history: 10, runs: 250, make: LateEngine },
    { name: "LateEngine with a long history", history: 1000, runs: 250, make: LateEngine },
  ]
) {
  Deno.test(`replay joins live without gap, repeat or reorder: ${name}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const engine = new make(memoryLimits({ history }));
        await run(engine, steps, async () => {
          if (engine instanceof LateEngine) await engine.idle();
          await new Promise((resolve) => setImmediate(resolve));
        });
      }),
      { numRuns: runs },
    );
  });
}
