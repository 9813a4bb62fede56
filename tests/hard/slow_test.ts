/**
 * Thousands of clients that send as slowly as they can (slowhttptest): everybody else is served as
 * before.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ask, msg, publish, subscribe } from "../support/http.ts";
import { descriptorsOf, type ServerProcess, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const CONNECTIONS = 2000;
/** Those that must be there before and after what is timed; a few descriptors come and go with other things. */
const ATTACKING = 0.95 * CONNECTIONS;
/** Seconds that the attack lasts, the opening of its connections included. */
const SECONDS = 30;
/** Messages that are timed. */
const SAMPLES = 400;
/** What a calm machine may take for the slowest of a hundred, in milliseconds, noise included. */
const NOISE_MS = 50;

const ATTACKS: [what: string, flags: string[], path: string][] = [
  ["headers", ["-H"], "/subscribe?name=x"],
  ["bodies", ["-B", "-s", "8192"], "/publish?name=x"],
];

/** The 99th percentile of the milliseconds from a publish, each on a new connection, to a reader. */
async function latency(server: ServerProcess, channel: string): Promise<number> {
  await using reader = await subscribe(server, `name=${channel}`);
  const times: number[] = [];
  for (let i = 1; i <= SAMPLES; i++) {
    const start = performance.now();
    await publish(server, channel, String(i));
    assertEquals(await reader.next(), msg(channel, i, String(i)));
    times.push(performance.now() - start);
    // Somebody new comes as well now and then.
    if (i % 20 === 0) {
      const { text } = await ask(`${server.url}/subscribe?name=${channel}&seq=${i - 1}&limit=1`);
      assertEquals(text, `${msg(channel, i, String(i))}\n`);
    }
  }
  return times.sort((a, b) => a - b)[Math.floor(SAMPLES * 0.99)];
}

for (const [what, flags, path] of ATTACKS) {
  Deno.test(`2,000 slow ${what} leave everybody else served as before`, async () => {
    await using server = await spawnServer(["--body-timeout", "15s"], { nofile: 8192 });
    const calm = await latency(server, "calm");
    const before = await descriptorsOf(server);
    const attack = new Deno.Command("slowhttptest", {
      args: [
        ...flags,
        ...["-c", String(CONNECTIONS), "-r", "1000", "-i", "2", "-l", String(SECONDS)],
        ...["-u", `${server.url}${path}`],
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await until(async () => await descriptorsOf(server) >= before + ATTACKING, 15_000);
      const attacked = await latency(server, "attacked");
      console.log(`p99 ${calm.toFixed(1)} ms, under attack ${attacked.toFixed(1)} ms`);
      assert(attacked < 3 * calm + NOISE_MS, `p99 ${calm} ms, under attack ${attacked} ms`);
      assert(await descriptorsOf(server) >= before + ATTACKING, "the attack was over");
      if (what === "bodies") {
        const refused = `river_refusals_total{status="408",code="body_too_slow"} ${CONNECTIONS}\n`;
        await until(
          async () => (await ask(`${server.url}/metrics`)).text.includes(refused),
          30_000,
        );
      }
    } finally {
      attack.kill("SIGINT");
      await attack.status;
    }
    await until(async () => await descriptorsOf(server) <= before + 10, 10_000);
    assertEquals((await ask(`${server.url}/channels/x`)).status, 404);
    assertEquals((await publish(server, "after", "alive")).seq, 1);
    assertEquals((await server.end()).code, 0);
    assert(!/^\S+ error /m.test(await server.stderr()));
  });
}
