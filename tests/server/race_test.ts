import { assertEquals } from "@std/assert";
import { Counter, race, TRANSPORTS } from "../support/race.ts";
import { spawnServer, subscriberCount } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Nobody is cut and nothing is evicted because this process is slow to read. */
const ROOM = ["--history", "10000000", "--max-memory", "4GiB", "--max-queue", "256MiB"];

Deno.test("10,000 subscribers that come while messages do get each once, in order, over all transports", async () => {
  await using server = await spawnServer(ROOM);
  await race(server, 10_000);
  await until(async () => await subscriberCount(server) === 0);
});

/** Milliseconds between two reconnects. */
const AWAY = 50;
/** Reconnects of each reader. */
const RECONNECTS = 30;

Deno.test("a client that reconnects every 50 ms at about 1,000 messages per second misses nothing and gets nothing twice", async () => {
  await using server = await spawnServer(ROOM);
  const counter = new Counter(
    server,
    10,
    () => new Promise((resolve) => setTimeout(resolve, 10)),
  );
  // Each visit starts where the one before ended, and checks that every message is the next one.
  const ends = await Promise.all(
    Object.values(TRANSPORTS).map(async (join) => {
      let from = 0;
      for (let i = 0; i < RECONNECTS; i++) {
        const leave = Date.now() + AWAY;
        let at = from;
        await join(server, from, (seq) => {
          at = seq;
          return Date.now() > leave;
        });
        from = at;
      }
      return from;
    }),
  );
  const last = await counter.stop();
  assertEquals(ends.filter((end) => end < RECONNECTS || end > last), []);
});
