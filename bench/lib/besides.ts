/**
 * What subscribers of other channels notice while one channel is published to: on a slow disk, too.
 *
 * @module
 */
import { openAll, Requester, sleep, subscribe, within } from "./connection.ts";
import type { Server } from "./servers.ts";
import { quantiles } from "./stats.ts";
import { Trial } from "./trial.ts";
import { dataOf, requestTemplate } from "./wire.ts";
import { type Options, type Sample, watchBusy } from "./workload.ts";

/** Connections that publish by the clock. */
const PUBLISHERS = 50;
/** Another channel, its readers, and its messages per second. */
const OTHER = "bench-other";
const READERS = 10;
const OTHER_RATE = 100;
/** Messages of a history that is replayed, and the pause between two replays, in milliseconds. */
const KEPT = 100;
const REPLAY_PAUSE_MS = 10;

/** Publishes to one channel by the clock, and measures what subscribers of others notice. */
export function besides(server: Server, { rate, seconds }: Options): Promise<Sample> {
  return Trial.run(async (trial) => {
    await keep(server);
    const watched = watchBusy(server);
    let ended = false;
    const replaying = replays(trial, server, () => ended);
    const [busy, live] = await Promise.all([
      paced(trial, server, "bench-busy", rate, 2 * seconds),
      delivered(trial, server, OTHER_RATE, 2 * seconds),
    ]);
    ended = true;
    const use = watched();
    const replay = await trial.watch(replaying);
    const values = {
      ...quantiles(busy.times),
      live: quantiles(live).p99,
      replay: quantiles(replay).p99,
    };
    return { values, ...use };
  });
}

/** Publishes the history that is replayed. */
async function keep({ port }: Server): Promise<void> {
  const line = `${JSON.stringify({ name: "bench-kept", data: dataOf(0) })}\n`;
  const response = await fetch(`http://127.0.0.1:${port}/publish`, {
    method: "POST",
    headers: { "Content-Type": "application/x-ndjson" },
    body: line.repeat(KEPT),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`Cannot publish a history: ${response.status}`);
}

/** Publishes at a fixed rate. Returns when each message was due, and how long its receipt took. */
async function paced(
  trial: Trial,
  { port, dialect }: Server,
  channel: string,
  rate: number,
  seconds: number,
): Promise<{ due: number[]; times: number[] }> {
  const { bytes } = requestTemplate(dialect.publish(channel, dataOf(0)));
  const messages = Math.round(rate * seconds);
  const times: number[] = [];
  const done = Promise.withResolvers<void>();
  const due: number[] = [];
  const waiting: number[][] = Array.from({ length: PUBLISHERS }, () => []);
  // The requests of one connection wait for each other, so the messages go round many.
  const requesters = trial.keep(
    await openAll(PUBLISHERS, (index) =>
      Requester.open(port, () => {
        times.push(performance.now() - waiting[index].shift()!);
        if (times.length === messages) done.resolve();
      }, trial.fail)),
  );
  await trial.pace(rate, messages, (message, when) => {
    const index = message % PUBLISHERS;
    due.push(when);
    waiting[index].push(when);
    requesters[index].send(bytes);
  });
  await trial.watch(within(done.promise, "the receipts"));
  return { due, times };
}

/**
 * Publishes to a channel with readers. Returns the milliseconds from when a message is due to each of
 * them. The connections may overtake each other, so arrivals are compared in their order.
 */
async function delivered(
  trial: Trial,
  server: Server,
  rate: number,
  seconds: number,
): Promise<number[]> {
  const { port, dialect } = server;
  const request = new TextEncoder().encode(dialect.subscribe(OTHER, "stream"));
  const messages = Math.round(rate * seconds);
  const arrivals: number[][] = Array.from({ length: READERS }, () => []);
  const done = Promise.withResolvers<void>();
  let missing = messages * READERS;
  trial.keep(
    await openAll(READERS, (reader) =>
      subscribe({
        port,
        dialect,
        transport: "stream",
        request,
        fail: trial.fail,
        onMessages(count) {
          const now = performance.now();
          missing -= count;
          while (count-- > 0) arrivals[reader].push(now);
          if (missing === 0) done.resolve();
        },
      })),
  );
  const { due } = await paced(trial, server, OTHER, rate, seconds);
  await trial.watch(within(done.promise, "the messages of another channel"));
  return arrivals.flatMap((all) => all.map((at, message) => at - due[message]));
}

/** Clients come one after the other and take a history. Returns the milliseconds of each. */
async function replays(
  trial: Trial,
  { port, dialect }: Server,
  ended: () => boolean,
): Promise<number[]> {
  const request = new TextEncoder().encode(dialect.subscribe("bench-kept", "stream", true));
  const times: number[] = [];
  while (!ended()) {
    const started = performance.now();
    const done = Promise.withResolvers<void>();
    let left = KEPT;
    const connection = await subscribe({
      port,
      dialect,
      transport: "stream",
      request,
      fail: trial.fail,
      onMessages(messages) {
        if ((left -= messages) === 0) done.resolve();
      },
    });
    try {
      await trial.watch(within(done.promise, "a history"));
    } finally {
      connection.close();
    }
    times.push(performance.now() - started);
    await sleep(REPLAY_PAUSE_MS);
  }
  return times;
}
