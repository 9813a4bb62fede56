/**
 * `river serve`: listens, and shuts down in order.
 *
 * @module
 */
import { isLoopback } from "../../access/local.ts";
import { MAX_TIMER_MS } from "../../base/clock.ts";
import { createRiver, type RiverServer } from "../../river.ts";
import type { Command } from "../command.ts";
import { connectionBudget } from "../descriptors.ts";
import { Listener } from "../listener.ts";
import { createLog, errorFields, type Log } from "../log.ts";
import { ConfigError } from "../option.ts";
import { checkServer, SERVER_OPTIONS, type ServerConfig } from "../options.ts";

/** Time that the listener gets to end, in milliseconds, even if the grace period is over. */
const LAST_MS = 50;

/** Serves until a signal comes. Then it ends the process. */
export const serve: Command<typeof SERVER_OPTIONS> = {
  name: "serve",
  about: "serves until SIGTERM or SIGINT",
  usage: "[flags]",
  options: SERVER_OPTIONS,
  notes: [
    "Durations are like 500ms, 25s, 5m or 1h (a bare number: seconds); sizes like 512, 64KiB, 1MiB.",
    "Each flag can be set as RIVER_NAME in the environment (RIVER_HISTORY_TTL=2h) or by its name in",
    'a TOML file (history-ttl = "2h"). Flags win over the environment, the environment over the file.',
  ],
  async run(config, { version, print, printError }, ignored) {
    checkServer(config);
    const log = createLog(config.logFormat, printError);
    if (ignored.length > 0) {
      log.info("ignored variables that an orchestrator set", { variables: ignored.join(" ") });
    }
    const report = (error: unknown) => log.error("something broke", errorFields(error));
    surviveErrors(report);
    const river = riverOf(config, { report, warn: log.warn });
    await river.start();
    const listener = listen(config, river, log);
    const url = urlOf(config, listener);
    // Handle signals from here on: whoever reads the line below may send one at once.
    const end = terminated(log);
    print(`river ${version} listening on ${url}\n`);
    await end;
    await shutDown(listener, river, config.grace, log);
    try {
      Deno.exit(0);
    } catch {
      // `deno run --watch` goes on: it starts us again when a file changes.
    }
  },
};

/** The river that the options describe; it does not listen. */
export function riverOf(
  config: ServerConfig,
  reports: Pick<Parameters<typeof createRiver>[0] & object, "report" | "warn"> = {},
): RiverServer {
  return createRiver({
    ...config,
    ...reports,
    maxConnections: config.maxConnections || connectionBudget(),
    tokenSecrets: config.tokenSecret,
    origins: config.origin,
  });
}

/** An error that nobody awaited must not end a server that thousands are connected to. */
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
      log.error("cannot accept connections for now", { error: String(error) });
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

/** Resolves at the first signal to end. A second one ends the process at once. */
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
 * Refuses new requests, ends every subscriber, and waits until all have ended, but not longer than
 * `grace` milliseconds.
 */
async function shutDown(
  listener: Listener,
  river: RiverServer,
  grace: number,
  log: Log,
): Promise<void> {
  // The listener goes last: the runtime's own shutdown breaks off bodies that are being read, and
  // closes WebSockets without our reason.
  const deadline = performance.now() + grace;
  await within(grace, river.drain());
  if (!await within(Math.max(LAST_MS, deadline - performance.now()), listener.shutdown())) {
    log.error("connections dropped at the end of the grace period");
  }
  await river.close();
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
