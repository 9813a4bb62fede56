/**
 * Clients that come and go for minutes beside readers that stay: nothing is missed, and nothing grows.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { msg, publish, subscribe } from "../support/http.ts";
import {
  descriptorsOf,
  memoryOf,
  metric,
  spawnServer,
  subscriberCount,
} from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";
import { VISITS } from "../support/visits.ts";

const MiB = 2 ** 20;
/** How long the churn lasts: ten minutes with `deno task test:long`. */
const SECONDS = Deno.env.has("TEST_LONG") ? 600 : 60;
/** Churn before memory is looked at: the heap grows to the size that the load needs. */
const WARM_UP_SECONDS = Math.min(30, SECONDS / 2);
/** Visitors at a time. */
const CROWD = 64;
/** Readers of each kind that stay. */
const STEADY = 5;
/** What the heap may be larger by at the end: it is as large as the last collection left it. */
const SLACK = 48 * MiB;

/** A reader of lines that stays. */
interface Reader extends AsyncDisposable {
  next(): Promise<string | undefined>;
}

Deno.test(`${SECONDS} seconds of churn end at the baseline, and readers that stay miss nothing`, async () => {
  await using server = await spawnServer(["--history-ttl=5s", "--id-ttl=5s", "--heartbeat=2s"]);
  const readers: Reader[] = [];
  for (let i = 0; i < STEADY; i++) {
    const lines = await subscribe(server, "name=steady");
    readers.push({
      next: async () => {
        for (;;) {
          const line = await lines.next();
          // Heartbeats are empty.
          if (line !== "") return line;
        }
      },
      [Symbol.asyncDispose]: () => lines[Symbol.asyncDispose](),
    });
    const events = await subscribe(server, "name=steady&format=sse");
    readers.push({
      next: async () => {
        for (;;) {
          const line = await events.next();
          const data = line?.match(/^data: (.*)/)?.[1];
          if (line === undefined || data !== undefined) return data;
        }
      },
      [Symbol.asyncDispose]: () => events[Symbol.asyncDispose](),
    });
    for (const protocol of [undefined, "river.v1"]) {
      const socket = await openSocket(server, "name=steady", protocol);
      if (protocol !== undefined) await socket.line();
      readers.push({
        next: () => socket.line(),
        [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
      });
    }
  }
  await until(async () => await subscriberCount(server) === readers.length);
  let visits = 0;
  let messages = 0;

  /** One message to those that stay: they all must get it next. */
  async function steady(): Promise<void> {
    const { seq } = await publish(server, "steady", `m${++messages}`);
    assertEquals(seq, messages);
    const lines = await Promise.all(readers.map((reader) => reader.next()));
    for (const line of lines) {
      if (line !== `m${seq}`) assertEquals(line, msg("steady", seq, `m${seq}`));
    }
  }

  async function churn(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    let over = false;
    const talk = (async () => {
      while (!over) await steady();
    })();
    const visitors = Array.from({ length: CROWD }, async (_, i) => {
      for (let n = i; performance.now() < end; n++) {
        await VISITS[n % VISITS.length](server, `c${visits++}`);
      }
    });
    await Promise.all([Promise.all(visitors).finally(() => over = true), talk]);
  }

  /** Waits until only those that stay are left. */
  async function settle(): Promise<void> {
    await until(async () => await subscriberCount(server) === readers.length, 10_000);
    await until(async () => await metric(server, "river_connections") === readers.length, 10_000);
    await until(async () => await metric(server, "river_channels") <= 1, 30_000);
  }

  await churn(WARM_UP_SECONDS);
  await settle();
  const before = {
    memory: await memoryOf(server, "VmRSS"),
    descriptors: await descriptorsOf(server),
  };
  const started = performance.now();
  const counted = { visits, messages };
  await churn(SECONDS);
  const seconds = (performance.now() - started) / 1000;
  await settle();
  await until(async () => await descriptorsOf(server) <= before.descriptors + CROWD, 10_000);
  const memory = await memoryOf(server, "VmRSS");
  const size = (bytes: number) => `${Math.round(bytes / MiB)} MiB`;
  console.log(
    `${seconds.toFixed(0)} s, ${visits - counted.visits} visits, ` +
      `${messages - counted.messages} messages to each of ${readers.length} readers, ` +
      `memory ${size(before.memory)} before, ${size(memory)} after`,
  );
  assert(memory < before.memory + SLACK, `${size(before.memory)}, then ${size(memory)}`);
  for (const reader of readers) await reader[Symbol.asyncDispose]();
  await until(async () => await subscriberCount(server) === 0, 10_000);
  assertEquals((await server.end()).code, 0);
  const log = await server.stderr();
  assert(!/^\S+ error /m.test(log), log);
});
