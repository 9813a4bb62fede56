/**
 * `--data-sync full` on a slow disk: publishers wait for it. Nobody else does.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { WebSocket as NpmWebSocket } from "ws";
import { Disk } from "../support/disk/disk.ts";
import { ask, msg, publish, subscribe } from "../support/http.ts";
import { type ServerProcess, spawnServer } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";

/** How much longer the disk takes for each sync, in milliseconds. The first is the control. */
const DELAYS = [0, 10, 200];
/** How long each delay is measured, in milliseconds. */
const RUN_MS = 6000;
/** Between two requests of the same client, in milliseconds. */
const PACE_MS = 10;
/** Publishers that keep the disk busy, each in a channel of its own. */
const PUBLISHERS = 8;
/** What a machine with other work may add to the slowest of a hundred, in milliseconds. */
const NOISE_MS = 20;
/** In seconds. */
const HEARTBEAT = 1;

/** Does something again and again until a moment. Returns how long it took each time, in milliseconds. */
async function repeat(end: number, action: (i: number) => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  while (performance.now() < end) {
    const start = performance.now();
    await action(times.length);
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, PACE_MS));
  }
  return times;
}

function share(times: number[], part: number): number {
  return times.toSorted((a, b) =>
    a - b
  )[Math.min(times.length - 1, Math.floor(times.length * part))];
}

/** Reads what is kept of a channel that nobody publishes to. */
async function resume({ url }: ServerProcess): Promise<void> {
  const { text } = await ask(`${url}/subscribe?name=quiet&seq=5&limit=5`);
  assertEquals(text.trimEnd().split("\n"), QUIET.slice(5));
}
const QUIET = Array.from({ length: 10 }, (_, i) => msg("quiet", i + 1, `${i}`));

async function health({ url }: ServerProcess): Promise<void> {
  assertEquals((await ask(`${url}/healthz`)).status, 200);
}

/** Pings on one socket. */
function pinger(server: ServerProcess) {
  const socket = new NpmWebSocket(`ws://127.0.0.1:${server.port}/websocket?name=quiet`);
  return {
    opened: new Promise((resolve) => socket.on("open", resolve)),
    ping: () =>
      new Promise<void>((resolve) => {
        socket.once("pong", () => resolve());
        socket.ping();
      }),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.close();
      await closed;
    },
  };
}

/** The milliseconds from a heartbeat to the next one. */
async function heartbeats(server: ServerProcess, end: number): Promise<number[]> {
  await using lines = await subscribe(server, "name=quiet");
  const times: number[] = [];
  for (let last = performance.now(); performance.now() < end;) {
    assertEquals(await lines.next(), "");
    times.push(performance.now() - last);
    last = performance.now();
  }
  return times;
}

/** How long everybody waited with a disk that takes so many milliseconds more. */
async function measure(server: ServerProcess, disk: Disk, delay: number) {
  disk.set({ syncUs: delay * 1000 });
  const end = performance.now() + RUN_MS;
  await using socket = pinger(server);
  await socket.opened;
  const publishes = Array.from({ length: PUBLISHERS }, async (_, i) => {
    const channel = `busy.${delay}.${i}`;
    await using lines = await subscribe(server, `name=${channel}`);
    return await repeat(end, async (count) => {
      assertEquals((await publish(server, channel, `${count}`)).seq, count + 1);
      assertEquals(await lines.next(), msg(channel, count + 1, `${count}`));
    });
  });
  const [resumes, checks, pings, beats, ...published] = await Promise.all([
    repeat(end, () => resume(server)),
    repeat(end, () => health(server)),
    repeat(end, () => socket.ping()),
    heartbeats(server, end),
    ...publishes,
  ]);
  for (const [i, { length }] of published.entries()) {
    const channel = `busy.${delay}.${i}`;
    const { text } = await ask(`${server.url}/subscribe?name=${channel}&seq=0&limit=${length}`);
    const all = Array.from({ length }, (_, i) => msg(channel, i + 1, `${i}`));
    assertEquals(text.trimEnd().split("\n"), all);
  }
  return { others: { resumes, checks, pings, beats }, published: published.flat() };
}

Deno.test("a disk that takes 10 or 200 ms per sync delays publishers by that, and nobody else", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  using disk = await Disk.of(`${folder}/river.db`);
  await using server = await spawnServer([
    ...["--data", `${folder}/river.db`, "--data-sync", "full"],
    ...["--heartbeat", `${HEARTBEAT}s`, "--history", "100000"],
  ], { env: disk.env });
  for (let i = 0; i < QUIET.length; i++) await publish(server, "quiet", `${i}`);
  const control = new Map<string, number>();
  for (const delay of DELAYS) {
    const { others, published } = await measure(server, disk, delay);
    const [middle, slowest] = [share(published, 0.5), share(published, 0.99)];
    console.log(
      `${delay} ms: ${published.length} published, median ${middle.toFixed(1)} ms, p99 ${
        slowest.toFixed(1)
      } ms`,
    );
    assert(middle >= delay, "the disk was not slow");
    // A message waits for the transaction before its own. Now and then the file is written as well.
    assert(middle <= 2 * delay + NOISE_MS, `median ${middle}`);
    assert(slowest <= 4 * delay + 5 * NOISE_MS, `p99 ${slowest}`);
    for (const [name, times] of Object.entries(others)) {
      const p99 = share(times, 0.99);
      const before = control.get(name) ?? p99;
      control.set(name, before);
      console.log(`${delay} ms: p99 of ${times.length} ${name} ${p99.toFixed(1)} ms`);
      assert(p99 <= Math.max(2 * before, before + NOISE_MS), `${name}: ${before}, then ${p99}`);
    }
  }
});
