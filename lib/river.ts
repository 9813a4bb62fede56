/**
 * A whole river server, but without a listener: engine, channels, routes, access and limits.
 *
 * Unstable: names may change until a second engine has passed the suite.
 *
 * @module
 */
import { Access } from "./access/access.ts";
import { TimerWheel } from "./base/timer_wheel.ts";
import type { Engine } from "./core/engine.ts";
import { Hub } from "./core/hub.ts";
import { JournalEngine, type JournalSettings } from "./engines/journal.ts";
import { MemoryEngine } from "./engines/memory.ts";
import { createApp } from "./http/app.ts";
import { BodyReader } from "./http/body.ts";
import type { Connection } from "./http/call.ts";
import { PrometheusMetrics } from "./http/prometheus.ts";
import { type Facts, Warnings } from "./http/warnings.ts";

/** Copies of the file of `RiverOptions.data`. */
export { backupJournal, restoreJournal } from "./engines/journal/backup.ts";
/** A file of `RiverOptions.data` that cannot be used. */
export { JournalError } from "./engines/journal/rows.ts";

/** The limits of a river server. Each is a maximum, except `heartbeat`. */
export interface RiverLimits {
  /** Messages kept per channel. */
  readonly history: number;
  /** How long a message is kept, in milliseconds. */
  readonly historyTtl: number;
  /** Bytes of memory for history. */
  readonly maxMemory: number;
  /** Bytes in the data of one message. */
  readonly maxMessage: number;
  /** Bytes in the body of one request, or in one WebSocket frame. */
  readonly maxBody: number;
  /** Bytes of all bodies over 16 KiB that are being read. */
  readonly maxBodies: number;
  /** Messages that one request may publish. */
  readonly maxBatch: number;
  /** How long reading the body of one request may take, in milliseconds. */
  readonly bodyTimeout: number;
  /** Unsent bytes that one subscriber may have when its next message arrives. */
  readonly maxQueue: number;
  /** Bytes of frames of one WebSocket that may wait to be carried out. */
  readonly maxInbox: number;
  /** Unsent bytes that all subscribers together may have. */
  readonly maxUnsent: number;
  /** Subscribers at a time. */
  readonly maxConnections: number;
  /** Subscribers per client address. 0: no limit. `auto`: a quarter of `maxConnections`. */
  readonly maxConnectionsPerClient: number | "auto";
  /** Subscriptions and sockets that one client address may open per second. 0: no limit. */
  readonly connectionRate: number;
  /** Messages that one client address may publish per second. 0: no limit. */
  readonly publishRate: number;
  /** Channels that are published to, at a time. As many again may be only watched. */
  readonly maxChannels: number;
  /** Channels that one request, NDJSON line or socket may name. */
  readonly maxChannelsPerClient: number;
  /** Number of idempotency ids that are remembered. */
  readonly maxIds: number;
  /** How long an idempotency id is remembered, in milliseconds. */
  readonly idTtl: number;
  /** The longest lifetime of a subscription, in milliseconds. 0: no limit. */
  readonly clientTimeout: number;
  /** Silence after which a heartbeat is sent, in milliseconds. */
  readonly heartbeat: number;
}

/** The options of a river server. Limits that are not given have the values of `DEFAULTS`. */
export interface RiverOptions extends Partial<RiverLimits> {
  /**
   * The key that publishing, `/channels` and `/metrics` need. Without a key or secrets, anybody may
   * publish, and programs on this machine may read channels and metrics.
   */
  readonly publishKey?: string;
  /**
   * Secrets that tokens are signed with. With at least one, everything needs a token or the key.
   */
  readonly tokenSecrets?: readonly string[];
  /** Web origins that may connect in addition to the server's own, in the form of `--origin`. */
  readonly origins?: readonly string[];
  /** Whether the last item of `X-Forwarded-For` counts as the client's address. */
  readonly trustProxy?: boolean;
  /** Numbers and keeps the messages. The default is an engine in memory, or one with a file. */
  readonly engine?: Engine;
  /** A file in which history survives. Without one, history is in memory only. */
  readonly data?: JournalSettings;
  /** The version for the metrics. */
  readonly version?: string;
  /** Takes errors that only river itself can cause. */
  readonly report?: (error: unknown) => void;
  /** Takes warnings about requests and slow subscribers. */
  readonly warn?: (message: string, facts: Facts) => void;
}

/** A river server without a listener. */
export interface RiverServer {
  /**
   * Answers a request. Without `connection`, the request counts as coming from this machine. Only a
   * request from `Deno.serve` can become a WebSocket.
   */
  handle(request: Request, connection?: Connection): Response | Promise<Response>;
  /** Takes an error that occurred while a response was being sent: `onError` of `Deno.serve`. */
  fail(error: unknown): Response;
  /** The channels and their subscribers. */
  readonly hub: Hub;
  /** Numbers and keeps the messages. */
  readonly engine: Engine;
  /** Counts events. */
  readonly metrics: PrometheusMetrics;
  /** Starts the engine and the timers. Must be called once, before the first request. */
  start(): Promise<void>;
  /**
   * Replaces the key, the secrets, the origins, `trustProxy` and the limits without a restart.
   * Subscribers whose key or secret is no longer among them end, as when a token expires.
   * `FIXED_LIMITS` stay as they are.
   */
  reload(options: RiverOptions): void;
  /**
   * Makes `/healthz` answer 503 from now on, because the server is about to shut down. All other
   * requests are still served.
   */
  leave(): void;
  /**
   * Refuses new requests from now on. Resolves when the requests before it are answered and all
   * streams and sockets are closed, however long their clients take.
   */
  refuse(): Promise<void>;
  /** Like `refuse`, and also closes every subscriber. */
  drain(): Promise<void>;
  /** Closes every subscriber and the engine, and stops the timers. */
  close(): Promise<void>;
}

