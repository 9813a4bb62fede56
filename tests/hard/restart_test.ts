/**
 * A server that dies, or is ended, in the middle of publishing and comes back on the same port: its
 * clients find their way back by themselves, at different times, and know what they lost.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { EventSource } from "eventsource";
import { River, type Transport } from "../../static/client.js";
import { LineReader, publish } from "../support/http.ts";
import { type ServerProcess, spawnServer } from "../support/server.ts";
import { SocketReader } from "../support/sockets.ts";
import { until } from "../support/until.ts";

/** How many clients of each kind: two thousand together. */
const CROWD = { river: 300, events: 100, streams: 900, sockets: 700 };
/** What the clients of static/client.js may use, in turn. */
const TRANSPORTS: (readonly Transport[] | undefined)[] = [
  undefined,
  ["websocket"],
  ["stream"],
  ["longpoll"],
];
/** When everybody must be back after the server listens again, in milliseconds. */
const BACK_MS = 10_000;
/** Between two messages, in milliseconds: what comes in {@link BACK_MS} fits into the history. */
const PACE_MS = 200;
/** Messages that everybody has before the server goes. */
const BEFORE = 5;
/** How long the server is away: long enough for clients to fail, and to wait longer each time. */
const AWAY_MS = 1000;
/** How long a simple client waits at most when nobody told it, in milliseconds. */
const SIMPLE_WAIT_MS = 2000;
/** Arrivals are counted in buckets of so many milliseconds. */
const BUCKET_MS = 250;

interface Gap {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** What a client was told of a channel: the seq of a message, or a gap. */
type Told = number | Gap;

/** A client that comes back by itself. */
abstract class Client {
  /** By channel, in order. */
  readonly told: Record<string, Told[]> = { busy: [], quiet: [] };
  /** When it was connected, for the first time and again. */
  readonly arrivals: number[] = [];

  /** The last message of a channel; 0 if there is none since the last gap. */
  last(channel: string): number {
    const told = this.told[channel].at(-1);
    return typeof told === "number" ? told : 0;
  }

  /** When it was back, if it is, after it lost its server at `lost`. */
  backAt(lost: number): number | undefined {
    return this.arrivals.find((time) => time > lost);
  }

  /** Ends it for good. */
  abstract close(): Promise<void> | void;

  protected arrived(): void {
    this.arrivals.push(performance.now());
  }
}

/** static/client.js with two channels: in one there are messages, in the other only a position. */
class RiverClient extends Client {
  readonly #river: River;

  constructor(url: string, transports: readonly Transport[] | undefined) {
    super();
    this.#river = new River(url, { transports });
    for (const name of ["busy", "quiet"]) {
      this.#river.subscribe(name, ({ seq }) => this.told[name].push(seq), {
        onGap: (gap) => this.told[name].push(gap),
        onOpen: () => name === "busy" && this.arrived(),
      });
    }
  }

  close(): void {
    this.#river.close();
  }
}

/** What every browser has. */
class EventClient extends Client {
  readonly #source: EventSource;

  constructor(url: string) {
    super();
    this.#source = new EventSource(`${url}/subscribe?name=busy`);
    this.#source.addEventListener("message", ({ lastEventId }: MessageEvent) => {
      this.told.busy.push(Number(lastEventId.split("-")[1]));
    });
    this.#source.addEventListener("gap", ({ data }: MessageEvent) => {
      this.told.busy.push(JSON.parse(data));
    });
    this.#source.addEventListener("open", () => this.arrived());
  }

  close(): void {
    this.#source.close();
  }
}

/** A client as anybody would write it: waits a while, and comes back with its last position. */
abstract class SimpleClient extends Client {
  #running: Promise<void> | undefined;
  #cursor = "";
  #closed = false;
  #wake = () => {};

  /** Connects, gives away all lines until the end, and tells how long to wait if it was told. */
  protected abstract visit(
    query: URLSearchParams,
    take: (line: string) => void,
  ): Promise<number | undefined>;
  /** Breaks off a visit. */
  protected abstract leave(): void;

