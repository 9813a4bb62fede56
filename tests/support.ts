/**
 * What the tests share: a server in this process, a server in a process of its own, and readers.
 *
 * @module
 */
import { type Config, readConfig } from "../lib/config.ts";
import { build, type River } from "../main.ts";

/** A river that serves on a port of its own until it is disposed of. */
export interface TestServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
}

/** The options for command-line flags. */
export function configOf(...flags: string[]): Config {
  const command = readConfig({
    args: flags,
    env: () => undefined,
    readFile: () => {
      throw new Error("no file is read here");
    },
  });
  if (command.kind !== "serve") throw new Error("not a command to serve");
  return command.config;
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

/** A server in this process. Its errors come up in `errors`. */
export async function serveHere(
  ...flags: string[]
): Promise<TestServer & River & { errors: unknown[] }> {
  const errors: unknown[] = [];
  const river = build(configOf(...flags), (error) => void errors.push(error));
  await river.hub.start();
  river.wheel.start();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, river.handler);
  const { port } = server.addr;
  return {
    ...river,
    url: `http://127.0.0.1:${port}`,
    port,
    errors,
    async [Symbol.asyncDispose]() {
      const stopped = server.shutdown();
      await river.hub.close();
      river.wheel.stop();
      await stopped;
    },
  };
}

/** The server's main file, as an absolute path. */
export const MAIN = new URL("../main.ts", import.meta.url).pathname;

/** A server in a process of its own. */
export interface ServerProcess extends TestServer {
  readonly process: Deno.ChildProcess;
  /** The first line on stdout. */
  readonly greeting: string;
  /** Sends a signal and waits for the end. */
  end(signal?: Deno.Signal): Promise<Deno.CommandStatus>;
  /** What was written to stderr; complete once the process has ended. */
  stderr(): Promise<string>;
}

/** Starts `main.ts` with the permissions of `deno task start`, on a free port. */
export async function spawnServer(
  flags: string[] = [],
  { main = MAIN, cwd, env }: { main?: string; cwd?: string; env?: Record<string, string> } = {},
): Promise<ServerProcess> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-net",
      "--allow-env=RIVER_*",
      "--allow-read",
      "--allow-run=prlimit",
      main,
      "--port",
      "0",
      ...flags,
    ],
    cwd,
    env,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(process.stderr).text();
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
      process.kill(signal);
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
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
    },
  };
}

/** Publishes and gives the receipt; fails if it is refused. */
export async function publish(
  server: { url: string },
  name: string,
  data: string,
): Promise<{ channel: string; seq: number; epoch: string; subscribers: number }> {
  const body = new URLSearchParams({ name, data });
  const response = await fetch(`${server.url}/publish`, { method: "POST", body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`refused: ${response.status} ${text}`);
  return JSON.parse(text);
}

/** Reads a response's body line by line. */
export class LineReader implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(response: Response) {
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next line without its line end; undefined at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += value;
    }
  }

  /** The next `count` lines. */
  async take(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) {
      const line = await this.next();
      if (line === undefined) throw new Error(`ended after ${lines.length} of ${count} lines`);
      lines.push(line);
    }
    return lines;
  }

  async [Symbol.asyncDispose]() {
    await this.#reader.cancel();
  }
}

/** Waits until `condition` holds; fails after `ms`. For what nothing announces. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
