/**
 * What `--history` forgets leaves the file as well.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ask } from "../support/http.ts";
import { type ServerProcess, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { TempFolder } from "../support/temp_folder.ts";

const CHANNELS = 100;
/** Messages kept per channel. */
const HISTORY = 100;
/** Bytes of a large message. A page of the file has no room for another. */
const LARGE = 4000;
const BATCH = 10_000;
/** All messages. */
const MESSAGES = 1_000_000;
const MIB = 2 ** 20;
/** The most that the file may grow while messages replace others. */
const GROWTH = 2 * MIB;
/** The log of changes is copied into the file when it has a sixteenth of 64 MiB. A transaction may add some. */
const MAX_WAL = 16 * MIB;
/** How much smaller the file must become within {@link IDLE_MS}. */
const SHRUNK = 7 * MIB;
const IDLE_MS = 30_000;

async function publishAll({ url }: ServerProcess, messages: [name: string, data: string][]) {
  const { status, text } = await ask(`${url}/publish`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: messages.map(([name, data]) => JSON.stringify({ name, data })).join("\n"),
  });
  assertEquals(status, 200, text.slice(0, 300));
}

function messages<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

Deno.test("a million messages through rings of 100: the file stays as large as it was, and shrinks when nobody publishes", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const path = `${folder}/river.db`;
  const size = (part = "") => Deno.statSync(path + part).size;
  const flags = ["--data", path, "--max-data", "64MiB", "--history", String(HISTORY)];
  await using server = await spawnServer(flags);
  for (let i = 0; i < HISTORY; i++) {
    const data = "a".repeat(LARGE);
    await publishAll(server, messages(CHANNELS, (channel) => [`c${channel}`, data]));
  }
  const before = size();
  let [most, mostWal] = [0, 0];
  const start = performance.now();
  for (let sent = 0; sent < MESSAGES; sent += BATCH) {
    // One channel gets half of them.
    await publishAll(
      server,
      messages(BATCH, (i) => [`c${i % 2 === 0 ? 0 : (i >> 1) % CHANNELS}`, `${sent + i}`]),
    );
    most = Math.max(most, size());
    mostWal = Math.max(mostWal, size("-wal"));
  }
  const seconds = Math.round((performance.now() - start) / 1000);
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  console.log(
    `${MESSAGES} messages in ${seconds} s: file ${mib(before)} before, at most ${mib(most)}, ` +
      `WAL at most ${mib(mostWal)}`,
  );
  assert(most <= before + GROWTH, `${mib(before)} before, ${mib(most)} later`);
  assert(mostWal <= MAX_WAL, mib(mostWal));
  const { text } = await ask(`${server.url}/metrics`);
  assert(text.includes(`\nriver_history_messages ${CHANNELS * HISTORY}\n`));
  await until(() => size() <= most - SHRUNK, IDLE_MS);
  console.log(`idle: ${mib(size())}`);
  await server.end("SIGKILL");
  await using other = await spawnServer(flags);
  const metrics = (await ask(`${other.url}/metrics`)).text;
  assert(metrics.includes(`\nriver_history_messages ${CHANNELS * HISTORY}\n`));
  const last = await ask(`${other.url}/subscribe?name=c0&last=1&limit=1&format=raw`);
  assertEquals(last.text, `${MESSAGES - 2}\n`);
});