/** The limits that stay as they are until a restart. */
export const FIXED_LIMITS = [
  "maxIds",
  "maxQueue",
  "maxUnsent",
  "maxInbox",
  "heartbeat",
] as const satisfies readonly (keyof RiverLimits)[];

/** The default limits. The options of the command line have the same defaults. */
export const DEFAULTS: RiverLimits = {
  history: 100,
  historyTtl: 3_600_000,
  maxMemory: 128 * 2 ** 20,
  maxMessage: 64 * 2 ** 10,
  maxBody: 2 ** 20,
  maxBodies: 64 * 2 ** 20,
  maxBatch: 50_000,
  bodyTimeout: 10_000,
  maxQueue: 2 ** 20,
  maxInbox: 16 * 2 ** 20,
  maxUnsent: 256 * 2 ** 20,
  maxConnections: Infinity,
  maxConnectionsPerClient: "auto",
  connectionRate: 0,
  publishRate: 0,
  maxChannels: 100_000,
  maxChannelsPerClient: 128,
  maxIds: 100_000,
  idTtl: 300_000,
  clientTimeout: 0,
  heartbeat: 25_000,
};

/** The connection of a request that came over no connection. It counts as local. */
const NO_CONNECTION: Connection = {
  remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port: 0 },
  completed: Promise.resolve(),
};

/**
 * Builds a river server.
 *
 * @throws {TypeError} If a limit is not a number of at least 0, if a key or secret is empty, or if
 * a secret is shorter than 32 bytes.
 *
 * @example Publish and read back without a socket
 * ```ts
 * import { createRiver } from "./river.ts";
 *
 * const river = createRiver({ history: 10 });
 * await river.start();
 * await river.handle(new Request("http://localhost/publish?name=news&data=hello"));
 * const answer = await river.handle(
 *   new Request("http://localhost/subscribe?name=news&seq=0&limit=1"),
 * );
 * console.log(await answer.text()); // ["msg", {"channel": "news", "seq": 1, "data": "hello"}]
 * await river.close();
 * ```
 *
 * @example Listen
 * ```ts
 * import { createRiver } from "./river.ts";
 *
 * const river = createRiver();
 * await river.start();
 * Deno.serve({ port: 9271, onError: river.fail }, river.handle);
 * ```
 */
export function createRiver(options: RiverOptions = {}): RiverServer {
  const limits = { ...DEFAULTS, ...limitsIn(options) };
  const access = new Access(options);
  const { data, report = () => {}, warn = () => {} } = options;
  const { engine = data ? new JournalEngine(limits, data) : new MemoryEngine(limits) } = options;
  const metrics = new PrometheusMetrics();
  const wheel = new TimerWheel();
  const warnings = new Warnings(wheel, warn);
  const onSlow = (transport: string) =>
    warnings.warn("slow", "cut a subscriber that was too slow (--max-queue, --max-unsent)", {
      transport,
    });
  const hub = new Hub({ ...limits, engine, wheel, metrics, report, onSlow });
  const app = createApp({
    hub,
    engine,
    metrics,
    report,
    takeLag: () => wheel.takeLag(),
    version: options.version ?? "",
    bodies: new BodyReader(wheel, limits),
    warnings,
    access,
    limits,
  });
  return {
    // Give the second parameter no default value. The function's `length` would be 1, and then the
    // runtime would not pass the connection.
    handle: (request, connection) => app.handle(request, connection ?? NO_CONNECTION),
    fail: app.fail,
    hub,
    engine,
    metrics,
    async start() {
      await hub.start();
      wheel.start();
    },
    reload(options) {
      const changed = limitsIn(options);
      access.replace(options);
      // The engine, the body reader and the routes all use this object. The metrics show it.
      Object.assign(limits, changed, fixedOf(limits));
      app.reload();
      hub.revoke((voucher) => access.vouches(voucher));
    },
    leave: () => app.leave(),
    refuse: () => app.drain(),
    drain() {
      const drained = app.drain();
      hub.drain();
      return drained;
    },
    async close() {
      // From now on, every request is refused because the server is shutting down.
      void app.drain();
      await hub.close();
      wheel.stop();
    },
  };
}

/** Those of the limits that stay as they are until a restart. */
function fixedOf(limits: RiverLimits): Partial<RiverLimits> {
  return Object.fromEntries(FIXED_LIMITS.map((key) => [key, limits[key]]));
}

/**
 * The limits among the options. An undefined limit counts as not given.
 *
 * @throws {TypeError} If a limit is not a number of at least 0.
 */
function limitsIn(options: RiverOptions): Partial<RiverLimits> & { trustProxy: boolean } {
  const keys = Object.keys(DEFAULTS) as (keyof RiverLimits)[];
  const given = keys.filter((key) => options[key] !== undefined);
  for (const key of given) {
    const value = options[key];
    const fits = key === "maxConnectionsPerClient" && value === "auto" ||
      typeof value === "number" && value >= 0;
    if (!fits) throw new TypeError(`Bad ${key}: expected a number of at least 0, got ${value}`);
  }
  return {
    trustProxy: options.trustProxy ?? false,
    ...Object.fromEntries(given.map((key) => [key, options[key]])),
  };
}
