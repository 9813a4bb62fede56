/**
 * A whole river that does not listen: engine, channels, routes, access and limits.
 *
 * Unstable: names may change until a second engine has passed the suite.
 *
 * @module
 */
import { Access } from "./access/access.ts";
import { TimerWheel } from "./base/timer_wheel.ts";
import type { Engine } from "./core/engine.ts";
import { Hub } from "./core/hub.ts";
import { MemoryEngine } from "./engines/memory.ts";
import { createApp } from "./http/app.ts";
import { BodyReader } from "./http/body.ts";
import type { Connection } from "./http/call.ts";
import { PrometheusMetrics } from "./http/prometheus.ts";
import { type Facts, Warnings } from "./http/warnings.ts";

/** The limits of a river. Sizes are in bytes, times in milliseconds. */
export interface RiverLimits {
  /** Messages kept per channel. */
  readonly history: number;
  /** How long a message is kept. */
  readonly historyTtl: number;
  /** Memory for history. */
  readonly maxMemory: number;
  /** Data of one message. */
  readonly maxMessage: number;
  /** Body of one request, or one WebSocket frame. */
  readonly maxBody: number;
  /** All bodies over 16 KiB that are being read. */
  readonly maxBodies: number;
  /** Messages that one request may publish. */
  readonly maxBatch: number;
  /** How long the body of one request may take. */
  readonly bodyTimeout: number;
  /** Unsent bytes that one subscriber may have when its next message comes. */
  readonly maxQueue: number;
  /** Frames of one WebSocket that wait to be carried out. */
  readonly maxInbox: number;
  /** Unsent bytes that all subscribers together may have. */
  readonly maxUnsent: number;
  /** Subscribers at a time. */
  readonly maxConnections: number;
  /** Subscribers of one client address. 0: no limit. `auto`: a quarter of `maxConnections`. */
  readonly maxConnectionsPerClient: number | "auto";
  /** Subscriptions and sockets that one client address may open per second. 0: no limit. */
  readonly connectionRate: number;
  /** Messages that one client address may publish per second. 0: no limit. */
  readonly publishRate: number;
  /** Channels published to, at a time. As many more may be only watched. */
  readonly maxChannels: number;
  /** Channels that one request, NDJSON line or socket may name. */
  readonly maxChannelsPerClient: number;
  /** Idempotency ids remembered. */
  readonly maxIds: number;
  /** How long an idempotency id is remembered. */
  readonly idTtl: number;
  /** Longest life of a subscription. 0: no end. */
  readonly clientTimeout: number;
  /** Silence after which a heartbeat is sent. */
  readonly heartbeat: number;
}

/** What a river is built from. */
export interface RiverOptions extends Partial<RiverLimits> {
  /** The key that publishing, channels and metrics need. Without one they need none. */
  readonly publishKey?: string;
  /** What tokens are signed with. With one or more, everything needs a token or the key. */
  readonly tokenSecrets?: readonly string[];
  /** Web origins that may connect beside the server's own, as `--origin` takes them. */
  readonly origins?: readonly string[];
  /** Whether the last item of `X-Forwarded-For` is the client's address. */
  readonly trustProxy?: boolean;
  /** Numbers and keeps the messages. Without one, an engine in memory does. */
  readonly engine?: Engine;
  /** The version that the metrics show. */
  readonly version?: string;
  /** Takes errors that only river itself can cause. */
  readonly report?: (error: unknown) => void;
  /** Takes warnings about what clients do. */
  readonly warn?: (message: string, facts: Facts) => void;
}

/** A river that does not listen. */
export interface RiverServer {
  /**
   * Answers one request. Without `connection` it counts as one from this machine. Only a request
   * from `Deno.serve` can become a WebSocket.
   */
  handle(request: Request, connection?: Connection): Response | Promise<Response>;
  /** Takes an error that came while a response was sent: `onError` of `Deno.serve`. */
  fail(error: unknown): Response;
  /** The channels and their subscribers. */
  readonly hub: Hub;
  /** Numbers and keeps the messages. */
  readonly engine: Engine;
  /** Counts what happens. */
  readonly metrics: PrometheusMetrics;
  /** Gets ready. Must be called once, before the first request. */
  start(): Promise<void>;
  /**
   * Takes over keys, secrets, origins and these limits from now on, without a restart: all except
   * `maxIds`, `maxQueue`, `maxUnsent`, `maxInbox` and `heartbeat`, which stay as they are.
   */
  reload(options: RiverOptions): void;
  /** Makes `/healthz` say from now on that the server is about to leave. Everything else is served. */
  leave(): void;
  /**
   * Refuses new requests. Resolves when those under way are answered and all streams and sockets
   * are closed, however long their clients take.
   */
  refuse(): Promise<void>;
  /** As `refuse`, and ends every subscriber. */
  drain(): Promise<void>;
  /** Lets go of everything that `start` took. */
  close(): Promise<void>;
}

/** The limits of a river that is given none. The options of the command line have the same. */
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

/** The connection of a request that came over none. */
const NO_CONNECTION: Connection = {
  remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port: 0 },
  completed: Promise.resolve(),
};

/**
 * Builds a river.
 *
 * @throws {TypeError} If a limit is not a number of at least 0, a key or secret is empty, or a secret is
 * shorter than 32 bytes.
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
  const { engine = new MemoryEngine(limits), report = () => {}, warn = () => {} } = options;
  const metrics = new PrometheusMetrics();
  const wheel = new TimerWheel();
  const warnings = new Warnings(wheel, warn);
  const onSlow = (transport: string) =>
    warnings.warn("slow", "cut a subscriber that is too slow (--max-queue, --max-unsent)", {
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
    // Two parameters and no default value: the runtime gives no connection to a function of length
    // 1.
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
      // The engine, the readers of bodies and the routes look at this one object.
      Object.assign(limits, changed);
      app.reload();
    },
    leave: () => app.leave(),
    refuse: () => app.drain(),
    drain() {
      const drained = app.drain();
      hub.drain();
      return drained;
    },
    async close() {
      // Whoever asks a river that is closed hears that it is.
      void app.drain();
      await hub.close();
      wheel.stop();
    },
  };
}

/**
 * The limits among options. An undefined one counts as left out.
 *
 * @throws {TypeError} If one is not a number of at least 0.
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
