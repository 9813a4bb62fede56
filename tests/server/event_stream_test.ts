/**
 * Event streams as a reader sees them that is not ours, the npm `eventsource-parser`: whatever was
 * published comes out as one event, however the bytes are cut on their way.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { afterRetry, subscribe } from "../support/http.ts";
import { type LocalServer, serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";

/** What the parser told, in order. */
type Told =
  | { event: string; id: string | undefined; data: string }
  | { position: string }
  | { retry: number }
  | { comment: string };

/** Feeds chunks to a parser, as a client would that reads them from a connection. */
function parse(chunks: Iterable<Uint8Array>): Told[] {
  const told: Told[] = [];
  const parser = createParser({
    onEvent: ({ event = "message", id, data }) => void told.push({ event, id, data }),
    onId: (position) => void told.push({ position }),
    onRetry: (retry) => void told.push({ retry }),
    onComment: (comment) => void told.push({ comment }),
    // An unknown field would be one that somebody had smuggled in.
    onError: (error) => {
      throw error;
    },
  });
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  for (const chunk of chunks) parser.feed(utf8.decode(chunk, { stream: true }));
  utf8.decode();
  return told;
}

/** The events, without what is told besides. */
function events(told: Told[]) {
  return told.filter((each) => "event" in each);
}

/** Cuts bytes at these places. */
function* cutAt(bytes: Uint8Array, places: readonly number[]): Iterable<Uint8Array> {
  let start = 0;
  for (const place of [...places, bytes.length]) {
    yield bytes.subarray(start, place);
    start = place;
  }
}

/** Cuts bytes into chunks of so many. */
function* chunked(bytes: Uint8Array, size: number): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** What a stream tells, which must be the same wherever it is cut: in two, at every byte, or evenly. */
function parseCutAnywhere(bytes: Uint8Array): Told[] {
  const told = parse([bytes]);
  for (let place = 0; place <= bytes.length; place++) {
    assertEquals(parse(cutAt(bytes, [place])), told, `cut at byte ${place}`);
  }
  for (const size of [1, 2, 3, 5]) assertEquals(parse(chunked(bytes, size)), told, `by ${size}`);
  return told;
}

/** The bytes of an event stream that ends by itself. */
async function stream(server: LocalServer, query: string): Promise<Uint8Array> {
  const response = await fetch(`${server.url}/subscribe?format=sse&${query}`);
  assertEquals(response.headers.get("content-type"), "text/event-stream");
  return new TextEncoder().encode(afterRetry(await response.text()));
}

/** Publishes one after the other; gives the epoch. */
async function publishAll(
  server: LocalServer,
  channel: string,
  data: readonly string[],
): Promise<string> {
  const body = data.map((data) => JSON.stringify({ name: channel, data })).join("\n");
  const response = await fetch(`${server.url}/publish`, {
    method: "POST",
    body,
    headers: { "content-type": "application/x-ndjson" },
  });
  assertEquals(response.status, 200);
  const receipts = await response.json();
  return [receipts].flat()[0].epoch;
}

/** An event stream has one kind of line end. */
function normal(data: string): string {
  return data.replace(/\r\n?/g, "\n");
}

/** The events that this data must come out as, from seq 1. */
function expected(epoch: string, data: readonly string[]): Told[] {
  return data.map((data, i) => ({ event: "message", id: `${epoch}-${i + 1}`, data: normal(data) }));
}

const HOSTILE = [
  "",
  " ",
  "  leading spaces",
  "trailing spaces  ",
  "\n",
  "\r",
  "\r\n",
  "\n\r",
  "\n\n\n\n",
  "\r\r\r",
  "a\rb",
  "a\nb",
  "a\r\nb\r\n",
  "\na",
  "\nid:9",
  "\rid: 9-9\r",
  "a\r\nid: 9-9\r\n\r\ndata: injected\r\n\r\n",
  "\n\ndata: injected\n\n",
  "data:",
  "data: data: a",
  "event: gap",
  "a\nevent: gap",
  "\nretry: 1\n",
  "\n: comment\n:\n",
  ":",
  "::::",
  ": comment",
  "\ufeff",
  "\ufeffdata: a",
  "a\n\ufeffb",
  "\0",
  "a\0b\nid: \0",
  "\u2028\u2029\x85\x0b\x0c",
  "é€😀\u{10ffff}",
];

