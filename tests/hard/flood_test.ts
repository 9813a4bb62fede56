/**
 * One client that sends without pause over a WebSocket, while another asks for something again and
 * again.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { encodeFrame, FrameClient, text } from "../support/frames.ts";
import { ask, publish } from "../support/http.ts";
import { metric, type ServerProcess, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

/** How long one flood lasts, in milliseconds. */
const FLOOD_MS = 300;
const ROUNDS = 5;
/** What others may have to wait, unless an honest megabyte keeps them waiting for longer. */
const MOST_MS = 100;
/** Several clients at once may keep others waiting for so many times as long as one. */
const SEVERAL = 2;

const utf8 = new TextEncoder();

const LINE = '["pub", {"channel": "x", "data": "a"}]';
const SUBS = '["unsub", {"channel": "x"}]\n["sub", {"channel": "x", "seq": 0}]';

/** One write of so many copies of a frame. */
function many(frame: string, copies: number): Uint8Array {
  const bytes = encodeFrame(text(utf8.encode(frame)));
  const all = new Uint8Array(bytes.length * copies);
  for (let i = 0; i < copies; i++) all.set(bytes, i * bytes.length);
  return all;
}

const FLOODS: [what: string, sockets: number, protocol: string | undefined, bytes: Uint8Array][] = [
  ["frames of one byte", 1, undefined, many("a", 20_000)],
  ["empty frames", 1, undefined, many("", 20_000)],
  ["frames of 1,000 bytes", 1, undefined, many("a".repeat(1000), 200)],
  ["lines, each in its frame", 1, "river.v1", many(LINE, 4000)],
  ["frames of 1 MiB full of lines", 1, "river.v1", many(Array(25_000).fill(LINE).join("\n"), 1)],
  ["frames full of nothing but line ends", 1, "river.v1", many("\n".repeat(1_000_000), 1)],
  ["subscribing and unsubscribing", 1, "river.v1", many(Array(10_000).fill(SUBS).join("\n"), 1)],
  ["lines over three sockets", 3, "river.v1", many(LINE, 4000)],
];

/** The longest that one request took while `flood` went on, in milliseconds. */
async function longestWait(server: { url: string }, flood: Promise<unknown>): Promise<number> {
  let ended = false;
  flood.then(() => ended = true);
  let longest = 0;
  while (!ended) {
    const started = performance.now();
    await ask(`${server.url}/healthz`);
    longest = Math.max(longest, performance.now() - started);
  }
  return longest;
}

/** The longest wait while an honest publisher sends a megabyte of lines per request, one at a time. */
async function control(server: ServerProcess): Promise<number> {
  const body = '{"name": "c", "data": "a"}\n'.repeat(37_000);
  const headers = { "content-type": "application/x-ndjson" };
  const end = performance.now() + FLOOD_MS;
  const honest = async () => {
    do {
      const { status } = await ask(`${server.url}/publish`, { method: "POST", body, headers });
      assertEquals(status, 200);
    } while (performance.now() < end);
  };
  return await longestWait(server, honest());
}

/** The longest wait while the bytes are poured into sockets of the server. */
async function attack(
  server: ServerProcess,
  sockets: number,
  protocol: string | undefined,
  bytes: Uint8Array,
): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: sockets }, () => FrameClient.open(server, "name=x", protocol)),
  );
  let over = false;
  const flows = clients.map(async ({ connection }) => {
    while (!over) await connection.write(bytes);
  });
  // A flood that the server ends has done what it could.
  const ended = Promise.allSettled(flows);
  const flood = new Promise((resolve) => setTimeout(resolve, FLOOD_MS));
  try {
    return await longestWait(server, flood);
  } finally {
    over = true;
    for (const client of clients) client[Symbol.dispose]();
    await ended;
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

for (const [what, sockets, protocol, bytes] of FLOODS) {
  Deno.test(`a client that sends without pause keeps nobody waiting: ${what}`, async () => {
    await using server = await spawnServer([]);
    const [honest, flooded]: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      honest.push(await control(server));
      flooded.push(await attack(server, sockets, protocol, bytes));
      await until(async () => await metric(server, "river_connections") === 0, 20_000);
    }
    const shown = [honest, flooded].map((waits) => waits.map(Math.round).join(" "));
    console.log(`longest waits: ${shown[0]} ms beside honest megabytes, ${shown[1]} ms in floods`);
    const most = Math.max(MOST_MS, 1.5 * median(honest)) * (sockets === 1 ? 1 : SEVERAL);
    assert(median(flooded) < most, `${shown[1]} ms, beside honest megabytes ${shown[0]} ms`);
    assertEquals((await publish(server, "after", "alive")).seq, 1);
  });
}
