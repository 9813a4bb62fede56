/**
 * Many clients that come and go: afterwards nothing is left of them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  ask,
  descriptorsOf,
  memoryOf,
  metric,
  openSocket,
  publish,
  RawConnection,
  requestHead,
  type ServerProcess,
  spawnServer,
  subscribe,
  subscriberCount,
  until,
} from "./support.ts";

const MiB = 2 ** 20;

/** Clients at a time. */
const CROWD = 64;
/** Crowds before memory is looked at: the server grows to the size that a crowd needs. */
const WARM_UP = 5;
/** Crowds after that. */
const CROWDS = 25;

/** Ways to come and to go, some of them rude. */
const VISITS: ((server: ServerProcess, channel: string) => Promise<void>)[] = [
  async (server, channel) => {
    await using lines = await subscribe(server, `name=${channel}&seq=0`);
    await publish(server, channel, "a");
    await lines.next();
  },
  async (server, channel) => {
    await using _lines = await subscribe(server, `name=${channel}&format=sse`);
  },
  async (server, channel) => {
    await publish(server, channel, "a");
    await ask(`${server.url}/subscribe?name=${channel}&seq=0&callback=cb`);
  },
  async (server, channel) => {
    await using socket = await openSocket(server, `name=${channel}`);
    socket.send("a");
    await socket.frame();
  },
  async (server, channel) => {
    await using socket = await openSocket(server, `name=${channel}`, "river.v1");
    await socket.line();
  },
  // Gone before the answer.
  async (server, channel) => {
    using connection = await RawConnection.open(server);
    await connection.write(requestHead(`GET /subscribe?name=${channel}&timeout=60 HTTP/1.1`));
  },
  // Gone in the middle of a request.
  async (server) => {
    using connection = await RawConnection.open(server);
    await connection.write("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  },
  async (server) => {
    using connection = await RawConnection.open(server);
    await connection.write("GET /");
  },
];

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
  assert(!log.includes("error"), log);
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
