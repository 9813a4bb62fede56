/**
 * What the tests share: a server in this process, a server in a process of its own, and readers.
 *
 * @module
 */
import { TimerWheel } from "../../lib/base/timer_wheel.ts";
import { checkServer, riverOf } from "../../lib/cli/commands/serve.ts";
import { readOptions } from "../../lib/cli/config.ts";
import { SERVER_OPTIONS, type ServerConfig } from "../../lib/cli/options.ts";
import { BodyReader } from "../../lib/http/body.ts";
import type { MemoryEngine } from "../../lib/engines/memory.ts";
import type { RiverServer } from "../../lib/river.ts";
import { ask } from "./http.ts";

/** A river that serves on a port of its own until it is disposed of. */
export interface TestServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
}

/** The server's options for command-line flags. */
export function configOf(...flags: string[]): ServerConfig {
  const readFile = () => {
    throw new Error("no file is read here");
  };
  const reading = readOptions(SERVER_OPTIONS, { args: flags, env: {}, readFile });
  if (reading === "help" || reading === "version") throw new Error("not a command to serve");
  checkServer(reading.values);
  return reading.values;
}

/** Limits of the memory engine; `changes` on top of the defaults. */
export function memoryLimits(changes: Record<string, number> = {}) {
  return {
    history: 100,
    historyTtl: 3_600_000,
    maxMemory: 128 * 1024 * 1024,
    maxChannels: 100_000,
    maxIds: 100_000,
    idTtl: 300_000,
    ...changes,
  };
}

/** What an engine tells of itself before anything has happened. */
export const UNUSED: ReturnType<MemoryEngine["usage"]> = {
  published: 0,
  publishedBytes: 0,
  channels: 0,
  onlyWatched: 0,
  messages: 0,
  bytes: 0,
  held: 0,
};

/** Reads bodies of up to `maxBody` bytes, for as long as it takes. */
export function bodiesOf({ maxBody }: { maxBody: number }): BodyReader {
  return new BodyReader(new TimerWheel(), { maxBody, maxBodies: Infinity, bodyTimeout: 60_000 });
}

/** A server in this process. */
export interface LocalServer extends TestServer, RiverServer {
  readonly engine: MemoryEngine;
  /** What it reported. */
  readonly errors: unknown[];
}

/** Starts a server in this process. */
export async function serveHere(...flags: string[]): Promise<LocalServer> {
  const errors: unknown[] = [];
  const river = riverOf(configOf(...flags), { report: (error) => void errors.push(error) });
  await river.start();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen() {},
    onError: river.fail,
  }, river.handle);
  const { port } = server.addr;
  return {
    ...river,
    engine: river.engine as MemoryEngine,
    url: `http://127.0.0.1:${port}`,
    port,
    errors,
    async [Symbol.asyncDispose]() {
      await river.drain();
      await server.shutdown();
      await river.close();
      // The turn of sockets or of long work ends with a timer, even if nothing is left to do.
      await new Promise((resolve) => setTimeout(resolve));
    },
  };
}

/** The server's main file, as an absolute path. */
export const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/**
 * How `deno task start` runs the main file, but without deno.lock: from a folder without deno.json,
 * Deno would empty it.
 */
export const RUN: readonly string[] = [
  "run",
  "--no-prompt",
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-run=prlimit,cat",
];

/** A port that was free a moment ago. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A server in a process of its own. */
export interface ServerProcess extends TestServer {
  readonly process: Deno.ChildProcess;
  /** The first line on stdout. */
  readonly greeting: string;
  /** Sends a signal and waits for the end. */
  end(signal?: Deno.Signal): Promise<Deno.CommandStatus>;
  /** What was written to stderr; complete once the process has ended. */
  stderr(): Promise<string>;
  /** What was written to stderr until now. */
  log(): string;
}

/**
 * Starts `main.ts`, on a free port unless one is given; `nofile` limits its file descriptors, `under` is a
 * command that becomes the server in the end.
 */
export async function spawnServer(
  flags: string[] = [],
  { main = MAIN, port = 0, cwd, env, nofile, run = RUN, under = [], onSpawn = () => {} }: {
    main?: string;
    port?: number;
    cwd?: string;
    env?: Record<string, string>;
    nofile?: number;
    run?: readonly string[];
    under?: readonly string[];
    /** Called at once, before the server has started. */
    onSpawn?: (process: Deno.ChildProcess) => void;
  } = {},
): Promise<ServerProcess> {
  const [command, ...args] = [
    ...under,
    ...(nofile === undefined ? [] : ["prlimit", `--nofile=${nofile}`]),
    Deno.execPath(),
    ...run,
    main,
    ...flags,
    "--port",
    String(port),
  ];
  const process = new Deno.Command(command, { args, cwd, env, stdout: "piped", stderr: "piped" })
    .spawn();
  onSpawn(process);
  let log = "";
  const stderr = (async () => {
    for await (const text of process.stderr.pipeThrough(new TextDecoderStream())) log += text;
    return log;
  })();
  const reader = process.stdout.getReader();
  let greeting = "";
  while (!greeting.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the server did not start: ${await stderr}`);
    greeting += new TextDecoder().decode(value);
  }
  const drained = (async () => {
    while (!(await reader.read()).done);
  })();
  const url = /http:\/\/\S+(?=\/\n)/.exec(greeting)![0];
  let ended = false;
  async function end(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    if (!ended) {
      ended = true;
      try {
        process.kill(signal);
      } catch (error) {
        // It has ended by itself.
        if (!(error instanceof TypeError)) throw error;
      }
    }
    const status = await process.status;
    await Promise.all([drained, stderr]);
    return status;
  }
  return {
    process,
    greeting,
    url,
    port: Number(new URL(url).port),
    end,
    stderr: () => stderr,
    log: () => log,
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
    },
  };
}

/** The value of a metric; `name` includes its labels. */
export async function metric(server: { url: string }, name: string): Promise<number> {
  const { text } = await ask(`${server.url}/metrics`);
  const line = text.split("\n").find((line) => line.startsWith(name + " "));
  if (line === undefined) throw new Error(`there is no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

/** How many subscribers the server counts, over all transports. */
export async function subscriberCount(server: { url: string }): Promise<number> {
  const { text } = await ask(`${server.url}/metrics`);
  return [...text.matchAll(/^river_subscribers\{.*\} ([0-9]+)$/gm)]
    .reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What a server wrote to stderr, without the lines of its start and its end. */
export async function logOf(server: { stderr(): Promise<string> }): Promise<string> {
  const lines = (await server.stderr()).split(/(?<=\n)/);
  return lines.filter((line) => !/(?: info |"info","message":")(?:started|ended)\b/.test(line))
    .join("");
}

/** A process's memory in bytes: `VmRSS` is what it has now, `VmHWM` the most it ever had. */
export async function memoryOf(
  { process }: ServerProcess,
  what: "VmRSS" | "VmHWM",
): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${process.pid}/status`);
  return 1024 * Number(new RegExp(`^${what}:\\s+([0-9]+) kB$`, "m").exec(status)![1]);
}

/** How many file descriptors a process has open. */
export async function descriptorsOf({ process }: ServerProcess): Promise<number> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${process.pid}/fd`))).length;
}
