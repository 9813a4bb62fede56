import { assert, assertEquals } from "@std/assert";
import { ask, msg, publish, subscribe } from "../support/http.ts";
import { metric, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const DESCRIPTORS = 256;
const IDLE = 400;
/** How soon a new client must get through once descriptors are free again, in milliseconds. */
const BACK_MS = 2000;

/** Connects without asking for anything; undefined if the server does not let it. */
function idle({ port }: { port: number }): Promise<Deno.TcpConn | undefined> {
  return Deno.connect({ hostname: "127.0.0.1", port }).catch(() => undefined);
}

function descriptors(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

Deno.test("a server without free descriptors lives, serves its streams, and accepts again", async () => {
  await using server = await spawnServer([], { nofile: DESCRIPTORS });
  await using reader = await subscribe(server, "name=x");
  // Kept alive: the one way in while nothing new is accepted.
  await publish(server, "x", "before");
  assertEquals(await reader.next(), msg("x", 1, "before"));
  const before = descriptors(server.process.pid);
  const started = performance.now();
  for (let round = 1; round <= 2; round++) {
    const idlers: Deno.TcpConn[] = [];
    for (let i = 0; i < IDLE; i++) {
      const conn = await idle(server);
      if (conn !== undefined) idlers.push(conn);
    }
    await until(() => descriptors(server.process.pid) >= DESCRIPTORS - 1);
    await publish(server, "x", `during ${round}`);
    assertEquals(await reader.next(), msg("x", 2 * round, `during ${round}`));
    for (const conn of idlers) conn.close();
    await until(async () => {
      const conn = await idle(server);
      conn?.close();
      return conn !== undefined;
    }, BACK_MS);
    await publish(server, "x", `after ${round}`);
    assertEquals(await reader.next(), msg("x", 2 * round + 1, `after ${round}`));
  }
  await until(() => descriptors(server.process.pid) <= before + 5);
  const failures = await metric(server, "river_accept_failures_total");
  // Those within 10 s of each other are one.
  const most = 1 + Math.floor((performance.now() - started) / 10_000);
  assert(failures >= 1 && failures <= most, `${failures} failures are counted`);
  assertEquals((await server.end()).code, 0);
  assertEquals(await reader.next(), undefined);
  const lines = (await server.stderr()).split("\n").filter((line) => line.includes(" error "));
  assertEquals(lines.length, failures, lines.join("\n"));
  assert(lines.every((line) => line.includes("cannot accept connections")), lines.join("\n"));
});

Deno.test("beyond the budget of descriptors new subscribers get 503, and others are served", async () => {
  await using server = await spawnServer([], { nofile: DESCRIPTORS });
  const readers: AsyncDisposable[] = [];
  let refused: Response | undefined;
  while (refused === undefined && readers.length < DESCRIPTORS) {
    const response = await fetch(`${server.url}/subscribe?name=x`);
    if (response.status !== 200) refused = response;
    else readers.push({ [Symbol.asyncDispose]: () => response.body!.cancel() });
  }
  assertEquals([refused?.status, refused?.headers.get("retry-after")], [503, "5"]);
  assertEquals(JSON.parse(await refused!.text()).error.code, "too_many_connections");
  assertEquals(readers.length, DESCRIPTORS - 64);
  assertEquals((await publish(server, "x", "a")).subscribers, readers.length);
  assertEquals((await ask(`${server.url}/healthz`)).status, 200);
  for (const reader of readers) await reader[Symbol.asyncDispose]();
  await until(async () => await metric(server, "river_connections") === 0);
  await using _next = await subscribe(server, "name=x");
});
