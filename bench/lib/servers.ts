/**
 * Starts the servers that are measured. Installs those that are missing.
 *
 * @module
 */
import { connect } from "node:net";
import { Disk } from "../../tests/support/disk/disk.ts";
import { sleep } from "./connection.ts";
import * as dialects from "./dialect.ts";
import { type Child, has, run, spawn, temporaryDirectory } from "./process.ts";

/** The version of `ws` that the hub on Node uses. */
const WS_VERSION = "8.23.0";
/** How much longer a slow disk takes for each flush, in microseconds. */
const SLOW_SYNC_US = 10_000;
const NCHAN_MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so";

const PROJECT = new URL("../..", import.meta.url).pathname;

/** A kind of server. */
export type Kind = "river" | "bare" | "nchan" | "ws" | "nats";

/** A server to measure. */
export interface ServerSpec {
  /** Its kind. */
  readonly kind: Kind;
  /** The options of river. */
  readonly flags?: readonly string[];
  /** Lets river keep its history in a new file, and says what a receipt means. */
  readonly data?: "normal" | "full";
  /** Makes the disk slow: each flush takes 10 ms longer. */
  readonly slowDisk?: boolean;
  /** The folder of the checkout of river to run. By default, this one. */
  readonly tree?: string;
}

/** A running server. */
export interface Server {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  /** The requests that it understands. */
  readonly dialect: dialects.Dialect;
  /** Whether it sends the same bytes whatever is published. */
  readonly constant: boolean;
  /** Its processes. */
  readonly child: Child;
}

/** The names of the kinds in tables. */
export const NAMES: Record<Kind, string> = {
  river: "river",
  bare: "bare Deno",
  nchan: "nginx + nchan",
  ws: "ws on Node",
  nats: "NATS JetStream",
};

/** Starts a server. Resolves when it listens. */
export async function start(spec: ServerSpec): Promise<Server> {
  const { kind } = spec;
  const dialect = kind === "nchan" ? dialects.nchan : dialects.river;
  const [child, port] = await starters[kind](spec);
  return { port, dialect, constant: kind === "bare", child };
}

/**
 * Installs the parts that a server needs, if possible.
 *
 * @returns The name of the missing part. Undefined if nothing is missing.
 */
export function provide({ kind, slowDisk }: ServerSpec): string | undefined {
  if (slowDisk && !has("gcc")) return "gcc: apt-get install gcc libc6-dev";
  if (kind === "nchan") return provideNchan();
  if (kind === "ws") return providePackage("ws", WS_VERSION);
  if (kind === "nats") return provideNats();
}

