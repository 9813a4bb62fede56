/**
 * Measures what one input of a stranger costs everybody else: how long the server answers nobody while
 * it is handled, beside an honest input of the same size, and how much memory it makes.
 *
 * @module
 */
import { assert } from "@std/assert";
import { FrameClient, OP } from "../../support/frames.ts";
import { ask, LineReader } from "../../support/http.ts";
import { RawConnection, requestHead } from "../../support/raw.ts";
import { memoryOf, type ServerProcess, spawnServer } from "../../support/server.ts";

/** Whether there is time for everything: `deno task test:long`. */
export const LONG = Deno.env.has("TEST_LONG");

const MiB = 2 ** 20;
/** Milliseconds that an input may keep others waiting. */
const MOST_MS = 100;
/** Or as many times as long as an honest input of the same size. */
const MOST_TIMES = 1.5;
/** How often each input is measured. */
const ROUNDS = 5;
/** Bytes of memory that a byte of input may make. */
const MOST_PER_BYTE = 8;
/** What a connection may cost beside its input: buffers of the kernel do not count, the runtime's do. */
const PER_CONNECTION = 96 * 1024;
/** What a new channel may cost; `--max-channels` bounds how many there are. */
const PER_CHANNEL = 1024;
/** By how much the heap may differ between two runs. */
const NOISE = 96 * MiB;
/** Bytes that are sent at once where memory is measured, and the most connections. */
const SENT = 32 * MiB;
const MOST_CONNECTIONS = 64;
/** What the server does with an input after its answer has this long to show, in milliseconds. */
const SETTLE_MS = 10;
/** An answer that takes longer counts as none, in milliseconds. */
const ANSWER_MS = 30_000;
/** The same for a WebSocket: the runtime answers the ping before river has carried out what came before it. */
const SOCKET_SETTLE_MS = 200;
/** Honest inputs before anything is measured. */
const WARM_UP = 3;

/** What is written to one connection. */
export interface Input {
  /** All that is written, in one go; for a WebSocket what follows the handshake. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Opens a WebSocket before. */
  readonly socket?: { readonly query: string; readonly protocol?: string };
  /** Answers that are waited for. */
  readonly answers?: number;
  /** Waits for the end of the connection instead, after ending it on this side. */
  readonly untilEnd?: boolean;
}

/** One hostile input. */
export interface Row {
  /** What is sent, and to whom. */
  readonly name: string;
  /** How the server is started. */
  readonly flags?: readonly string[];
  /** What is there before the first input; disposed of at the end. */
  setup?(server: ServerProcess): Promise<AsyncDisposable | void>;
  /** The readers that are connected anew for each input, and leave after it. */
  crowd?(server: ServerProcess): Promise<AsyncDisposable>;
  /** The input of the nth try. */
  readonly hostile: (n: number) => Input;
  /** One of the same size that means no harm. */
  readonly honest: (n: number) => Input;
  /**
   * The answers that are right: statuses, the code that a WebSocket is closed with, `OPEN` if it lives on,
   * `ENDED` if the connection ends without an answer.
   */
  readonly expected: readonly number[];
  /** Channels that one input makes. */
  readonly channels?: number;
  /** Inputs sent at once where memory is measured; 0: it is not measured. */
  readonly times?: number;
  /** Bytes that the server may take besides, as an option says. */
  readonly memory?: number;
  /** Milliseconds in which what follows the answer shows. */
  readonly settle?: number;
  /** File descriptors of the server. */
  readonly nofile?: number;
  /** What must hold afterwards. */
  after?(server: ServerProcess): Promise<void>;
}

/** The WebSocket has answered a ping behind the input. */
export const OPEN = 0;
/** The connection has ended without an answer. */
export const ENDED = -1;

const utf8 = new TextEncoder();

