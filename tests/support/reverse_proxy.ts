/**
 * The reverse proxies of docs/operate.md, configured as it shows them.
 *
 * @module
 */
import { assert } from "@std/assert";
import { ask } from "./http.ts";
import { freePort } from "./server.ts";
import { STREAM_MODULE } from "./stream_module.ts";
import { until } from "./until.ts";

/** The time limits of docs/operate.md, short enough for a test. */
const SECONDS: Record<string, string> = { "10s": "1s", "30s": "2s", "60s": "4s" };

/** Starts a proxy in front of a river, with larger buffers for `manyChannels`. */
export type StartProxy = (
  river: { port: number },
  options?: { manyChannels?: boolean },
) => Promise<ReverseProxy>;

/** A proxy that runs until it is disposed of. */
export class ReverseProxy implements AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly #directory: string;
  readonly #process: Deno.ChildProcess;

  private constructor(port: number, directory: string, process: Deno.ChildProcess) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#directory = directory;
    this.#process = process;
  }

  /** Starts a program that listens on `port`, once `files` are in a directory of its own. */
  static async start(
    port: number,
    files: (directory: string) => Record<string, string>,
    command: (directory: string) => string[],
  ): Promise<ReverseProxy> {
    const directory = await Deno.makeTempDir();
    for (const [name, text] of Object.entries(files(directory))) {
      await Deno.writeTextFile(`${directory}/${name}`, text);
    }
    const [path, ...args] = command(directory);
    const process = new Deno.Command(path, { args, stdout: "null" }).spawn();
    const proxy = new ReverseProxy(port, directory, process);
    await until(() =>
      ask(`${proxy.url}/healthz`).then(({ status }) => status === 200, () => false)
    );
    return proxy;
  }

  async [Symbol.asyncDispose]() {
    this.#process.kill("SIGTERM");
    await this.#process.status;
    await Deno.remove(this.#directory, { recursive: true });
  }
}

/** nginx with the block of docs/operate.md. */
export const startNginx: StartProxy = async (river, { manyChannels = false } = {}) => {
  const port = freePort();
  const buffers = manyChannels ? await blockOf("nginx-many") : "";
  const http = edit(await blockOf("nginx"), {
    "listen 80;": `listen 127.0.0.1:${port};\n${buffers}`,
    "127.0.0.1:9271": `127.0.0.1:${river.port}`,
  });
  return runNginx(port, (directory) => httpBlock(directory, http));
};

/** nginx with both blocks of docs/operate.md: bytes per second are limited between it and river. */
export async function startLimitedNginx(river: { port: number }): Promise<ReverseProxy> {
  const port = freePort();
  const between = freePort();
  const http = edit(await blockOf("nginx"), {
    "listen 80;": `listen 127.0.0.1:${port};`,
    "127.0.0.1:9271": `127.0.0.1:${between}`,
  });
  const stream = edit(await blockOf("nginx-stream"), {
    "127.0.0.1:9272": `127.0.0.1:${between}`,
    "127.0.0.1:9271": `127.0.0.1:${river.port}`,
  });
  const module = `load_module ${STREAM_MODULE};\n`;
  return runNginx(port, (directory) => stream + httpBlock(directory, http), module);
}

/** HAProxy with the block of docs/operate.md. Its second server listens at `next`, or is not there. */
export async function startHaproxy(
  river: { port: number },
  { manyChannels = false, next = freePort() } = {},
): Promise<ReverseProxy> {
  const port = freePort();
  const buffers = manyChannels ? await blockOf("haproxy-many") : "";
  const configuration = edit(await blockOf("haproxy"), {
    "bind :80 ": `bind 127.0.0.1:${port} `,
    "127.0.0.1:9271": `127.0.0.1:${river.port}`,
    "127.0.0.1:9272": `127.0.0.1:${next}`,
  });
  return ReverseProxy.start(
    port,
    () => ({ "haproxy.cfg": buffers + configuration }),
    (directory) => ["haproxy", "-db", "-q", "-f", `${directory}/haproxy.cfg`],
  );
}

function runNginx(
  port: number,
  blocks: (directory: string) => string,
  modules = "",
): Promise<ReverseProxy> {
  return ReverseProxy.start(
    port,
    (directory) => ({
      "nginx.conf": `${modules}daemon off;\npid ${directory}/pid;\nuser root;\nevents {}\n${
        blocks(directory)
      }\n`,
    }),
    (directory) => [
      "nginx",
      ...["-p", directory, "-e", `${directory}/error.log`, "-c", `${directory}/nginx.conf`],
    ],
  );
}

/** nginx writes nothing outside its directory. */
function httpBlock(directory: string, servers: string): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${directory}/${name};`);
  return `http {\naccess_log off;\n${paths.join("\n")}\n${servers}}`;
}

/** The configuration of that kind in docs/operate.md. */
export async function blockOf(kind: string): Promise<string> {
  const page = await Deno.readTextFile(new URL("../../docs/operate.md", import.meta.url));
  return new RegExp("^```" + kind + "\\n(.*?)^```", "ms").exec(page)![1];
}

/** Replaces each text wherever it is, and shortens the time limits. */
function edit(configuration: string, changes: Record<string, string>): string {
  for (const [from, to] of Object.entries(changes)) {
    assert(configuration.includes(from), `${from} is not in:\n${configuration}`);
    configuration = configuration.replaceAll(from, to);
  }
  return configuration.replace(/\b(10s|30s|60s)\b/g, (time) => SECONDS[time]);
}
