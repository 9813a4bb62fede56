/**
 * The program: reads the options, builds everything, serves, shuts down. Nothing else reads the
 * command line, the environment or files.
 *
 * @module
 */
import manifest from "./deno.json" with { type: "json" };
import { Access } from "./lib/access/access.ts";
import { type App, createApp } from "./lib/http/app.ts";
import { BodyReader } from "./lib/http/body.ts";
import { MAX_TIMER_MS } from "./lib/base/clock.ts";
import { type Command, type Config, ConfigError, helpText, readConfig } from "./lib/cli/config.ts";
import type { Engine } from "./lib/core/engine.ts";
import { MemoryEngine } from "./lib/engines/memory.ts";
import { Hub } from "./lib/core/hub.ts";
import { Listener } from "./lib/cli/listener.ts";
import { isLoopback } from "./lib/access/local.ts";
import { createLog, errorFields, type Log } from "./lib/cli/log.ts";
import { PrometheusMetrics } from "./lib/http/prometheus.ts";
import { TimerWheel } from "./lib/base/timer_wheel.ts";
import { BadTokenError, mintToken } from "./lib/access/tokens.ts";
import { type Warn, Warnings } from "./lib/http/warnings.ts";

/** File descriptors kept for listening, logs and requests that do not stay. */
const DESCRIPTOR_RESERVE = 64;
/** What the listener gets to end, in milliseconds, even if the grace period is over. */
const LAST_MS = 50;
/** What is assumed where the limit cannot be read: the usual one. */
const USUAL_DESCRIPTORS = 1024;

const utf8 = new TextEncoder();

function print(text: string): void {
  Deno.stdout.writeSync(utf8.encode(text));
}

function printError(text: string): void {
  try {
    Deno.stderr.writeSync(utf8.encode(text));
  } catch {
    // The disk is full, or nobody reads the pipe any more: no reason to stop serving.
  }
}

if (import.meta.main) {
  try {
    const command = readConfig({
      args: Deno.args,
      env: (name) => Deno.env.get(name),
      readFile: (path) => Deno.readTextFileSync(path),
    });
    if (command.kind === "help") print(helpText(manifest.version, command.of));
    else if (command.kind === "version") print(`river ${manifest.version}\n`);
    else if (command.kind === "token") print(`${await tokenOf(command)}\n`);
    else await serve(command.config);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    printError(`river: ${error.message}\n`);
    Deno.exit(2);
  }
}

/** A river that does not listen yet. */
export interface River {
  /** The routes. */
  readonly app: App;
  /** The channels and subscribers; to be started before the first request. */
  readonly hub: Hub;
  /** Numbers and keeps the messages. */
  readonly engine: Engine;
  /** Times the subscribers; to be started before the first one. */
  readonly wheel: TimerWheel;
  /** Counts. */
  readonly metrics: PrometheusMetrics;
}

/**
 * Builds everything from the options.
 *
 * @param report Takes errors that are nobody's fault but ours.
 * @param warn Takes warnings about what clients do.
 */
export function build(
  config: Config,
  report: (error: unknown) => void,
  warn: Warn = () => {},
): River {
  const metrics = new PrometheusMetrics();
  const wheel = new TimerWheel();
  const engine = new MemoryEngine({
    history: config.history,
    historyTtl: config["history-ttl"],
    maxMemory: config["max-memory"],
    maxChannels: config["max-channels"],
    maxIds: config["max-ids"],
    idTtl: config["id-ttl"],
  });
  const { heartbeat } = config;
  const maxConnections = config["max-connections"] || connectionBudget();
  const perClient = config["max-connections-per-client"];
  const hub = new Hub({
    engine,
    wheel,
    metrics,
    report,
    heartbeat,
    maxQueue: config["max-queue"],
    maxUnsent: config["max-unsent"],
  });
  const bodies = new BodyReader(wheel, {
    maxBody: config["max-body"],
    maxBodies: config["max-bodies"],
    bodyTimeout: config["body-timeout"],
  });
  const app = createApp({
    hub,
    engine,
    bodies,
    metrics,
    report,
    warnings: new Warnings(wheel, warn),
    access: new Access({
      publishKey: config["publish-key"],
      tokenSecrets: config["token-secret"],
      origins: config.origin,
    }),
    limits: {
      heartbeat,
      maxMessage: config["max-message"],
      maxBody: config["max-body"],
      maxBatch: config["max-batch"],
      maxChannelsPerClient: config["max-channels-per-client"],
      maxConnections,
      maxConnectionsPerClient: perClient === "auto" ? Math.ceil(maxConnections / 4) : perClient,
      // A proxy that is not trusted, or a program of this machine: neither is one client.
      sparesLoopback: perClient === "auto" && !config["trust-proxy"],
      clientTimeout: config["client-timeout"],
      publishRate: config["publish-rate"],
      connectionRate: config["connection-rate"],
      trustProxy: config["trust-proxy"],
      maxInbox: config["max-inbox"],
    },
  });
  return { app, hub, engine, wheel, metrics };
}

