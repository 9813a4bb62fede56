/**
 * Resuming many channels whose histories together are larger than `--max-queue`, over every
 * transport: all of it comes, and nobody is cut for it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { River as Client } from "../../static/client.js";
import { ask, msg, subscribe } from "../support/http.ts";
import { type LocalServer, serveHere } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const CHANNELS = Array.from({ length: 20 }, (_, i) => `c${i}`);
/** Messages of each channel: 64 KiB. */
const LENGTH = 64;
const DATA = "x".repeat(1000);
const NAMES = CHANNELS.map((name) => `name=${name}`).join("&");
const FROM_START = `${NAMES}&seq=${CHANNELS.map(() => "0").join()}`;

/** A server with full histories. They are 1.3 MB, several times what a queue holds. */
async function filled(
  ...flags: string[]
): Promise<LocalServer> {
  const server = await serveHere("--max-queue", "256KiB", ...flags);
  for (const channel of CHANNELS) {
    for (let i = 0; i < LENGTH; i++) server.hub.publish({ channel, data: DATA });
  }
  return server;
}

/** The lines of all histories, sorted. */
const ALL = CHANNELS.flatMap((channel) =>
  Array.from({ length: LENGTH }, (_, i) => msg(channel, i + 1, DATA))
).sort();

/** Lines in the order of seq within each channel. */
function assertAll(lines: readonly string[]): void {
  const next = new Map(CHANNELS.map((channel) => [channel, 1]));
  for (const line of lines) {
    const [, { channel, seq }] = JSON.parse(line);
    assertEquals(seq, next.get(channel), channel);
    next.set(channel, seq + 1);
  }
  assertEquals([...lines].sort(), ALL);
}

for (const format of ["river", "river.v1"]) {
  Deno.test(`20 long histories come over a stream, ${format}`, async () => {
    await using server = await filled();
    await using lines = await subscribe(server, `${FROM_START}&format=${format}`);
    if (format === "river.v1") await lines.take(20);
    assertAll(await lines.take(ALL.length));
    server.hub.publish({ channel: "c7", data: "live" });
    assertEquals(await lines.next(), msg("c7", LENGTH + 1, "live"));
  });
}

Deno.test("20 long histories come over an event stream, each id complete", async () => {
  await using server = await filled();
  const { text } = await ask(
    `${server.url}/subscribe?${FROM_START}&format=sse&limit=${ALL.length}`,
  );
  const seen = CHANNELS.map(() => 0);
  const ids = [...text.matchAll(/^id: (.*)\ndata/gm)].map(([, id]) =>
    id.split(",").map((item) => Number(item.split("-")[1]))
  );
  assertEquals(ids.length, ALL.length);
  for (const id of ids) {
    const changed = id.findIndex((seq, i) => seq !== seen[i]);
    seen[changed]++;
    assertEquals(id, seen);
  }
});

for (const query of ["keep=0", "keep=0&format=river.v1", "keep=0&timeout=20"]) {
  Deno.test(`20 long histories come in one answer to a long-poll (${query})`, async () => {
    await using server = await filled();
    const { status, text } = await ask(`${server.url}/subscribe?${FROM_START}&${query}`);
    assertEquals(status, 200);
    assertAll(text.split("\n").filter((line) => line.startsWith('["msg"')));
  });
}

Deno.test("20 long histories come over a river.v1 socket", async () => {
  await using server = await filled();
  await using socket = await openSocket(server, FROM_START, "river.v1");
  await socket.take(20);
  assertAll(await socket.take(ALL.length));
});

for (const transport of ["websocket", "stream", "longpoll"] as const) {
  Deno.test(`client.js gets 20 long histories over ${transport}`, async () => {
    await using server = await filled();
    const client = new Client(server.url, { transports: [transport] });
    const got: string[] = [];
    const done = Promise.withResolvers<void>();
    try {
      for (const channel of CHANNELS) {
        client.subscribe(channel, ({ channel, seq, data }) => {
          if (got.push(msg(channel, seq, data)) === ALL.length) done.resolve();
        }, { seq: 0 });
      }
      await done.promise;
      assertAll(got);
    } finally {
      client.close();
      await until(() => server.hub.size === 0);
    }
  });
}

Deno.test("live messages come beside a history that waits for room, and cut nobody", async () => {
  await using server = await filled();
  await using lines = await subscribe(server, `${FROM_START},&name=live`);
  // Nothing is read yet: the history has taken its share of the queue.
  for (let i = 0; i < 100; i++) {
    server.hub.publish({ channel: "live", data: DATA });
    await new Promise((resolve) => setImmediate(resolve));
  }
  const got = await lines.take(ALL.length + 100);
  const live = got.filter((line) => line.includes('"live"'));
  assertEquals(live, Array.from({ length: 100 }, (_, i) => msg("live", i + 1, DATA)));
  assertAll(got.filter((line) => !line.includes('"live"')));
});
