import { assert, assertEquals } from "@std/assert";
import { Hub } from "../../lib/core/hub.ts";
import { Unsent } from "../../lib/core/unsent.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { ask } from "../support/http.ts";
import { RawConnection } from "../support/raw.ts";
import { RecordingSink, stoppedWheel } from "../support/recording_sink.ts";
import { memoryLimits, metric, serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Queues of these lengths, and how often they were looked at. */
function queuesOf(...lengths: number[]) {
  const seen = { looks: 0, cut: [] as number[] };
  const queues = new Set(lengths.map((length) => ({
    get unsent() {
      seen.looks++;
      return length;
    },
    close() {
      seen.cut.push(length);
      queues.delete(this);
    },
  })));
  return { queues, seen };
}

Deno.test("Unsent looks at no queue as long as less was written than there is room", () => {
  const { queues, seen } = queuesOf(10, 20);
  const unsent = new Unsent(1000, queues);
  for (let i = 0; i < 70; i++) {
    unsent.wrote(10);
    assertEquals(unsent.full, false);
  }
  assertEquals(seen.looks, 0);
});

Deno.test("Unsent makes history wait at three quarters of the limit, until there is room", async () => {
  const { queues, seen } = queuesOf(100, 200);
  const unsent = new Unsent(1000, queues);
  unsent.wrote(750);
  assert(unsent.full);
  await until(() => !unsent.full);
  assertEquals(seen, { looks: 2, cut: [] });
  unsent.wrote(449);
  assert(!unsent.full);
  unsent.wrote(1);
  assert(unsent.full);
  unsent.stop();
});

Deno.test("Unsent cuts the longest queues once all together exceed the limit", async () => {
  const { queues, seen } = queuesOf(100, 500, 50, 400, 200);
  const unsent = new Unsent(1000, queues);
  unsent.wrote(1001);
  await until(() => seen.cut.length > 0);
  assertEquals(seen.cut, [500]);
  assertEquals(unsent.count(), 750);
  unsent.stop();
});

/** A hub whose subscribers take nothing. */
function makeHub(maxUnsent: number) {
  const hub = new Hub({
    engine: new MemoryEngine(memoryLimits()),
    wheel: stoppedWheel().wheel,
    maxQueue: 1_000_000,
    maxUnsent,
    heartbeat: 25_000,
  });
  hub.start();
  return hub;
}

/** Reads `channel` from the start, taking nothing until it is unclogged. */
function joinClogged(hub: Hub, channel: string) {
  const sink = new RecordingSink();
  sink.clogged = true;
  const subscriber = hub.connect(sink);
  hub.subscribe(subscriber, [{ channel, cursor: { seq: 0 } }]);
  return { sink, subscriber };
}

Deno.test("--max-unsent: history waits but for its beginning, and all of it comes once others are gone", async () => {
  const hub = makeHub(8_000_000);
  for (let i = 0; i < 100; i++) hub.publish({ channel: "a", data: "x".repeat(5000) });
  const stalled = Array.from({ length: 12 }, () => joinClogged(hub, "a"));
  const unsent = hub.unsent;
  assert(unsent > 6_000_000 && unsent < 8_000_000, `${unsent} bytes are unsent`);
  const late = joinClogged(hub, "a");
  late.sink.unclog();
  hub.resume();
  // About a sixteenth of --max-queue.
  const first = late.sink.seqs.length;
  assert(first > 10 && first < 13, `${first} messages`);
  for (const { subscriber } of stalled) subscriber.close("gone");
  await until(() => late.sink.seqs.length === 100);
  await hub.close();
});

Deno.test("--max-unsent: those that take nothing keep nobody from a short history", async () => {
  const hub = makeHub(8_000_000);
  for (let i = 0; i < 100; i++) hub.publish({ channel: "a", data: "x".repeat(5000) });
  for (let i = 0; i < 3; i++) hub.publish({ channel: "short", data: "x" });
  for (let i = 0; i < 12; i++) joinClogged(hub, "a");
  const sink = new RecordingSink();
  hub.subscribe(hub.connect(sink), [{ channel: "short", cursor: { seq: 0 } }]);
  hub.publish({ channel: "short", data: "live" });
  await until(() => sink.seqs.length === 4);
  await hub.close();
});

Deno.test("--max-unsent: the beginnings of many histories cut only the longest queues", async () => {
  const hub = makeHub(8_000_000);
  for (let i = 0; i < 100; i++) hub.publish({ channel: "a", data: "x".repeat(5000) });
  const joined = Array.from({ length: 100 }, () => joinClogged(hub, "a"));
  await until(() => hub.unsent <= 8_000_000);
  const cut = joined.map(({ sink }, i) => sink.closed === undefined ? -1 : i).filter((i) => i >= 0);
  assert(cut.length > 0 && cut.every((i) => i < 10), `${cut}`);
  await hub.close();
});

Deno.test("--max-unsent: live messages cut those that have most unsent, and no others", async () => {
  const hub = makeHub(1_000_000);
  const sinks = Array.from({ length: 20 }, (_, i) => {
    const sink = new RecordingSink();
    sink.clogged = i < 10;
    hub.subscribe(hub.connect(sink), [{ channel: i % 2 === 0 ? "a" : "b" }]);
    return sink;
  });
  // Those of `a` have most: 200 KB each, 1 MB together.
  for (let i = 0; i < 20; i++) hub.publish({ channel: "a", data: "x".repeat(10_000) });
  for (let i = 0; i < 5; i++) hub.publish({ channel: "b", data: "x".repeat(10_000) });
  await until(() => sinks.some(({ closed }) => closed !== undefined));
  assert(hub.unsent <= 1_000_000);
  const cut = sinks.map(({ closed }, i) => closed === undefined ? -1 : i).filter((i) => i >= 0);
  assert(cut.length > 0 && cut.every((i) => i < 10 && i % 2 === 0), `${cut}`);
  assert(sinks.every(({ closed }) => closed === undefined || closed === "slow"));
  for (const sink of sinks.slice(10)) assert(sink.seqs.length > 0);
  await hub.close();
});

Deno.test("--max-unsent: readers that take nothing do not fill memory with history, and are counted", async () => {
  await using server = await serveHere("--max-unsent", "8MiB", "--max-queue", "1MiB");
  for (let i = 0; i < 100; i++) server.hub.publish({ channel: "h", data: "x".repeat(60_000) });
  const stalled: RawConnection[] = [];
  try {
    for (let i = 0; i < 40; i++) {
      const connection = await RawConnection.open(server);
      stalled.push(connection);
      await connection.write("GET /subscribe?name=h&seq=0 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    await until(() => server.hub.size === 40);
    let most = 0;
    // The kernel takes some megabytes of each before anything is unsent.
    await until(async () => {
      const unsent = await metric(server, "river_unsent_bytes");
      most = Math.max(most, unsent);
      return unsent > 4 * 2 ** 20;
    }, 20_000);
    assert(most < 8 * 2 ** 20, `${most} bytes are unsent`);
    assertEquals(server.hub.size, 40);
    // A subscriber that reads gets what is published.
    const live = ask(`${server.url}/subscribe?name=live&limit=1`);
    await until(() => server.hub.subscribers("live") === 1);
    server.hub.publish({ channel: "live", data: "hi" });
    assert((await live).text.includes("hi"));
  } finally {
    for (const connection of stalled) connection[Symbol.dispose]();
  }
  await until(() => server.hub.size === 0);
});
