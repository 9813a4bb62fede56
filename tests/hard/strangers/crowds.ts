/**
 * Inputs whose work is multiplied by what is there already: readers that read nothing, many channels, a
 * long history, memory that is full.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { FrameClient } from "../../support/frames.ts";
import { ask, publish } from "../../support/http.ts";
import { RawConnection, requestHead } from "../../support/raw.ts";
import type { ServerProcess } from "../../support/server.ts";
import { bytesOf, ENDED, get, type Input, LONG, post, type Row } from "./harness.ts";

const MiB = 2 ** 20;
const EVENTS = "text/event-stream";
const NDJSON = "application/x-ndjson";
/** What a crowd of 50 may have unsent, and what its connections cost. */
const CROWD = 128 * MiB;
/** Names of as many channels as one request may name, the first of them `c0`. */
const NAMES = Array.from({ length: 128 }, (_, i) => `c${i}`);

/** Ends them all. */
function together(all: readonly Disposable[]): AsyncDisposable {
  return {
    [Symbol.asyncDispose]() {
      for (const one of all) one[Symbol.dispose]();
      return Promise.resolve();
    },
  };
}

/** Opens streams whose heads are read, and no more. */
async function streams(server: ServerProcess, count: number, query: string, accept = "*/*") {
  return await Promise.all(Array.from({ length: count }, async () => {
    const connection = await RawConnection.open(server);
    await connection.write(requestHead(`GET /subscribe?${query} HTTP/1.1`, { Accept: accept }));
    await connection.until("\r\n\r\n");
    return connection;
  }));
}

/** Opens streams that are read as fast as they come. */
async function eager(server: ServerProcess, count: number, query: string) {
  const buffer = new Uint8Array(1 << 18);
  const request = bytesOf(requestHead(`GET /subscribe?${query} HTTP/1.1`));
  return await Promise.all(Array.from({ length: count }, async () => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await connection.write(request);
    await connection.read(buffer);
    (async () => {
      while (await connection.read(buffer) !== null);
    })().catch(() => {});
    return connection;
  }));
}

const manyNames = NAMES.map((name) => `name=${name}`).join("&");

/** Readers that read nothing. */
const crowds: [name: string, (server: ServerProcess) => Promise<readonly Disposable[]>][] = [
  [
    "10 event streams of 128 channels",
    (server) => streams(server, 10, manyNames, EVENTS),
  ],
  ["50 event streams", (server) => streams(server, 50, "name=c0", EVENTS)],
  ["50 streams", (server) => streams(server, 50, "name=c0")],
  ["50 streams of 128 channels", (server) => streams(server, 50, manyNames)],
  ["50 raw streams", (server) => streams(server, 50, "name=c0&format=raw")],
  ["50 long-polls", (server) => streams(server, 50, "name=c0&keep=0")],
  [
    "50 calls of JSONP with names of their own",
    async (server) =>
      (await Promise.all(
        Array.from({ length: 50 }, (_, i) => streams(server, 1, `name=c0&callback=cb${i}`)),
      )).flat(),
  ],
  [
    "50 plain sockets",
    (server) => Promise.all(Array.from({ length: 50 }, () => FrameClient.open(server, "name=c0"))),
  ],
  [
    "50 sockets of river.v1",
    (server) =>
      Promise.all(
        Array.from({ length: 50 }, () => FrameClient.open(server, "name=c0", "river.v1")),
      ),
  ],
  [
    "50 sockets of river.v1 with 128 channels",
    (server) =>
      Promise.all(
        Array.from({ length: 50 }, () => FrameClient.open(server, manyNames, "river.v1")),
      ),
  ],
];

function batch(line: (i: number) => object, size = 1_048_000): Input {
  const lines: string[] = [];
  for (let i = 0, length = 0; length < size - 1000; i++) {
    lines.push(JSON.stringify(line(i)));
    length += lines[i].length + 1;
  }
  return post(NDJSON, lines.join("\n"));
}

/** Empty messages to one channel, to 128 in turn, and to 128 at once. */
const batches: [name: string, input: Input][] = [
  ["a megabyte of empty messages", batch(() => ({ name: "c0", data: "" }))],
  [
    "a megabyte of empty messages to 128 channels",
    batch((i) => ({ name: `c${i % 128}`, data: "" })),
  ],
  ["390 messages to 128 channels each", batch(() => ({ name: NAMES, data: "" }), 270_000)],
];

/** Large messages to the same readers. */
const honestBatch = batch(() => ({ name: "c0", data: "x".repeat(10_000) }));

/** Fills the server with channels that have one message each. */
async function channels(server: ServerProcess, count: number): Promise<void> {
  for (let start = 0; start < count; start += 20_000) {
    const lines = Array.from(
      { length: Math.min(20_000, count - start) },
      (_, i) => `{"name":"many${start + i}","data":""}`,
    );
    const body = lines.join("\n");
    const { status } = await ask(`${server.url}/publish`, {
      method: "POST",
      headers: { "content-type": NDJSON },
      body,
    });
    assertEquals(status, 200);
  }
}

function repeated({ bytes }: Input, times: number): Input {
  return { bytes: bytesOf(...Array.from({ length: times }, () => bytes)), answers: times };
}

const reset = (name: string): Input => ({
  bytes: bytesOf(requestHead(`DELETE /channels/${name} HTTP/1.1`)),
});

