/**
 * Subscribers that come while messages do: each starts from a position just behind the publisher,
 * so that replay and live delivery meet.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ask, type LineReader, subscribe } from "./http.ts";
import { RawConnection } from "./raw.ts";
import type { ServerProcess } from "./server.ts";
import { openSocket } from "./sockets.ts";

/** Messages that each joiner reads. */
const READ = 20;
/** Joiners at a time. */
const CROWD = 32;
/** How far behind the last receipt a joiner starts, at most. */
const BEHIND = 12;

/** Takes one message after the other; the data of each is its seq. */
class Follower {
  seq: number;

  constructor(seq: number) {
    this.seq = seq;
  }

  /** A river line, which must be the next message. */
  line(line: string | undefined): void {
    const seq = ++this.seq;
    assertEquals(line, `["msg", {"channel": "x", "seq": ${seq}, "data": "${seq}"}]`);
  }
}

/** Reads from just after a position until `until` says that it is enough. */
type Join = (
  server: ServerProcess,
  from: number,
  enough: (seq: number) => boolean,
) => Promise<void>;

function stream(format: string, read: (lines: LineReader, at: Follower) => Promise<void>): Join {
  return async (server, from, enough) => {
    await using lines = await subscribe(server, `name=x&seq=${from}&format=${format}`);
    const at = new Follower(from);
    if (format === "river.v1") await lines.next();
    // The position at which it starts.
    if (format === "sse") await lines.take(3);
    while (!enough(at.seq)) await read(lines, at);
  };
}

function poll(query: string, lineOf: (line: string) => string): Join {
  return async (server, from, enough) => {
    const at = new Follower(from);
    while (!enough(at.seq)) {
      const { text } = await ask(`${server.url}/subscribe?name=x&seq=${at.seq}&${query}`);
      for (const line of text.trimEnd().split("\n")) at.line(lineOf(line));
    }
  };
}

function socket(protocol?: string): Join {
  return async (server, from, enough) => {
    await using reader = await openSocket(server, `name=x&seq=${from}`, protocol);
    const at = new Follower(from);
    if (protocol !== undefined) await reader.line();
    while (!enough(at.seq)) at.line(await reader.line());
  };
}

/** Every way to subscribe. */
export const TRANSPORTS: Record<string, Join> = {
  "stream": stream("river", async (lines, at) => at.line(await lines.next())),
  "stream, river.v1": stream("river.v1", async (lines, at) => at.line(await lines.next())),
  "event stream": stream("sse", async (lines, at) => {
    const seq = ++at.seq;
    const [id, data, end] = await lines.take(3);
    assertEquals([id.slice(id.indexOf("-")), data, end], [`-${seq}`, `data: ${seq}`, ""]);
  }),
  "raw stream": stream("raw", async (lines, at) => {
    const seq = ++at.seq;
    assertEquals(await lines.next(), String(seq));
  }),
  "long-poll": poll("keep=0", (line) => line),
  "JSONP": poll("callback=cb", (line) => line.replace(/^\/\*\*\/cb\((.*)\);$/, "$1")),
  "plain socket": socket(),
  "river.v1 socket": socket("river.v1"),
};

/** Publishes numbers to the channel `x` until it is stopped: the data of each message is its seq. */
export class Counter {
  /** The last number that was accepted. */
  seq = 0;
  readonly #done: Promise<void>;
  #stopped = false;

  /** Publishes so many at a time; `pause` is called in between. */
  constructor(
    server: ServerProcess,
    batch: number,
    pause: () => Promise<void> = () => Promise.resolve(),
  ) {
    this.#done = this.#run(server, batch, pause);
  }

  async #run(server: ServerProcess, batch: number, pause: () => Promise<void>): Promise<void> {
    using connection = await RawConnection.open(server);
    while (!this.#stopped) {
      const lines = Array.from(
        { length: batch },
        (_, i) => `{"name":"x","data":"${this.seq + i + 1}"}`,
      );
      const body = lines.join("\n");
      await connection.write(
        "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n" +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
      );
      assertEquals((await connection.response()).status, 200);
      this.seq += batch;
      await pause();
    }
  }

  /** Stops, and gives the last number. */
  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#done;
    return this.seq;
  }
}

/**
 * Lets so many subscribers come, over all transports in turn, while messages are published. Fails
 * unless each gets the next message after its position, and then every one that follows. One
 * reader of each transport is there from the beginning to the end, and must not miss any.
 */
export async function race(server: ServerProcess, joins: number): Promise<void> {
  const counter = new Counter(server, 1);
  const joiners = Object.values(TRANSPORTS);
  let last = Infinity;
  const steady = joiners.map((join) => join(server, 0, (seq) => seq >= last));
  let joined = 0;
  await Promise.all(Array.from({ length: CROWD }, async () => {
    while (joined < joins) {
      const i = joined++;
      const from = Math.max(0, counter.seq - i % BEHIND);
      await joiners[i % joiners.length](server, from, (seq) => seq >= from + READ);
    }
  }));
  last = await counter.stop();
  // Somebody may have had the last one before it was known to be the last.
  last++;
  await ask(`${server.url}/publish?name=x&data=${last}`);
  await Promise.all(steady);
}