/** The versions of all programs that take part. */
export function versions(): Record<string, string> {
  const found: Record<string, string | undefined> = {
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    node: run("node", ["--version"])?.replace("v", ""),
    ws: WS_VERSION,
    nginx: run("nginx", ["-v"])?.replace(/^.*\//s, ""),
    nchan: run("dpkg-query", ["-W", "-f", "${Version}", "libnginx-mod-nchan"]),
    nats: run("nats-server", ["--version"])?.replace(/^.*v/s, ""),
  };
  const entries = Object.entries(found).filter((entry): entry is [string, string] => !!entry[1]);
  return Object.fromEntries(entries);
}

type Starter = (spec: ServerSpec) => Promise<[Child, number]>;

const starters: Record<Kind, Starter> = {
  async river({ flags = [], data, slowDisk, tree }) {
    if (data === undefined) return startDeno("main.ts", ["--port", "0", ...flags], { tree });
    const file = `${temporaryDirectory()}/history`;
    const kept = ["--data", file, "--data-sync", data];
    using disk = slowDisk ? await Disk.of(file) : undefined;
    disk?.set({ syncUs: SLOW_SYNC_US });
    const env = disk?.env;
    return await startDeno("main.ts", ["--port", "0", ...kept, ...flags], { tree, env });
  },
  bare: () => startDeno("bench/servers/bare.ts", []),
  async nchan() {
    const port = freePort();
    const directory = temporaryDirectory();
    await Deno.writeTextFile(`${directory}/nginx.conf`, nginxConfig(directory, port));
    const child = spawn("nginx", [
      "-p",
      directory,
      "-e",
      `${directory}/error.log`,
      "-c",
      `${directory}/nginx.conf`,
    ]);
    await listening(port);
    return [child, port];
  },
  ws: () => startNode("ws_hub.mjs"),
  async nats() {
    const port = freePort();
    const directory = temporaryDirectory();
    await Deno.writeTextFile(`${directory}/nats.conf`, natsConfig(directory, port));
    const child = spawn("nats-server", ["-c", `${directory}/nats.conf`]);
    await listening(port);
    return [child, port];
  },
};

function startDeno(
  program: string,
  args: string[],
  { tree = PROJECT, env }: { tree?: string; env?: Record<string, string> } = {},
): Promise<[Child, number]> {
  const run = ["run", "-A", "--config", `${tree}/deno.json`, `${tree}/${program}`, ...args];
  return printsPort(spawn(Deno.execPath(), run, env));
}

/** Starts a program next to the packages that it needs. */
function startNode(program: string, args: string[] = []): Promise<[Child, number]> {
  const copy = `${peersDirectory()}/${program}`;
  Deno.copyFileSync(new URL(`../servers/${program}`, import.meta.url), copy);
  return printsPort(spawn("node", [copy, ...args]));
}

async function printsPort(child: Child): Promise<[Child, number]> {
  const line = await child.firstLine();
  const port = /:(\d+)\//.exec(line);
  if (port === null) throw new Error(`Cannot find a port in ${JSON.stringify(line)}`);
  return [child, Number(port[1])];
}

/** One worker, no access log, and as many messages kept as in river. */
function nginxConfig(directory: string, port: number): string {
  const transports = { stream: "http-raw-stream", sse: "eventsource", websocket: "websocket" };
  const locations = Object.entries(transports).flatMap(([transport, method]) =>
    Object.entries({ subscribe: "newest", replay: "oldest" }).map(([verb, first]) => `
    location = /${verb}/${transport} {
      nchan_${transport === "websocket" ? "pubsub" : "subscriber"} ${method};
      nchan_channel_id $arg_name;
      nchan_subscriber_first_message ${first};
      nchan_message_buffer_length 100;
      nchan_message_timeout 1h;
    }`)
  );
  return `
load_module ${NCHAN_MODULE};
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log crit;
events { worker_connections 50000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  nchan_shared_memory_size 1G;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  server {
    listen 127.0.0.1:${port};
    location = /publish {
      nchan_publisher;
      nchan_channel_id $arg_name;
      nchan_message_buffer_length 100;
      nchan_message_timeout 1h;
    }${locations.join("")}
  }
}
`;
}

/** A stream in files on this machine alone, with nothing in its log. */
function natsConfig(directory: string, port: number): string {
  return `
listen: 127.0.0.1:${port}
log_file: "${directory}/log"
jetstream { store_dir: "${directory}/store" }
`;
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return listener.addr.port;
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("connect", () => resolve(true));
      socket.on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
    if (open) return;
    await sleep(100);
  }
  throw new Error(`Nothing listens on port ${port}`);
}

function provideNchan(): string | undefined {
  const there = () => {
    try {
      return has("nginx") && Deno.statSync(NCHAN_MODULE).isFile;
    } catch {
      return false;
    }
  };
  if (there()) return;
  console.log("installing nginx and nchan with apt-get");
  run("apt-get", ["install", "-y", "--no-install-recommends", "nginx", "libnginx-mod-nchan"]);
  if (!there()) return "nginx with nchan: apt-get install nginx libnginx-mod-nchan";
}

function provideNats(): string | undefined {
  if (has("nats-server")) return;
  console.log("installing nats-server with apt-get");
  run("apt-get", ["install", "-y", "--no-install-recommends", "nats-server"]);
  if (!has("nats-server")) return "nats-server: apt-get install nats-server";
}

function providePackage(name: string, version: string): string | undefined {
  if (!has("node")) return "Node.js: apt-get install nodejs npm";
  const directory = peersDirectory();
  const there = () => {
    try {
      const manifest = Deno.readTextFileSync(`${directory}/node_modules/${name}/package.json`);
      return JSON.parse(manifest).version === version;
    } catch {
      return false;
    }
  };
  if (there()) return;
  console.log(`installing ${name} ${version} with npm`);
  Deno.mkdirSync(directory, { recursive: true });
  // Saved, because npm removes packages that no manifest names when it installs another one.
  run("npm", ["install", "--prefix", directory, `${name}@${version}`]);
  if (!there()) return `${name}: npm install --prefix ${directory} ${name}@${version}`;
}

/** The folder for packages that only the benchmarks need. */
function peersDirectory(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  return `${cache}/river-bench`;
}