/** Requests of an operator while there are 100,000 channels; an open server has nobody else. */
const operators: [name: string, input: (n: number) => Input, expected: number[]][] = [
  ["lists of channels that are not there", () => repeated(get("/channels?prefix=none"), 20), [200]],
  ["lists of a thousand channels", () => repeated(get("/channels?limit=1000"), 20), [200]],
  [
    "lists of channels from the last page on",
    () => repeated(get("/channels?limit=1000&after=99999"), 20),
    [200],
  ],
  [
    "ends of thousands of channels",
    (n) => {
      const all = Array.from({ length: 2000 }, (_, i) => reset(`many${n * 2000 + i}`).bytes);
      return { bytes: bytesOf(...all), answers: 2000 };
    },
    // A channel that nobody listens to is gone with its history.
    [200, 404],
  ],
  ["ends of one channel again and again", () => repeated(reset("many1"), 2000), [200, 404]],
  ["the metrics", () => repeated(get("/metrics"), 100), [200]],
];

/** Serves a client that comes then. */
async function publishes(server: ServerProcess): Promise<void> {
  await publish(server, "somebody-new", "hi");
}

/** All rows about crowds. */
export const crowded: Row[] = [
  ...crowds.flatMap(([crowd, join]) =>
    batches.slice(0, LONG ? undefined : 1).map(([name, input]): Row => ({
      name: `${name}, with ${crowd} that read nothing`,
      crowd: async (server) => together(await join(server)),
      hostile: () => input,
      honest: () => honestBatch,
      expected: [200],
      times: 1,
      settle: 300,
      memory: CROWD,
    }))
  ),
  ...operators.map(([name, hostile, expected]): Row => ({
    name: `${name}, with 100,000 channels there`,
    flags: ["--max-channels", "200000"],
    setup: (server) => channels(server, 100_000),
    hostile,
    honest: () => repeated(get("/channels/many1"), 100),
    expected,
    times: 8,
  })),
  {
    name: "messages that fill the memory, while a channel that is watched is empty",
    flags: ["--max-memory", "1MiB"],
    setup: async (server) => {
      const watched = await streams(server, 1, "name=idle");
      await publish(server, "reset", "hi");
      await ask(`${server.url}/channels/reset`, { method: "DELETE" });
      return together(watched);
    },
    hostile: () =>
      repeated(post("text/plain", "x".repeat(30_000), { target: "/publish?name=b" }), 30),
    honest: () => repeated(post("text/plain", "x", { target: "/publish?name=b" }), 30),
    expected: [200],
    times: 4,
    after: publishes,
  },
  {
    name: "messages that are counted once for each channel",
    setup: async (server) => {
      for (let i = 0; i < 20; i++) await publish(server, "others", String(i));
    },
    hostile: () =>
      batch((i) => ({
        name: Array.from({ length: 128 }, (_, n) => `n${i * 128 + n}`),
        data: "x".repeat(62_000),
      }), 970_000),
    honest: () => honestBatch,
    expected: [200, 413, 503],
    channels: 2000,
    times: 4,
    async after(server) {
      const { text } = await ask(`${server.url}/channels/others`);
      assertEquals(JSON.parse(text).history.messages, 20, "what others published was evicted");
    },
  },
  {
    name: "subscriptions to channels that nobody publishes to",
    flags: ["--max-channels", "1000"],
    setup: async (server) => {
      // As many as there is room for, if names that are only watched take any.
      const queries = Array.from(
        { length: 8 },
        (_, i) =>
          Array.from({ length: i < 7 ? 128 : 1000 - 7 * 128 }, (_, n) => `name=unknown${i}-${n}`),
      );
      const all = await Promise.all(queries.map((names) => streams(server, 1, names.join("&"))));
      return together(all.flat());
    },
    hostile: (n) =>
      get(
        `/subscribe?timeout=0.01&${
          Array.from({ length: 128 }, (_, i) => `name=more${n}-${i}`).join("&")
        }`,
      ),
    honest: () => get("/subscribe?timeout=0.01&name=a"),
    expected: [204, 503],
    after: publishes,
  },
  {
    name: "a megabyte of empty messages, with 100 streams that read them all",
    crowd: async (server) => together(await eager(server, 100, "name=c0")),
    hostile: () => batches[0][1],
    honest: () => honestBatch,
    expected: [200],
    times: 1,
    settle: 1000,
    memory: CROWD,
  },
  {
    name: "event streams that resume 128 channels",
    setup: async (server) => {
      const lines = Array.from({ length: 12_800 }, (_, i) => `{"name":"c${i % 128}","data":""}`);
      const { status } = await ask(`${server.url}/publish`, {
        method: "POST",
        headers: { "content-type": NDJSON },
        body: lines.join("\n"),
      });
      assertEquals(status, 200);
    },
    crowd: async (server) =>
      together(await streams(server, 20, `${manyNames}&seq=${NAMES.map(() => 0)}`, EVENTS)),
    hostile: () => get(`/subscribe?${manyNames}&seq=${NAMES.map(() => 0)}`, { Accept: EVENTS }),
    honest: () => get(`/subscribe?${manyNames}&timeout=0.01`),
    expected: [200],
    times: 1,
    settle: 100,
    memory: 64 * MiB,
  },
  {
    name: "requests for a long history by readers that read nothing",
    nofile: 4096,
    setup: async (server) => {
      for (let i = 0; i < 100; i++) await publish(server, "h", "x".repeat(60_000));
    },
    crowd: async (server) => together(await streams(server, 1000, "name=h&seq=0")),
    hostile: () => get("/subscribe?name=h&seq=0&limit=1&keep=0"),
    honest: () => get("/subscribe?name=h&limit=1&timeout=0.01"),
    expected: [200, ENDED, 503],
    times: 1,
    // As much as `--max-unsent`, and what 1,000 connections cost.
    memory: (256 + 96) * MiB,
  },
];
