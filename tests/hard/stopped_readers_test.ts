/**
 * A tenth of the readers stops reading: the others do not notice, and the server gives them up.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { LineReader, publish } from "../support/http.ts";
import { RawConnection, requestHead } from "../support/raw.ts";
import {
  memoryOf,
  metric,
  type ServerProcess,
  spawnServer,
  subscriberCount,
} from "../support/server.ts";
import { until } from "../support/until.ts";
import { type Cut, MARK, type Resumed, type Run } from "./readers.ts";

const MiB = 2 ** 20;
const READERS = 1000;
const STOPPED = 100;
/** Bytes of one message's data. */
const SIZE = 1024;
/** Seconds with all readers reading, and with some stopped. */
const CALM_SECONDS = 30;
const SECONDS = 60;
/** By how much the p99 of two calm runs may differ on a shared machine, in milliseconds. */
const NOISE_MS = 30;

/**
 * Messages a second; half as many when it is tried again because that was too much: what else the machine does can
 * only make it worse, and 450 MB a second are as much as it can read when it does nothing else.
 */
const RATES = [500, 250, 250];

/** Readers that were not stopped could not keep up: the machine had no time for them. */
class OverloadError extends Error {}

/** A process of readers. */
class Readers implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: LineReader;
  readonly #commands: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#lines = new LineReader(new Response(process.stdout));
    this.#commands = process.stdin.getWriter();
  }

  static async start({ port }: ServerProcess, count: number, checked: number): Promise<Readers> {
    const program = new URL("readers.ts", import.meta.url).pathname;
    const command = new Deno.Command("prlimit", {
      args: [
        "--nofile=8192",
        Deno.execPath(),
        "run",
        "-A",
        program,
        ...[port, count, checked].map(String),
      ],
      stdin: "piped",
      stdout: "piped",
    });
    const readers = new Readers(command.spawn());
    assertEquals(await readers.answer(), { ready: count });
    return readers;
  }

  /** The next answer; waits for it. */
  async answer<T>(): Promise<T> {
    const line = await this.#lines.next();
    if (line === undefined) throw new Error("the readers ended");
    const answer: T | Cut = JSON.parse(line);
    if (typeof answer === "object" && answer !== null && "cut" in answer) {
      throw new OverloadError(`a reader was cut after ${answer.cut}`);
    }
    return answer;
  }

  async tell(...words: (string | number)[]): Promise<void> {
    await this.#commands.write(new TextEncoder().encode(words.join(" ") + "\n"));
  }

  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  async [Symbol.asyncDispose]() {
    this.#process.kill("SIGKILL");
    await this.#commands.abort().catch(() => {});
    await this.#lines.rest();
    await this.#process.status;
  }
}

/** Publishes from `first` on, on time whatever becomes of the answers; gives the number after the last. */
async function publishFor(
  server: ServerProcess,
  seconds: number,
  first: number,
  start: number,
  rate: number,
): Promise<number> {
  using connection = await RawConnection.open(server);
  const body = `${MARK}${"a".repeat(SIZE - 1)}`;
  const request = new TextEncoder().encode(
    requestHead("POST /publish?name=x HTTP/1.1", {
      "Content-Type": "text/plain",
      "Content-Length": String(SIZE),
    }) + body,
  );
  const count = seconds * rate;
  const answered = (async () => {
    for (let i = 0; i < count; i++) {
      const { status, text } = await connection.response();
      assertEquals([status, JSON.parse(text).seq], [200, first + i]);
    }
  })();
  for (let i = 0; i < count; i++) {
    const early = start + i * 1000 / rate - (performance.timeOrigin + performance.now());
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    await connection.write(request);
  }
  await answered;
  return first + count;
}

/** When a run starts: soon, so that everybody knows before the first message. */
function soon(): number {
  return performance.timeOrigin + performance.now() + 500;
}

/** What the others noticed: their p99 in milliseconds, and the most memory that it took, in bytes. */
interface Outcome {
  readonly calm: number;
  readonly disturbed: number;
  readonly grown: number;
}

/** Stops the readers and wakes them, and sees that nothing is lost without a word. */
async function stopAndWake(rate: number): Promise<Outcome> {
  await using server = await spawnServer([], { nofile: 8192 });
  const { epoch } = await publish(server, "x", "first");
  await using others = await Readers.start(server, READERS - STOPPED, 20);
  await using stopped = await Readers.start(server, STOPPED, STOPPED);
  let next = 2;

  let start = soon();
  await Promise.all(
    [others, stopped].map((each) => each.tell("run", next, CALM_SECONDS * rate, start, rate)),
  );
  next = await publishFor(server, CALM_SECONDS, next, start, rate);
  const calm = await others.answer<Run>();
  await stopped.answer<Run>();

  const before = await memoryOf(server, "VmRSS");
  const cut = 'river_disconnections_total{reason="slow"}';
  let most = before;
  stopped.signal("SIGSTOP");
  start = soon();
  await others.tell("run", next, SECONDS * rate, start, rate);
  let watching = true;
  const watch = (async () => {
    while (watching) {
      most = Math.max(most, await memoryOf(server, "VmRSS"));
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  })();
  try {
    next = await publishFor(server, SECONDS, next, start, rate);
  } finally {
    watching = false;
    await watch;
  }
  const disturbed = await others.answer<Run>();
  assertEquals(await metric(server, cut), STOPPED);
  assertEquals(await subscriberCount(server), READERS - STOPPED);
  assertEquals(await metric(server, "river_connections_stuck"), STOPPED);

  const { seq: last } = await publish(server, "x", "last");
  assertEquals(last, next);
  stopped.signal("SIGCONT");
  await stopped.tell("resume", epoch, last);
  const { gaps, whole } = await stopped.answer<Resumed>();
  assertEquals(gaps + whole, STOPPED);
  await until(async () => await metric(server, "river_connections_stuck") === 0);
  const outcome = { calm: calm.p99, disturbed: disturbed.p99, grown: most - before };
  console.log(
    `${rate} messages a second: p99 ${calm.p99} ms, with ${STOPPED} stopped ${disturbed.p99} ms; memory at most ` +
      `${Math.round(outcome.grown / MiB)} MiB more; back: ${gaps} with a gap, ${whole} without`,
  );
  return outcome;
}

function isSteady({ calm, disturbed }: Outcome): boolean {
  return disturbed <= 2 * calm + NOISE_MS;
}

/** The first outcome that is steady, or the last one. */
async function steadyOutcome([rate, ...slower]: number[]): Promise<Outcome> {
  try {
    const outcome = await stopAndWake(rate);
    if (slower.length === 0 || isSteady(outcome)) return outcome;
  } catch (error) {
    if (slower.length === 0 || !(error instanceof OverloadError)) throw error;
    console.log(`${rate} messages a second are too many here: ${error.message}`);
  }
  return steadyOutcome(slower);
}

Deno.test("100 of 1,000 readers stop reading: they are cut, the others notice nothing, and they come back", async () => {
  const outcome = await steadyOutcome(RATES);
  assert(isSteady(outcome), JSON.stringify(outcome));
  assert(outcome.grown < 64 * MiB, JSON.stringify(outcome));
});