/** Bytes of a text, or of texts and bytes one after another. */
export function bytesOf(...parts: (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const all = parts.map((part) => typeof part === "string" ? utf8.encode(part) : part);
  const bytes = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of all) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A request with a body. */
export function post(
  type: string,
  body: string | Uint8Array,
  { target = "/publish", headers = {} }: { target?: string; headers?: Record<string, string> } = {},
): Input {
  const payload = bytesOf(body);
  const head = requestHead(`POST ${target} HTTP/1.1`, {
    "Content-Type": type,
    "Content-Length": String(payload.length),
    ...headers,
  });
  return { bytes: bytesOf(head, payload) };
}

/** A request without a body. */
export function get(target: string, headers: Record<string, string> = {}): Input {
  return { bytes: bytesOf(requestHead(`GET ${target} HTTP/1.1`, headers)) };
}

/** Sends an input; gives the answers once it is handled. */
export async function send(server: ServerProcess, input: Input): Promise<number[]> {
  const answers = input.socket === undefined
    ? sendRequest(server, input)
    : sendFrames(server, input, input.socket);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer came")), ANSWER_MS);
  });
  return await Promise.race([answers, late]).finally(() => clearTimeout(timer));
}

async function sendRequest(server: ServerProcess, input: Input): Promise<number[]> {
  using connection = await RawConnection.open(server);
  if (input.untilEnd) {
    await connection.write(input.bytes).then(() => connection.closeWrite()).catch(() => {});
    await connection.rest();
    return [ENDED];
  }
  // What is refused early need not be taken in.
  const written = connection.write(input.bytes).catch(() => {});
  const statuses: number[] = [];
  try {
    while (statuses.length < (input.answers ?? 1)) {
      statuses.push((await connection.response()).status);
    }
  } catch {
    statuses.push(ENDED);
  }
  if (statuses[0] === 200) await written;
  return statuses;
}

const PING = { op: OP.ping, payload: "end" };

async function sendFrames(
  server: ServerProcess,
  { bytes }: Input,
  { query, protocol }: NonNullable<Input["socket"]>,
): Promise<number[]> {
  using client = await FrameClient.open(server, query, protocol);
  const written = client.connection.write(bytes).then(() => client.send(PING)).catch(() => {});
  for (;;) {
    // A connection that was reset ends anywhere.
    const frame = await client.frame().catch(() => undefined);
    if (frame === undefined) return [ENDED];
    if (frame.op === OP.close) return [closeCode(frame.payload)];
    if (frame.op !== OP.pong || new TextDecoder().decode(frame.payload) !== PING.payload) continue;
    await written;
    return [OPEN];
  }
}

/** The code of a close frame; 1005 stands for none (RFC 6455, 7.1.5). */
function closeCode(payload: Uint8Array): number {
  return payload.length < 2 ? 1005 : payload[0] * 256 + payload[1];
}

/** The pinger of a server. */
class Pinger implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: LineReader;

  constructor({ port, process: { pid } }: ServerProcess) {
    const program = new URL("pinger.ts", import.meta.url).pathname;
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", program, String(port), String(pid)],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#stdin = this.#process.stdin.getWriter();
    this.#lines = new LineReader(new Response(this.#process.stdout));
  }

  /** The longest wait of others in milliseconds while something is done. */
  async during(action: () => Promise<void>): Promise<number> {
    await this.#command("start");
    await action();
    return await this.#command("stop");
  }

  async #command(command: string): Promise<number> {
    await this.#stdin.write(utf8.encode(`${command}\n`));
    const line = await this.#lines.next();
    if (line === undefined) throw new Error("the pinger has ended");
    return JSON.parse(line);
  }

  async [Symbol.asyncDispose]() {
    await this.#stdin.close();
    await this.#lines.rest();
    await this.#process.status;
  }
}

/** How long others waited for an input. */
export interface Cost {
  /** Longest wait of others in milliseconds, the median of all rounds. */
  readonly hostile: number;
  /** The same beside the honest input. */
  readonly honest: number;
}

/** What many inputs at once made of memory, in bytes. */
export interface Memory {
  readonly times: number;
  readonly size: number;
  readonly grown: number;
  /** What is allowed. */
  readonly most: number;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function check(row: Row, statuses: number[]): void {
  const wrong = statuses.filter((status) => !row.expected.includes(status));
  assert(wrong.length === 0, `expected ${row.expected.join(" or ")}, got ${wrong}`);
}

/** Good for everything where the server was started with it. */
export const KEY = "the-key-of-the-strangers-tests";
/** Signs tokens where the server was started with it. */
export const SECRET = "the-secret-of-the-strangers-tests";
/** Flags of a server that wants a key from publishers, and of one that wants a token from everybody. */
export const KEYED: readonly string[] = ["--publish-key", KEY];
export const LOCKED: readonly string[] = [...KEYED, "--token-secret", SECRET];

/** A server under attack. */
export class Target implements AsyncDisposable {
  readonly #server: ServerProcess;
  readonly #pinger: Pinger;
  readonly #before: AsyncDisposable | void;
  /** Bytes of memory that it had before the first attack. */
  readonly #memory: number;

