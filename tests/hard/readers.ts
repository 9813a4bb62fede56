/**
 * Many readers of one channel in a process of their own, so that they can be stopped together:
 * `readers.ts PORT COUNT CHECKED`. The first CHECKED readers look at every number; the others count,
 * which is all that this machine has time for. Commands come as lines on stdin, answers leave as lines
 * of JSON on stdout:
 *
 * - `run FIRST COUNT START RATE`: messages FIRST and following were due from START on (milliseconds since
 *   1970), RATE a second; answers with a `Run` when every reader has them all, or with a `Cut` when one has ended before.
 * - `resume EPOCH LAST`: waits for the end of every connection, comes back to each reader's position,
 *   and answers with a `Resumed` when all have the message LAST.
 *
 * @module
 */
import { connect, type Socket } from "node:net";

/** The one byte of a message that its head and its filling do not have. */
export const MARK = "~";

/** How a run went for all readers of a process. */
export interface Run {
  /** Milliseconds from when a message was due until a reader had it: 99 of 100 took no longer. */
  readonly p99: number;
}

/** A reader was cut while it read. */
export interface Cut {
  /** The last message that it had. */
  readonly cut: number;
}

/** How the way back went for all readers of a process. */
export interface Resumed {
  /** Readers that were told of a gap. */
  readonly gaps: number;
  /** Readers that missed nothing. */
  readonly whole: number;
}

/** A tenth of a millisecond a slot; what takes longer is in the last one. */
const SLOTS = 1_000_000;

/** What has to be seen before a run is over. */
let run = { first: Infinity, last: Infinity, start: 0, rate: 1, left: 0 };
let histogram = new Uint32Array(SLOTS);
let whenDone = () => {};

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** One reader; `checked` readers take every line apart. */
class Reader {
  readonly closed: Promise<void>;
  readonly opened: Promise<void>;
  /** Number of the last message. */
  seq: number;
  gap = false;
  readonly #checked: boolean;
  readonly #socket: Socket;
  #rest = "";
  #inBody = false;
  #onOpen = () => {};
  #onMessage: (() => void) | undefined;

  constructor(port: number, checked: boolean, position?: { epoch: string; seq: number }) {
    this.#checked = checked;
    this.seq = position?.seq ?? 0;
    this.opened = new Promise((resolve) => this.#onOpen = resolve);
    this.#socket = connect({
      port,
      host: "127.0.0.1",
      onread: {
        buffer: BUFFER,
        callback: (length) => {
          this.#take(length);
          return true;
        },
      },
    });
    this.closed = new Promise((resolve) => this.#socket.on("close", () => resolve()));
    this.closed.then(() => {
      // No reader may be cut, unless this process gets too little time to read.
      if (run.left > 0) answer({ cut: this.seq });
      run.left = 0;
    });
    // A cut connection may be reset: that is an end like another here.
    this.#socket.on("error", () => {});
    const from = position === undefined ? "" : `&seq=${position.epoch}-${position.seq}`;
    this.#socket.write(`GET /subscribe?name=x${from} HTTP/1.1\r\nHost: x\r\n\r\n`);
  }

  /** Resolves when it has the message `seq`. */
  reaches(seq: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onMessage = () => {
        if (this.seq >= seq) resolve();
      };
      this.#onMessage();
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(length: number): void {
    const bytes = BUFFER.subarray(0, length);
    if (this.#checked || !this.#inBody) return this.#check(bytes.toString("latin1"));
    // The head and most of the filling of the next message hold no mark.
    for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + 1000)) {
      this.#arrived(this.seq + 1);
    }
  }

  #check(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) {
      if (!this.#inBody) {
        if (line.startsWith("HTTP/") && !line.includes(" 200 ")) throw new Error(line);
        if (line !== "\r") continue;
        this.#inBody = true;
        this.#onOpen();
        continue;
      }
      // Between them are the heads of chunks.
      const seq = /^\["msg", \{"channel": "x", "seq": ([0-9]+)/.exec(line)?.[1];
      const gap = /^\["gap", .*"from": ([0-9]+), "to": ([0-9]+)/.exec(line);
      if (gap !== null) {
        if (Number(gap[1]) !== this.seq + 1) throw new Error(`${line} after ${this.seq}`);
        this.seq = Number(gap[2]);
        this.gap = true;
      } else if (seq !== undefined) {
        if (this.seq !== 0 && Number(seq) !== this.seq + 1) {
          throw new Error(`${seq} after ${this.seq}`);
        }
        this.#arrived(Number(seq));
      }
    }
  }

  #arrived(seq: number): void {
    this.seq = seq;
    this.#onMessage?.();
    if (run.left === 0 || seq < run.first || seq > run.last) return;
    const late = now() - run.start - (seq - run.first) * 1000 / run.rate;
    histogram[Math.min(SLOTS - 1, Math.max(0, Math.floor(late * 10)))]++;
    if (seq === run.last && --run.left === 0) whenDone();
  }
}

/** All sockets read into the same buffer, one after the other. */
const BUFFER = Buffer.alloc(1 << 18);

function percentile(share: number): number {
  const total = histogram.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  const slot = histogram.findIndex((count) => (seen += count) >= total * share);
  return slot / 10;
}

function answer(value: Run | Cut | Resumed | { ready: number }): void {
  console.log(JSON.stringify(value));
}

if (import.meta.main) {
  const [port, count, checked] = Deno.args.map(Number);
  let readers: Reader[] = [];
  for (let i = 0; i < count; i++) {
    readers.push(new Reader(port, i < checked));
    await readers[i].opened;
  }
  answer({ ready: count });
  let commands = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    commands += text;
    for (let end = commands.indexOf("\n"); end >= 0; end = commands.indexOf("\n")) {
      const [command, ...words] = commands.slice(0, end).split(" ");
      commands = commands.slice(end + 1);
      if (command === "run") {
        const [first, messages, start, rate] = words.map(Number);
        // A reader that only counts learns here which number the next message has.
        for (const reader of readers) reader.seq = first - 1;
        histogram = new Uint32Array(SLOTS);
        const done = new Promise<void>((resolve) => whenDone = resolve);
        run = { first, last: first + messages - 1, start, rate, left: readers.length };
        done.then(() => answer({ p99: percentile(0.99) }));
      } else {
        const [epoch, last] = words;
        await Promise.all(readers.map(({ closed }) => closed));
        readers = readers.map(({ seq }) => new Reader(port, true, { epoch, seq }));
        await Promise.all(readers.map((reader) => reader.reaches(Number(last))));
        const gaps = readers.filter(({ gap }) => gap).length;
        answer({ gaps, whole: readers.length - gaps });
        for (const reader of readers) reader.end();
      }
    }
  }
  for (const reader of readers) reader.end();
}
