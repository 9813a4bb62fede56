/**
 * Logs that cannot be written, while strangers cause as many lines as they can.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ask, publish } from "../support/http.ts";
import { RawConnection } from "../support/raw.ts";
import { freePort, MAIN, metric, RUN } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Rounds, each with every log. */
const ROUNDS = 3;
/** Refused requests per round and log: thousands a second, so more than 100,000 per minute. */
const REFUSALS = 40_000;
const CONNECTIONS = 4;
/** Requests that one connection sends at once. */
const BURST = 50;
/** The 99th percentile of the waits of others may be so many times that of the control. */
const FACTOR = 1.5;
/** A wait in milliseconds that is never too long. */
const FINE_MS = 100;

/** Where stderr goes, as bash says it. The pipe of 64 KiB that nobody reads is full from the start. */
const LOGS: Record<string, string> = {
  "a file": "exec 3> /dev/null",
  "a reader that stalls": "exec 3> >(exec sleep 120); head -c 65536 /dev/zero >&3",
  "a disk that is full": "exec 3> /dev/full",
};

/** What strangers get wrong: several codes, with text of theirs in the lines. */
const MISTAKES = [
  "GET /nothing%0Awarn%20refused",
  "GET /publish?name=x",
  "GET /subscribe?name=x&seq=no",
  "PUT /publish",
  "GET /channels/none",
].map((line) => `${line} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: a\r\n\r\n`);

/** Sends its share of the refused requests and reads every answer. */
async function pester(server: { port: number }): Promise<void> {
  using connection = await RawConnection.open(server);
  const burst = Array.from({ length: BURST }, (_, i) => MISTAKES[i % MISTAKES.length]).join("");
  for (let sent = 0; sent < REFUSALS / CONNECTIONS; sent += BURST) {
    await connection.write(burst);
    for (let i = 0; i < BURST; i++) assert((await connection.response()).status >= 400);
  }
}

/** The waits of an honest publisher while `work` goes on, in milliseconds, sorted. */
async function waits(server: { url: string }, work: Promise<unknown>): Promise<number[]> {
  let over = false;
  work.finally(() => over = true);
  const waits: number[] = [];
  while (!over) {
    const started = performance.now();
    await publish(server, "honest", "a");
    waits.push(performance.now() - started);
  }
  await work;
  return waits.sort((a, b) => a - b);
}

/** The 99th percentile of the waits with such a log. Afterwards the server must end in order. */
async function p99With(log: string): Promise<number> {
  const port = freePort();
  const shell = [`${log}; exec "$@" 2>&3`, "river", Deno.execPath(), ...RUN, MAIN];
  const child = new Deno.Command("bash", {
    args: ["-c", ...shell, `--port=${port}`],
    stdout: "null",
  }).spawn();
  const server = { url: `http://127.0.0.1:${port}`, port };
  try {
    await until(
      () => ask(`${server.url}/healthz`).then(({ status }) => status === 200, () => false),
      10_000,
    );
    const strangers = Promise.all(Array.from({ length: CONNECTIONS }, () => pester(server)));
    const sorted = await waits(server, strangers);
    const refused = 'river_refusals_total{status="404",code="not_found"}';
    assertEquals(await metric(server, refused), REFUSALS / MISTAKES.length);
    assert(await metric(server, "process_resident_memory_bytes") < 400 * 2 ** 20);
    return sorted[Math.floor(sorted.length * 0.99)];
  } finally {
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0);
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

Deno.test("refusals by the ten thousand disturb nobody, whether the log can be written or not", async () => {
  const all = new Map<string, number[]>(Object.keys(LOGS).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, log] of Object.entries(LOGS)) all.get(name)!.push(await p99With(log));
  }
  for (const [name, waits] of all) {
    console.log(`p99 of others with ${name}: ${waits.map(Math.round).join(", ")} ms`);
  }
  const most = Math.max(FINE_MS, FACTOR * median(all.get("a file")!));
  for (const [name, waits] of all) assert(median(waits) < most, name);
});
