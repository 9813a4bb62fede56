/**
 * The command `river serve`: listens, and shuts down in order.
 *
 * @module
 */
import { isLoopback } from "../../access/local.ts";
import { MAX_TIMER_MS } from "../../base/clock.ts";
import {
  createRiver,
  FIXED_LIMITS,
  JournalError,
  type RiverOptions,
  type RiverServer,
} from "../../river.ts";
import type { Command } from "../command.ts";
import { bootId } from "../boot.ts";
import { connectionBudget } from "../descriptors.ts";
import { optionsInForce, tomlOf } from "../in_force.ts";
import { LineWriter } from "../line_writer.ts";
import { Listener } from "../listener.ts";
import { createLog, errorFields, type Log, logLine } from "../log.ts";
import { ConfigError, nameOf, valueText } from "../option.ts";
import { SERVER_OPTIONS, type ServerConfig } from "../options.ts";

/**
 * The least time that the listener gets to shut down, even after the grace period. Milliseconds.
 */
const MIN_LISTENER_MS = 50;

/** The least time that the engine gets to close its file, even after the grace period. Milliseconds. */
const MIN_CLOSE_MS = 1000;

/** The time in which a second signal counts as an echo of the first, in milliseconds. */
const ECHO_MS = 100;

/** The most time that writing the last lines of the log may take, in milliseconds. */
const LOG_FLUSH_MS = 500;

/** Serves until a signal arrives. Then it ends the process. */
export const serve: Command<typeof SERVER_OPTIONS> = {
  name: "serve",
  about: "serves until SIGTERM or SIGINT",
  usage: "[flags]",
  options: SERVER_OPTIONS,
  notes: [
    "Durations are like 500ms, 25s, 5m or 1h. A bare number is in seconds. Sizes are like 512,",
    "64KiB or 1MiB. Each option can also be set as a variable (RIVER_HISTORY_TTL=2h), or by its",
    'name in a TOML file (history-ttl = "2h"). Flags take precedence over the environment, and the',
    "environment over the file.",
  ],
  async run(config, { version, print, reread }, ignored) {
    checkServer(config);
    if (config.check) return print("river: the options are valid\n");
    if (config.printConfig) return print(tomlOf(config));
    // Write in the background, because perhaps nobody reads the output.
    const lost = (lines: number) =>
      logLine(config.logFormat, "warn", "lost lines that could not be written", { lines });
    const [stdout, stderr] = [Deno.stdout, Deno.stderr]
      .map((stream) => new LineWriter((bytes) => stream.write(bytes), lost));
    const log = createLog(config.logFormat, (line) => stderr.write(line), {
      level: config.logLevel,
    });
    if (ignored.length > 0) {
      log.info("ignored variables that an orchestrator set", { variables: ignored.join(" ") });
    }
    const report = (error: unknown) => log.error("internal error", errorFields(error));
    surviveErrors(report);
    const river = riverOf(config, { report, warn: log.warn, version }, log);
    giveUpPermissions(config);
    // Whoever comes while a long history is read hears that the server is starting.
    const started = startOf(river);
    const listener = listen(config, river, log);
    const url = urlOf(config, listener);
    // Handle signals before the line below is printed: a program that reads it may send one at
    // once.
    const end = terminated(config, log, stderr);
    reloadOnSignal(config, () => reread() as ServerConfig, river, log);
    const reading = started.then(() => true, (error) => {
      if (error instanceof ConfigError) throw error;
      report(error);
      Deno.exit(1);
    });
    if (await Promise.race([reading, end.then(() => false)])) {
      stdout.write(`river ${version} listening on ${url}\n`);
      log.info("started", { version, url, ...optionsInForce(config) });
    }
    await end;
    if (config.drainDelay > 0) {
      river.leave();
      await delay(config.drainDelay);
      log.info("shutting down");
    }
    await shutDown(listener, river, config.grace, log);
    log.info("ended");
    await Promise.all([stdout.flush(LOG_FLUSH_MS), stderr.flush(LOG_FLUSH_MS)]);
    try {
      Deno.exit(0);
    } catch {
      // `deno run --watch` keeps the process alive, and restarts us when a file changes.
    }
  },
};

/**
 * Checks the rules that concern several options.
 *
 * @throws {ConfigError} If the server would be open by mistake, or a limit could never be reached.
 */
export function checkServer(config: ServerConfig): void {
  const guarded = config.publishKey !== undefined || config.tokenSecret.length > 0;
  // Behind a proxy, a loopback address is as public as any other address.
  const exposed = !isLoopback(config.host)
    ? `listen on ${config.host}`
    : config.trustProxy
    ? "serve behind a proxy (--trust-proxy)"
    : undefined;
  if (exposed !== undefined && !guarded && !config.open) {
    throw new ConfigError(
      `Refusing to ${exposed} where anybody could publish: ` +
        "set --publish-key or --token-secret, or --open if that is what you want",
    );
  }
  const { maxMessage, maxBody } = config;
  if (maxMessage > maxBody) {
    throw new ConfigError(
      `--max-message (${maxMessage} bytes) is more than --max-body (${maxBody} bytes): ` +
        "a message of that size could never arrive",
    );
  }
}

/** Builds the river that the options describe. It does not listen yet. */
export function riverOf(
  config: ServerConfig,
  reports: Pick<RiverOptions, "report" | "warn" | "version"> = {},
  log?: Log,
): RiverServer {
  return createRiver({ ...riverOptions(config), data: dataOf(config, log), ...reports });
}

