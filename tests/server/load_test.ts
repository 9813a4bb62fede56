import { assert, assertEquals } from "@std/assert";
import { ask } from "../support/http.ts";
import { RawConnection } from "../support/raw.ts";
import { metric, type ServerProcess, spawnServer, subscriberCount } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const PUBLISHERS = 500;
const EACH = 100;
const TOTAL = PUBLISHERS * EACH;

/** Times that the same load is put on the same server. */
const RUNS = 4;

/** How many readers of each kind: fifty together. */
const READERS = { stream: 16, sse: 12, raw: 6, plain: 4, lines: 10, poll: 2 };

/** Publishes over one kept connection, and notes under which seq each message was accepted. */
async function publishAll(
  server: ServerProcess,
  publisher: number,
  accepted: string[],
): Promise<void> {
  using connection = await RawConnection.open(server);
  for (let i = 0; i < EACH; i++) {
    const data = `${publisher}-${i}`;
    await connection.write(
      `POST /publish?name=load HTTP/1.1\r\nHost: x\r\nContent-Length: ${data.length}\r\n\r\n${data}`,
    );
    const receipt = await connection.until("}\n");
    const seq = Number(/"seq":([0-9]+)/.exec(receipt)?.[1]);
    assertEquals(accepted[seq], undefined, receipt);
    accepted[seq] = data;
  }
}

/** Keeps what a reader gets, and fails at the first number that is not the next. */
class Record {
  /** Data by seq; there is no message 0. */
  readonly data: string[] = [""];

  get full(): boolean {
    return this.data.length > TOTAL;
  }

  /** Takes one river line. */
  readonly line = (line: string): void => {
    const head = `["msg", {"channel": "load", "seq": ${this.data.length}, "data": "`;
    if (!line.startsWith(head)) throw new Error(`expected ${head}, got ${line}`);
    this.data.push(line.slice(head.length, -3));
  };

  /** Takes one event. */
  readonly event = (event: string): void => {
    const head = `-${this.data.length}\ndata: `;
    const at = event.indexOf(head);
    if (!event.startsWith("id: ") || at < 0) throw new Error(`expected ${head}, got ${event}`);
    this.data.push(event.slice(at + head.length));
  };

  /** Takes bare data, which carries no number. */
  readonly raw = (data: string): void => void this.data.push(data);
}

type Read = (record: Record) => Promise<void>;

/** Each opens a reader from the start of the channel, and gives what reads it to the end. */
const OPEN: { [kind in keyof typeof READERS]: (server: ServerProcess) => Promise<Read> } = {
  stream: (server) => readStream(server, "river", (record, text) => eachLine(text, record.line)),
  sse: (server) => readStream(server, "sse", (record, text) => eachEvent(text, record.event)),
  raw: (server) => readStream(server, "raw", (record, text) => eachLine(text, record.raw)),
  plain: (server) => readSocket(server),
  lines: (server) => readSocket(server, "river.v1"),
  poll(server) {
    return Promise.resolve(async (record) => {
      while (!record.full) {
        const { status, text } = await ask(
          `${server.url}/subscribe?name=load&keep=0&seq=${record.data.length - 1}`,
        );
        assertEquals(status, 200, text);
        assertEquals(eachLine(text, record.line), "");
      }
    });
  },
};

/** Reads a stream chunk by chunk: line by line would take most of the test's time. */
async function readStream(
  server: ServerProcess,
  format: string,
  take: (record: Record, text: string) => string,
): Promise<Read> {
  const query = `name=load&seq=0&limit=${TOTAL}&format=${format}`;
  const { status, body } = await fetch(`${server.url}/subscribe?${query}`);
  assertEquals(status, 200);
  return async (record) => {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of body!) {
      text = take(record, text + decoder.decode(chunk, { stream: true }));
    }
    assertEquals(text, "");
  };
}

/** Gives each whole line to `take`; returns what is left over. */
function eachLine(text: string, take: (line: string) => void): string {
  const lines = text.split("\n");
  for (const line of lines.slice(0, -1)) take(line);
  return lines[lines.length - 1];
}

/** Gives each whole event to `take`; returns what is left over. */
function eachEvent(text: string, take: (event: string) => void): string {
  const events = text.split("\n\n");
  // The first one is not an event: it is the position at which the stream starts.
  for (const event of events.slice(0, -1)) if (event.includes("\ndata: ")) take(event);
  return events[events.length - 1];
}

async function readSocket(server: ServerProcess, protocol?: string): Promise<Read> {
  const socket = await openSocket(server, "name=load&seq=0", protocol);
  if (protocol !== undefined) await socket.line();
  return async (record) => {
    while (!record.full) eachLine(await socket.frame() + "\n", record.line);
    await socket[Symbol.asyncDispose]();
  };
}

/** One run: everybody publishes and reads at the same time. Afterwards nothing is left of it. */
async function run(server: ServerProcess): Promise<void> {
  const kinds = (Object.keys(READERS) as (keyof typeof READERS)[])
    .flatMap((kind) => Array<typeof kind>(READERS[kind]).fill(kind));
  const accepted = [""];
  const reading = await Promise.all(kinds.map((kind) => OPEN[kind](server)));
  const records = kinds.map(() => new Record());
  await Promise.all([
    ...reading.map((read, i) => read(records[i])),
    ...Array.from({ length: PUBLISHERS }, (_, i) => publishAll(server, i, accepted)),
  ]);
  assertEquals(accepted.length, TOTAL + 1);
  assertEquals(new Set(accepted).size, TOTAL + 1);
  records.forEach(({ data }, i) => {
    assertEquals(data.length, TOTAL + 1, kinds[i]);
    const wrong = data.findIndex((text, seq) => text !== accepted[seq]);
    assertEquals(wrong, -1, `${kinds[i]}: ${data[wrong]} is not ${accepted[wrong]}`);
  });
  assertInOrder(accepted);
  await ask(`${server.url}/channels/load`, { method: "DELETE" });
  await until(async () => await subscriberCount(server) === 0);
}

/** Each publisher waited for its receipts, so its messages have rising numbers. */
function assertInOrder(accepted: string[]): void {
  const next = new Array<number>(PUBLISHERS).fill(0);
  for (const data of accepted.slice(1)) {
    const [publisher, i] = data.split("-").map(Number);
    assertEquals(i, next[publisher]++);
  }
}

Deno.test(
  "500 publishers and 50 readers on all transports: nobody misses anything, and memory settles",
  async () => {
    await using server = await spawnServer(["--history", String(TOTAL), "--max-queue", "256MiB"]);
    const resident: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      await run(server);
      resident.push(await metric(server, "process_resident_memory_bytes"));
    }
    // Two runs to grow to the size that the load needs; from then on only noise is left.
    const grown = Math.max(resident[0], resident[1]);
    const last = resident[RUNS - 1];
    assert(last < 1.25 * grown + 32 * 2 ** 20, `memory grows: ${resident}`);
    assertEquals((await server.end()).code, 0);
    const log = await server.stderr();
    assert(!/^\S+ error /m.test(log), log);
  },
);