  start(): this {
    this.#running = this.#run();
    return this;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    this.leave();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const query = new URLSearchParams({ name: "busy" });
      if (this.#cursor !== "") query.set("seq", this.#cursor);
      // What goes wrong is that nobody is there, or not any more. A wrong line shows at the end.
      const wait = await this.visit(query, this.#take).catch(() => undefined);
      if (!this.#closed) await this.#pause(wait ?? Math.random() * SIMPLE_WAIT_MS);
    }
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  #take = (line: string): void => {
    if (line === "") return;
    const [kind, fields] = JSON.parse(line);
    if (kind === "open") {
      this.#cursor = fields.cursor;
      this.arrived();
    } else if (kind === "gap") {
      this.#cursor = `${fields.epoch}-${fields.to}`;
      this.told.busy.push(fields);
    } else {
      this.#cursor = `${this.#cursor.split("-")[0]}-${fields.seq}`;
      this.told.busy.push(fields.seq);
    }
  };
}

class StreamClient extends SimpleClient {
  #abort = new AbortController();

  constructor(readonly url: string) {
    super();
  }

  protected async visit(query: URLSearchParams, take: (line: string) => void): Promise<undefined> {
    query.set("format", "river.v1");
    const { signal } = this.#abort = new AbortController();
    const response = await fetch(`${this.url}/subscribe?${query}`, { signal });
    if (!response.ok) {
      await response.body?.cancel();
      return undefined;
    }
    const lines = new LineReader(response);
    for (let line = await lines.next(); line !== undefined; line = await lines.next()) take(line);
  }

  protected leave(): void {
    this.#abort.abort();
  }
}

class SocketClient extends SimpleClient {
  #socket: WebSocket | undefined;

  constructor(readonly url: string) {
    super();
  }

  protected async visit(
    query: URLSearchParams,
    take: (line: string) => void,
  ): Promise<number | undefined> {
    const address = `${this.url.replace("http", "ws")}/websocket?${query}`;
    const socket = this.#socket = new WebSocket(address, "river.v1");
    const { closed } = new SocketReader(socket);
    socket.addEventListener("message", ({ data }) => String(data).split("\n").forEach(take));
    const told = /retry in ([0-9]+) ms/.exec((await closed).reason);
    return told === null ? undefined : Number(told[1]);
  }

  protected leave(): void {
    this.#socket?.close();
  }
}

/** Publishes to the busy channel until it is told to stop, whether a server is there or not. */
class Publisher {
  /** The last seq that a server gave. */
  seq = 0;
  readonly #done: Promise<void>;
  #stopped = false;

  constructor(server: { url: string }) {
    this.#done = this.#run(server);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(server: { url: string }): Promise<void> {
    while (!this.#stopped) {
      try {
        ({ seq: this.seq } = await publish(server, "busy", "a"));
      } catch {
        // The next one may find a server.
      }
      await delay(PACE_MS);
    }
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function crowd({ url }: ServerProcess) {
  const many = <T>(count: number, make: (i: number) => T) =>
    Array.from({ length: count }, (_, i) => make(i));
  const groups = {
    river: many(CROWD.river, (i) => new RiverClient(url, TRANSPORTS[i % TRANSPORTS.length])),
    events: many(CROWD.events, () => new EventClient(url)),
    streams: many(CROWD.streams, () => new StreamClient(url).start()),
    sockets: many(CROWD.sockets, () => new SocketClient(url).start()),
  };
  const all: Client[] = Object.values(groups).flat();
  return {
    ...groups,
    all,
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((client) => client.close()));
    },
  };
}

/** One gap for the restart, and every message before and after it: `last` is the last one's number. */
function assertWhole(told: Told[], last: number, who: string): void {
  const text = `${who}: ${JSON.stringify(told)}`;
  const at = told.findIndex((each) => typeof each !== "number");
  const gap = told[at];
  assert(typeof gap === "object", text);
  assertEquals([gap.reason, gap.from, gap.to], ["restart", at + 1, 0], text);
  assertEquals(told.toSpliced(at, 1), [...numbers(at), ...numbers(last)], text);
}

function numbers(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

/** How many of these times fall into each bucket, from the first one on. */
function buckets(times: number[]): number[] {
  const first = Math.min(...times);
  const counts = new Array<number>(1 + Math.floor((Math.max(...times) - first) / BUCKET_MS));
  counts.fill(0);
  for (const time of times) counts[Math.floor((time - first) / BUCKET_MS)]++;
  return counts;
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  Deno.test(`2,000 clients come back by themselves after ${signal} and a restart, not all at once`, async () => {
    await using first = await spawnServer();
    await using clients = crowd(first);
    const { all } = clients;
    assertEquals(all.length, 2000);
    await until(() => all.every(({ arrivals }) => arrivals.length > 0), 30_000);
    const publisher = new Publisher(first);
    await until(() => all.every((client) => client.last("busy") >= BEFORE), 30_000);
    const lost = performance.now();
    const { code } = await first.end(signal);
    if (signal === "SIGTERM") {
      assertEquals(code, 0, await first.stderr());
      // Nothing that was accepted is lost, except for a client between two polls.
      const { seq } = publisher;
      for (const client of [clients.events, clients.streams, clients.sockets].flat()) {
        await until(() => client.last("busy") >= seq);
      }
    }
    await delay(AWAY_MS);
    await using second = await spawnServer([], { port: first.port });
    const listening = performance.now();
    try {
      await until(() => all.every((client) => client.backAt(lost) !== undefined), BACK_MS);
    } finally {
      await publisher.stop();
    }
    const times = (group: Client[]) => group.map((client) => client.backAt(lost)! - listening);
    console.log(
      `${signal}: the server was away for ${
        Math.round(listening - lost)
      } ms, all were back after ` +
        `${Math.round(Math.max(...times(all)))} ms`,
    );
    for (const kind of ["river", "events", "streams", "sockets"] as const) {
      console.log(`${kind}, arrivals each ${BUCKET_MS} ms: ${buckets(times(clients[kind]))}`);
    }
    // A client that was not told waits as it likes. static/client.js is ours.
    const most = Math.max(...buckets(times(clients.river)));
    assert(most < CROWD.river / 2, `${most} in ${BUCKET_MS} ms`);
    const { seq } = await publish(second, "busy", "last");
    assertEquals((await publish(second, "quiet", "last")).seq, 1);
    await until(() => all.every((client) => client.last("busy") === seq), 10_000);
    await until(() => clients.river.every((client) => client.last("quiet") === 1), 10_000);
    all.forEach(({ told }, i) => assertWhole(told.busy, seq, `client ${i}`));
    clients.river.forEach(({ told }, i) => assertWhole(told.quiet, 1, `client ${i}, quiet`));
    assertEquals((await second.end()).code, 0);
    const log = await second.stderr();
    assert(!/^\S+ error /m.test(log), log);
  });
}