/** The settings of the file that keeps history. Undefined if there is none. */
function dataOf(
  { data, dataSync, maxData, maxUnwritten }: ServerConfig,
  log?: Log,
): RiverOptions["data"] {
  if (data === undefined) return undefined;
  return {
    path: data,
    sync: dataSync,
    maxData,
    maxUnwritten,
    boot: bootId(),
    onState(error) {
      if (error === undefined) log?.info("the disk works again", { data });
      else log?.error("the disk does not take messages", { data, error });
    },
  };
}

/**
 * Gives up what the server needs no more, or never with these options. It still reads files: after SIGHUP, the
 * options.
 */
function giveUpPermissions({ data }: ServerConfig): void {
  Deno.permissions.revokeSync({ name: "run" });
  if (data === undefined) Deno.permissions.revokeSync({ name: "write" });
}

/** Starts a river. A file that cannot be used is a mistake of the operator. */
async function startOf(river: RiverServer): Promise<void> {
  try {
    await river.start();
  } catch (error) {
    if (error instanceof JournalError) throw new ConfigError(`${error.message} (--data)`);
    throw error;
  }
}

function riverOptions(config: ServerConfig): RiverOptions {
  const { data: _, ...limits } = config;
  return {
    ...limits,
    maxConnections: config.maxConnections || connectionBudget(),
    tokenSecrets: config.tokenSecret,
    origins: config.origin,
  };
}

/** Options that a reload cannot change. */
const NEED_RESTART = [
  "host",
  "port",
  "config",
  ...FIXED_LIMITS,
  "data",
  "dataSync",
  "maxData",
  "maxUnwritten",
  "drainDelay",
  "grace",
  "logFormat",
] as const satisfies readonly (keyof ServerConfig)[];

/** Reads the options again at each SIGHUP. If there is a mistake in them, nothing changes. */
function reloadOnSignal(
  config: ServerConfig,
  reread: () => ServerConfig,
  river: RiverServer,
  log: Log,
): void {
  Deno.addSignalListener("SIGHUP", () => {
    try {
      const fresh = reread();
      checkServer(fresh);
      river.reload(riverOptions(fresh));
      log.level = fresh.logLevel;
      const changed = NEED_RESTART.filter((key) => fresh[key] !== config[key]).map(nameOf);
      const kept = Object.fromEntries(NEED_RESTART.map((key) => [key, config[key]]));
      log.info("reloaded the options", optionsInForce({ ...fresh, ...kept }));
      if (changed.length > 0) {
        log.warn("some changed options need a restart", { options: changed.join(" ") });
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      log.error("kept the old options, because the new ones are wrong", { error: error.message });
    }
  });
  // Without a listener, these signals would end the process or open the debugger.
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
    Deno.addSignalListener(signal, () => log.info("ignored a signal", { signal }));
  }
}

/** Keeps an error that no code handles from ending a server with thousands of connections. */
function surviveErrors(report: (error: unknown) => void): void {
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    report(event.reason);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    report(event.error);
  });
}

function listen({ host, port }: ServerConfig, river: RiverServer, log: Log): Listener {
  const hostname = host.replace(/^\[(.*)\]$/, "$1");
  try {
    return new Listener({ hostname, port }, river, (error) => {
      river.metrics.acceptFailed();
      log.error("cannot accept connections at the moment", { error: String(error) });
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`Cannot listen on ${host} port ${port}: ${reason}`);
  }
}

function urlOf({ host }: ServerConfig, { address: { hostname, port } }: Listener): string {
  if (isLoopback(host) && !isLoopback(hostname)) {
    throw new ConfigError(
      `Refusing to listen on ${hostname} instead of ${host}: unset DENO_SERVE_ADDRESS`,
    );
  }
  return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}/`;
}

/**
 * Resolves at the first SIGTERM or SIGINT. The second one ends the process at once, unless it is an
 * echo. At Ctrl-C, the terminal signals every process, and `deno task` forwards the signal too.
 */
function terminated(
  { drainDelay }: ServerConfig,
  log: Log,
  stderr: LineWriter,
): Promise<void> {
  return new Promise((resolve) => {
    let first: number | undefined;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      Deno.addSignalListener(signal, () => {
        if (first !== undefined) {
          if (performance.now() - first <= ECHO_MS) return;
          log.warn("ended at once by a second signal", { signal });
          void stderr.flush(LOG_FLUSH_MS).then(() => Deno.exit(1));
          return;
        }
        first = performance.now();
        if (drainDelay === 0) log.info("shutting down", { signal });
        else {
          const delay = valueText(SERVER_OPTIONS.drainDelay, drainDelay);
          log.info("about to shut down", { signal, "drain-delay": delay });
        }
        resolve();
      });
    }
  });
}

/**
 * Refuses new requests, closes every subscriber, and waits until all connections have ended, but at
 * most `grace` milliseconds.
 */
async function shutDown(
  listener: Listener,
  river: RiverServer,
  grace: number,
  log: Log,
): Promise<void> {
  // Shut down the listener last. The runtime's own shutdown breaks off bodies that are being read,
  // and it closes WebSockets without our close reason.
  const deadline = performance.now() + grace;
  await within(grace, river.drain());
  if (!await within(Math.max(MIN_LISTENER_MS, deadline - performance.now()), listener.shutdown())) {
    log.error("dropped connections at the end of the grace period (--grace)");
  }
  // The engine may wait for a disk that does not answer.
  if (!await within(Math.max(MIN_CLOSE_MS, deadline - performance.now()), river.close())) {
    log.error("left the file of --data as after a crash, at the end of the grace period (--grace)");
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.min(ms, MAX_TIMER_MS)));
}

/** Whether a promise resolves within `ms` milliseconds. */
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