Deno.test("hostile data comes out of an event stream as published, wherever its bytes are cut", async () => {
  await using server = await serveHere();
  const epoch = await publishAll(server, "x", HOSTILE);
  const told = parseCutAnywhere(await stream(server, `name=x&seq=0&limit=${HOSTILE.length}`));
  assertEquals(events(told), expected(epoch, HOSTILE));
  // Nothing is told but where it starts, the messages and their positions.
  assertEquals(told.slice(0, 2), [{ comment: "" }, { position: `${epoch}-0` }]);
  assertEquals(told.length, 2 + 2 * HOSTILE.length);
});

Deno.test("hostile data that is published live comes out as what is replayed", async () => {
  await using server = await serveHere();
  const reading = stream(server, `name=x&limit=${HOSTILE.length}`);
  await until(() => server.hub.subscribers("x") === 1);
  for (const data of HOSTILE) server.hub.publish({ channel: "x", data });
  const live = parse([await reading]);
  const replayed = parse([await stream(server, `name=x&seq=0&limit=${HOSTILE.length}`)]);
  assertEquals(live.length, 2 + 2 * HOSTILE.length);
  assertEquals(live, replayed);
});

const LARGE: [what: string, data: string][] = [
  ["letters", "a".repeat(65_536)],
  ["line feeds", "\n".repeat(65_536)],
  ["carriage returns", "\r".repeat(65_536)],
  ["both", "\r\n".repeat(32_768)],
  ["colons", ":".repeat(65_536)],
  ["events", "\n\ndata: a\n\nid: 9\n".repeat(3000)],
  ["characters of four bytes", "😀".repeat(16_384)],
];

for (const [what, data] of LARGE) {
  Deno.test(`64 KiB of ${what} are one event, in chunks of any size`, async () => {
    await using server = await serveHere();
    const epoch = await publishAll(server, "x", [data, "next"]);
    const bytes = await stream(server, "name=x&seq=0&limit=2");
    const told = parse([bytes]);
    assertEquals(events(told), expected(epoch, [data, "next"]));
    for (const size of [1, 1021, 16_384]) assertEquals(parse(chunked(bytes, size)), told);
  });
}

/** Any text that UTF-8 can carry, with what means something to event streams more often than not. */
const anyData = fc.string({
  maxLength: 30,
  unit: fc.oneof(
    fc.constantFrom("\r", "\n", "\r\n", "\n\n", ":", " ", "\0", "\ufeff", "\u2028"),
    fc.constantFrom("data: ", "data", "id: 9-9", "event: gap", "retry: 1"),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  ),
});

Deno.test("any data comes out of an event stream as published, cut in any way", async () => {
  await using server = await serveHere("--history", "1000");
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyData, { minLength: 1, maxLength: 10 }),
      fc.array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }), {
        minLength: 5,
        maxLength: 5,
      }),
      async (data, cuts) => {
        const channel = `any ${run++}`;
        const epoch = await publishAll(server, channel, data);
        const name = encodeURIComponent(channel);
        const bytes = await stream(server, `name=${name}&seq=0&limit=${data.length}`);
        const told = parse([bytes]);
        assertEquals(events(told), expected(epoch, data));
        for (const cut of cuts) {
          const places = cut.map((part) => Math.floor(part * bytes.length)).sort((a, b) => a - b);
          assertEquals(parse(cutAt(bytes, places)), told);
        }
        assertEquals(parse(chunked(bytes, 1)), told);
      },
    ),
    { numRuns: 2000 },
  );
  assert(run >= 2000);
  assertEquals(server.errors, []);
});

/** Names that would do something if they were written as they are; line ends cannot be in one. */
const NAMES = [
  "id: 9-9",
  "data: a",
  "event",
  ":",
  ",",
  "a,b",
  " ",
  "\ufeff",
  "\ufeffid: 9",
  "\u2028\u2029",
  '"}',
  "\\n",
  "\\",
  "__proto__",
  "é€😀",
  "a".repeat(255),
];

for (const name of NAMES) {
  const shown = JSON.stringify(name.slice(0, 20));
  Deno.test(`a gap on the channel ${shown} of ${name.length} is told, wherever its bytes are cut`, async () => {
    await using server = await serveHere("--history", "1");
    const epoch = await publishAll(server, name, ["lost", "kept"]);
    const bytes = await stream(server, `name=${encodeURIComponent(name)}&seq=0&limit=1`);
    const [gap, ...rest] = events(parseCutAnywhere(bytes));
    assertEquals([gap.event, gap.id], ["gap", `${epoch}-1`]);
    assertEquals(JSON.parse(gap.data), {
      channel: name,
      from: 1,
      to: 1,
      epoch,
      reason: "evicted",
    });
    assertEquals(rest, [{ event: "message", id: `${epoch}-2`, data: "kept" }]);
  });
}