/** The token that the command line asks for. */
async function tokenOf({ secret, claims }: Extract<Command, { kind: "token" }>): Promise<string> {
  const { ttl, ...rights } = claims;
  try {
    return await mintToken(secret, { ...rights, expires: Date.now() + ttl });
  } catch (error) {
    if (!(error instanceof BadTokenError)) throw error;
    throw new ConfigError(`Cannot make the token: ${error.message}`);
  }
}

/** Serves until a signal comes; then ends the process. */
async function serve(config: Config): Promise<void> {
  const log = createLog(config["log-format"], printError);
  const report = (error: unknown) => log.error("something broke", errorFields(error));
  // An error that nobody awaited must not end a server that thousands are connected to.
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    report(event.reason);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    report(event.error);
  });
  const { app, hub, wheel, metrics } = build(config, report, log.warn);
  await hub.start();
  wheel.start();
  const listener = listen(config, app, (error) => {
    metrics.acceptFailed();
    log.error("cannot accept connections for now", { error: String(error) });
  });
  const { hostname, port } = listener.address;
  if (isLoopback(config.host) && !isLoopback(hostname)) {
    throw new ConfigError(
      `Refusing to listen on ${hostname} instead of ${config.host}: unset DENO_SERVE_ADDRESS`,
    );
  }
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  print(`river ${manifest.version} listening on http://${host}:${port}/\n`);
  await terminated(log);
  await shutDown(listener, app, hub, config.grace, log);
  wheel.stop();
  try {
    Deno.exit(0);
  } catch {
    // `deno run --watch` goes on: it starts us again when a file changes.
  }
}

function listen({ host, port }: Config, app: App, onFailure: (error: unknown) => void): Listener {
  const hostname = host.replace(/^\[(.*)\]$/, "$1");
  try {
    return new Listener({ hostname, port }, app, onFailure);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`Cannot listen on ${host} port ${port}: ${reason}`);
  }
}

/** Resolves at the first signal to end; a second one ends the process at once. */
function terminated(log: Log): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      Deno.addSignalListener(signal, () => {
        if (++signals > 1) Deno.exit(1);
        log.info("shutting down", { signal });
        resolve();
      });
    }
  });
}

/**
 * Refuses what is new, ends every subscriber, and waits for all to end, but not longer than `grace`
 * milliseconds.
 */
async function shutDown(
  listener: Listener,
  app: App,
  hub: Hub,
  grace: number,
  log: Log,
): Promise<void> {
  // The runtime's own shutdown comes last: it breaks off bodies that are being read, and closes
  // WebSockets without our reason.
  const deadline = performance.now() + grace;
  const drained = app.drain();
  hub.drain();
  await within(grace, drained);
  if (!await within(Math.max(LAST_MS, deadline - performance.now()), listener.shutdown())) {
    log.error("connections dropped at the end of the grace period");
  }
  await hub.close();
}

/** Whether a promise resolves within so many milliseconds. */
async function within(ms: number, promise: Promise<void>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(ms, MAX_TIMER_MS));
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * How many subscribers the file descriptors allow. The runtime does not tell the limit, but a child
 * process inherits it, and `prlimit` (util-linux) prints its own.
 */
function connectionBudget(): number {
  let descriptors = USUAL_DESCRIPTORS;
  try {
    const { stdout } = new Deno.Command("prlimit", {
      args: ["--nofile", "--output=SOFT", "--noheadings", "--raw"],
      stderr: "null",
    }).outputSync();
    descriptors = Number(new TextDecoder().decode(stdout)) || USUAL_DESCRIPTORS;
  } catch {
    // Not there, or not permitted.
  }
  return Math.max(1, descriptors - DESCRIPTOR_RESERVE);
}
