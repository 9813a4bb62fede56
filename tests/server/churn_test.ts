/**
 * Many clients that come and go: afterwards nothing is left of them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { connect } from "node:net";
import { ask, publish, subscribe } from "../support/http.ts";
import { requestHead, UPGRADE } from "../support/raw.ts";
import {
  descriptorsOf,
  memoryOf,
  metric,
  type ServerProcess,
  spawnServer,
  subscriberCount,
} from "../support/server.ts";
import { until } from "../support/until.ts";
import { VISITS } from "../support/visits.ts";

const MiB = 2 ** 20;

/** Clients at a time. */
const CROWD = 64;
/** Crowds before memory is looked at: the server grows to the size that a crowd needs. */
const WARM_UP = 5;
/** Crowds after that. */
const CROWDS = 25;

async function crowds(server: ServerProcess, count: number, name: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    await Promise.all(
      Array.from(
        { length: CROWD },
        (_, j) => VISITS[j % VISITS.length](server, `${name}-${i}-${j}`),
      ),
    );
  }
}

Deno.test("clients that come and go leave no subscriber, no file descriptor and no memory behind", async () => {
  await using server = await spawnServer(["--history-ttl", "1s", "--id-ttl", "1s"]);
  await subscriberCount(server);
  const descriptors = await descriptorsOf(server);
  const settled = async () => {
    await until(async () => await subscriberCount(server) === 0, 10_000);
    await until(async () => await metric(server, "river_channels") === 0, 20_000);
    await until(async () => await descriptorsOf(server) <= descriptors + CROWD, 10_000);
  };
  await crowds(server, WARM_UP, "warm");
  await settled();
  const warm = await memoryOf(server, "VmRSS");
  await crowds(server, CROWDS, "cold");
  await settled();
  const grown = await memoryOf(server, "VmRSS") - warm;
  assert(grown < 48 * MiB, `${Math.round(grown / MiB)} MiB more`);
  assertEquals((await publish(server, "x", "alive")).subscribers, 0);
  assertEquals((await server.end()).code, 0);
  const log = await server.stderr();
  assert(!/^\S+ error /m.test(log), log);
});

Deno.test("sockets that are reset right after their handshake are not subscribers, and are counted", async () => {
  await using server = await spawnServer(["--heartbeat", "500ms", "--grace", "1s"]);
  const handshake = requestHead("GET /websocket?name=x HTTP/1.1", UPGRADE);
  for (let i = 0; i < 10; i++) {
    await Promise.all(Array.from({ length: 20 }, () =>
      new Promise<void>((resolve) => {
        const socket = connect(server.port, "127.0.0.1");
        socket.on("error", () => resolve());
        socket.write(handshake, () => {
          socket.resetAndDestroy();
          resolve();
        });
      })));
  }
  // The runtime never tells of some of them: those stay counted, as their descriptors are lost.
  await until(async () => {
    const [all, lost] = await Promise.all([
      metric(server, "river_connections"),
      metric(server, "river_connections_lost"),
    ]);
    return all === lost && await subscriberCount(server) === 0;
  }, 10_000);
  assertEquals(await metric(server, "river_connections_stuck"), 0);
  await using reader = await subscribe(server, "name=x");
  await publish(server, "x", "alive");
  assert((await reader.next())!.includes("alive"));
  assertEquals((await server.end()).code, 0);
});

// Row 33: channels.

Deno.test("distinct channels are capped, and idle ones make room again", async () => {
  await using server = await spawnServer(["--max-channels", "1000", "--history-ttl", "3s"]);
  const lines = (start: number, count: number) =>
    Array.from({ length: count }, (_, i) => `{"name":"c${start + i}","data":""}`).join("\n");
  const post = (body: string) =>
    ask(`${server.url}/publish`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body,
    });
  assertEquals((await post(lines(0, 1000))).status, 200);
  const refused = await Promise.all(
    Array.from({ length: 100 }, (_, i) => post(lines(1000 + i, 1))),
  );
  assertEquals(new Set(refused.map(({ status }) => status)), new Set([503]));
  assertEquals(await metric(server, "river_channels"), 1000);
  await until(async () => await metric(server, "river_channels") === 0, 20_000);
  assertEquals((await post(lines(5000, 999))).status, 200);
  await using reader = await subscribe(server, "name=after");
  await publish(server, "after", "alive");
  assert((await reader.next())!.includes("alive"));
});