Deno.test("in a stream of many channels every id holds all positions, and resumes without loss or repeat", async () => {
  await using server = await serveHere();
  // A stream does not name the channel of an event: the data does.
  const dataOf = (channel: number, seq: number) => JSON.stringify([channel, seq]);
  const names = NAMES.map((name) => `name=${encodeURIComponent(name)}`).join("&");
  const total = NAMES.length * 3;
  const from = NAMES.map(() => "0").join(",");
  const reading = stream(server, `${names}&seq=${from}&limit=${total}`);
  await until(() => NAMES.every((name) => server.hub.subscribers(name) === 1));
  for (let seq = 1; seq <= 3; seq++) {
    for (const [channel, name] of NAMES.entries()) {
      await server.hub.publish({ channel: name, data: dataOf(channel, seq) });
    }
  }
  const bytes = await reading;
  const all = events(parse([bytes]));
  assertEquals(all.length, total);
  for (const size of [1, 2, 3]) assertEquals(events(parse(chunked(bytes, size))), all);
  const seen = NAMES.map(() => 0);
  for (const [i, { id, data }] of all.entries()) {
    const [channel, seq] = JSON.parse(data);
    assertEquals(seq, ++seen[channel]);
    assertEquals(id?.split(",").map((position) => Number(position.split("-")[1])), seen);
    const left = total - i - 1;
    if (left === 0) break;
    const resumed = await stream(server, `${names}&last_event_id=${id}&limit=${left}`);
    const expected = NAMES.flatMap((_, channel) =>
      Array.from({ length: 3 - seen[channel] }, (_, j) => dataOf(channel, seen[channel] + j + 1))
    );
    assertEquals(events(parse([resumed])).map(({ data }) => data), expected);
  }
});

Deno.test("positions, heartbeats and the delay at shutdown are recognized as such, wherever their bytes are cut", async () => {
  const server = await serveHere("--heartbeat", "100ms");
  const controller = new AbortController();
  const { signal } = controller;
  const received: Uint8Array[] = [];
  const told = () => {
    const bytes = new Uint8Array(received.reduce((sum, { length }) => sum + length, 0));
    received.reduce((at, chunk) => (bytes.set(chunk, at), at + chunk.length), 0);
    return bytes;
  };
  try {
    const response = await fetch(`${server.url}/subscribe?name=x&name=y&format=sse`, { signal });
    const cursor = response.headers.get("river-cursor")!;
    const reader = response.body!.getReader();
    while (events(parse([told()])).length === 0) {
      const { value } = await reader.read();
      received.push(value!);
      if (received.length === 2) await server.hub.publish({ channel: "y", data: "\r\n" });
    }
    const comments = () => parse([told()]).filter((each) => "comment" in each).length;
    for (const before = comments(); comments() < before + 2;) {
      received.push((await reader.read()).value!);
    }
    const disposed = server[Symbol.asyncDispose]();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      received.push(next.value);
    }
    await disposed;
    const all = parseCutAnywhere(told());
    const position = all.find((each) => "position" in each);
    assertEquals(position, { position: cursor });
    const [x, y] = cursor.split(",");
    const after = `${x},${y.replace(/0$/, "1")}`;
    assertEquals(events(all), [{ event: "message", id: after, data: "\n" }]);
    const last = all.at(-1)!;
    assert("retry" in last && last.retry >= 1000 && last.retry <= 3000);
    // After the event no other position is told.
    assertEquals(
      all.filter((each) => "position" in each).at(-1),
      { position: after },
    );
  } finally {
    controller.abort();
  }
});

for (const names of [["x"], ["y", "x"]]) {
  Deno.test(`the first bytes of an event stream of ${names.length} tell a position that resumes without loss`, async () => {
    await using server = await serveHere();
    const epoch = await publishAll(server, "x", ["before"]);
    const query = names.map((name) => `name=${name}`).join("&");
    const at = (seq: number) => names.map((name) => `${epoch}-${name === "x" ? seq : 0}`).join();
    await using lines = await subscribe(server, `${query}&format=sse`);
    assertEquals(await lines.take(3), [":", `id: ${at(1)}`, ""]);
    await lines[Symbol.asyncDispose]();
    await publishAll(server, "x", ["missed"]);
    const resumed = parse([await stream(server, `${query}&limit=1&last_event_id=${at(1)}`)]);
    assertEquals(resumed.slice(0, 2), [{ comment: "" }, { position: at(1) }]);
    assertEquals(events(resumed), [{ event: "message", id: at(2), data: "missed" }]);
  });
}