  private constructor(
    server: ServerProcess,
    pinger: Pinger,
    before: AsyncDisposable | void,
    memory: number,
  ) {
    this.#server = server;
    this.#pinger = pinger;
    this.#before = before;
    this.#memory = memory;
  }

  /** Starts the server that a row needs. */
  static async start({ flags = [], nofile, setup, honest }: Row): Promise<Target> {
    const server = await spawnServer([...flags], { nofile });
    const before = await setup?.(server);
    for (let n = 0; n < WARM_UP; n++) await send(server, honest(1000 + n));
    const memory = await memoryOf(server, "VmRSS");
    return new Target(server, new Pinger(server), before, memory);
  }

  /** Measures how long others wait for an input. */
  async measureWaits(row: Row): Promise<Cost> {
    const waits: { hostile: number[]; honest: number[] } = { hostile: [], honest: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of ["honest", "hostile"] as const) {
        const input = row[kind](round);
        await using _crowd = await row.crowd?.(this.#server);
        const wait = await this.#pinger.during(async () => {
          const statuses = await send(this.#server, input);
          if (kind === "hostile") check(row, statuses);
          const settle = row.settle ?? (input.socket ? SOCKET_SETTLE_MS : SETTLE_MS);
          await new Promise((resolve) => setTimeout(resolve, settle));
        });
        waits[kind].push(wait);
      }
    }
    return { hostile: median(waits.hostile), honest: median(waits.honest) };
  }

  /** Measures what many inputs at once make of memory. */
  async measureMemory(row: Row): Promise<Memory> {
    const size = row.hostile(0).bytes.length;
    const times = row.times ?? Math.min(MOST_CONNECTIONS, Math.max(1, Math.floor(SENT / size)));
    const inputs = Array.from({ length: times }, (_, n) => row.hostile(n));
    await using _crowd = await row.crowd?.(this.#server);
    // Channels that were made before stay.
    const had = row.channels === undefined ? this.#memory : await memoryOf(this.#server, "VmRSS");
    // Forgets the most that it ever had.
    await Deno.writeTextFile(`/proc/${this.#server.process.pid}/clear_refs`, "5");
    const all = await Promise.all(inputs.map((input) => send(this.#server, input)));
    // With so many at once there may be no room or no time for some.
    for (const statuses of all) check({ ...row, expected: [...row.expected, 408, 503] }, statuses);
    const grown = await memoryOf(this.#server, "VmHWM") - had;
    const own = PER_CONNECTION + (row.channels ?? 0) * PER_CHANNEL;
    const most = times * (MOST_PER_BYTE * size + own) + (row.memory ?? 0) + NOISE;
    return { times, size, grown: Math.max(0, grown), most };
  }

  /** Makes sure that nothing broke, that strangers who mean no harm are served, and ends the server. */
  async finish({ after }: Row): Promise<void> {
    await after?.(this.#server);
    const headers = { authorization: `Bearer ${KEY}` };
    const { text } = await ask(`${this.#server.url}/metrics`, { headers });
    assert(text.includes("river_connections "), text);
    assert(!/status="500",[^}]*\} [1-9]/.test(text), "it answered 500");
    await this[Symbol.asyncDispose]();
    const log = await this.#server.stderr();
    assert(!/^\S+ error |internal error/m.test(log), log);
  }

  async [Symbol.asyncDispose]() {
    await this.#pinger[Symbol.asyncDispose]();
    await this.#before?.[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}

/** Makes sure that others did not wait for too long. */
export function checkWaits({ hostile, honest }: Cost): void {
  const most = Math.max(MOST_MS, MOST_TIMES * honest);
  assert(
    hostile <= most,
    `others waited ${hostile.toFixed(0)} ms, ${honest.toFixed(0)} ms beside an honest input`,
  );
}

/** Makes sure that not too much memory was made. */
export function checkMemory({ times, size, grown, most }: Memory): void {
  const mib = (bytes: number) => `${Math.round(bytes / MiB)} MiB`;
  assert(
    grown <= most,
    `${times} of ${size} bytes at once: ${mib(grown)} more, but ${mib(most)} are allowed`,
  );
}
