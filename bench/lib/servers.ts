/**
 * Starts the servers that are measured. Installs those that are missing.
 *
 * @module
 */
import { connect } from "node:net";
import { sleep } from "./connection.ts";
import * as dialects from "./dialect.ts";
import { type Child, has, run, spawn, temporaryDirectory } from "./process.ts";

/** The version of `ws` that the hub on Node uses. */
const WS_VERSION = "8.23.0";
const NCHAN_MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so";

const PROJECT = new URL("../..", import.meta.url).pathname;

/** A kind of server. */
export type Kind = "river" | "bare" | "nchan" | "ws";

/** A server to measure. */
export interface ServerSpec {
  /** Its kind. */
  readonly kind: Kind;
  /** The options of river. */
  readonly flags?: readonly string[];
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
};

/** Starts a server. Resolves when it listens. */
export async function start({ kind, flags = [], tree }: ServerSpec): Promise<Server> {
  const dialect = kind === "nchan" ? dialects.nchan : dialects.river;
  const [child, port] = await starters[kind](flags, tree);
  return { port, dialect, constant: kind === "bare", child };
}

/**
 * Installs the parts that a kind of server needs, if possible.
 *
 * @returns The name of the missing part. Undefined if nothing is missing.
 */
export function provide(kind: Kind): string | undefined {
  if (kind === "nchan") return provideNchan();
  if (kind === "ws") return provideWs();
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
  };
  const entries = Object.entries(found).filter((entry): entry is [string, string] => !!entry[1]);
  return Object.fromEntries(entries);
}

type Starter = (flags: readonly string[], tree?: string) => Promise<[Child, number]>;

const starters: Record<Kind, Starter> = {
  river: (flags, tree) => startDeno("main.ts", ["--port", "0", ...flags], tree),
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
  ws() {
    const hub = `${peersDirectory()}/ws_hub.mjs`;
    Deno.copyFileSync(new URL("../servers/ws_hub.mjs", import.meta.url), hub);
    return printsPort(spawn("node", [hub]));
  },
};

function startDeno(program: string, args: string[], tree = PROJECT): Promise<[Child, number]> {
  const run = ["run", "-A", "--config", `${tree}/deno.json`, `${tree}/${program}`, ...args];
  return printsPort(spawn(Deno.execPath(), run));
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

function provideWs(): string | undefined {
  if (!has("node")) return "Node.js: apt-get install nodejs npm";
  const directory = peersDirectory();
  const there = () => {
    try {
      const manifest = Deno.readTextFileSync(`${directory}/node_modules/ws/package.json`);
      return JSON.parse(manifest).version === WS_VERSION;
    } catch {
      return false;
    }
  };
  if (there()) return;
  console.log(`installing ws ${WS_VERSION} with npm`);
  Deno.mkdirSync(directory, { recursive: true });
  run("npm", ["install", "--prefix", directory, "--no-save", `ws@${WS_VERSION}`]);
  if (!there()) return `ws: npm install --prefix ${directory} ws@${WS_VERSION}`;
}

/** The folder for packages that only the benchmarks need. */
function peersDirectory(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  return `${cache}/river-bench`;
}
