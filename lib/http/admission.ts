/**
 * Admission: counts connections in total and per client, and limits rates. At shutdown it waits for
 * the requests that it admitted.
 *
 * @module
 */
import type { Grant } from "../access/access.ts";
import { isLoopback } from "../access/local.ts";
import { clientAddress, type ClientRate, RateLimit } from "../access/rate_limit.ts";
import { type Key, keyOf } from "../base/key.ts";
import { Refusal, RETRY_AFTER } from "../core/refusal.ts";
import type { Call } from "./call.ts";

/** The limits that are checked before a client is admitted. */
export interface AdmissionLimits {
  /** The most subscribers at a time. */
  readonly maxConnections: number;
  /**
   * The most subscribers per client address. 0: no limit. `auto`: a quarter of `maxConnections`.
   */
  readonly maxConnectionsPerClient: number | "auto";
  /** The most messages per second and client address. 0: no limit. */
  readonly publishRate: number;
  /** The most subscriptions and sockets per second and client address. 0: no limit. */
  readonly connectionRate: number;
  /** Whether the last item of `X-Forwarded-For` is trusted: a proxy in front must set it. */
  readonly trustProxy: boolean;
  /** The longest lifetime of a subscriber, in milliseconds. 0: no limit. */
  readonly clientTimeout: number;
}

/** The share of `maxConnections` that one client address may use if the limit is `auto`. */
const CLIENT_SHARE = 1 / 4;

/** A request and the connection that it came over. */
export type Incoming = Pick<Call, "request" | "connection">;

/** Counts connections as they come and go, and refuses those over a limit. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #publishLimit: RateLimit;
  readonly #connectionLimit: RateLimit;
  /** Number of requests whose answer is not ready yet. */
  #busy = 0;
  /**
   * Number of connections that a subscriber holds or held. A client that reads nothing may keep its
   * connection long after its subscriber was cut.
   */
  #connections = 0;
  /** Of these, connections that the runtime has leaked: their sockets never opened. */
  #lost = 0;
  /** Number of connections per client, if there is a limit per client. */
  readonly #clients = new Map<Key, number>();
  #drained: PromiseWithResolvers<void> | undefined;

  /** An admission that has not admitted anybody yet. */
  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#publishLimit = new RateLimit(limits.publishRate);
    this.#connectionLimit = new RateLimit(limits.connectionRate);
  }

  /** Number of connections that a subscriber holds or held. */
  get connections(): number {
    return this.#connections;
  }

  /** Of these, the number of connections that the runtime has leaked. */
  get lost(): number {
    return this.#lost;
  }

  /** Whether the server is about to shut down. It still serves, but `/healthz` answers 503. */
  leaving = false;

  /** The most subscribers per client address. */
  get maxPerClient(): number {
    const { maxConnections, maxConnectionsPerClient: set } = this.#limits;
    return set === "auto" ? Math.ceil(maxConnections * CLIENT_SHARE) : set;
  }

  /** Whether the server is shutting down, so that nobody is admitted. */
  get draining(): boolean {
    return this.#drained !== undefined;
  }

  /** Applies the rates in its limits again. Must be called after they have changed. */
  reload(): void {
    this.#publishLimit.perSecond = this.#limits.publishRate;
    this.#connectionLimit.perSecond = this.#limits.connectionRate;
  }

  /** Admits nobody from now on. Resolves when all requests and connections have ended. */
  drain(): Promise<void> {
    this.#drained ??= Promise.withResolvers();
    this.#checkDrained();
    return this.#drained.promise;
  }

  /** Counts a request whose answer is not ready yet. `drain()` waits for it. */
  hold(): void {
    this.#busy++;
  }

  /** Called once per `hold()`, when the request is answered. */
  release(): void {
    this.#busy--;
    this.#checkDrained();
  }

  /**
   * Admits a subscriber and counts its connection. The caller must call the returned function once,
   * when the connection has ended.
   *
   * @throws {Refusal} 429 if the client has too many connections or opens them too fast, 503 if
   * there are too many connections in total.
   */
  enter(incoming: Incoming): () => void {
    const { maxConnections, trustProxy } = this.#limits;
    if (this.#connectionLimit.enabled) {
      const address = this.addressOf(incoming);
      checkRate(this.#connectionLimit, address, "open", "subscriptions", "--connection-rate");
      this.#connectionLimit.spend(address, 1);
    }
    const client = this.#countedClient(incoming);
    const count = client === undefined ? 0 : this.#clients.get(client) ?? 0;
    if (client !== undefined && count >= this.maxPerClient) {
      throw new Refusal(
        429,
        "too_many_connections",
        `One client address may have at most ${this.maxPerClient} subscribers ` +
          "(--max-connections-per-client)" +
          (trustProxy ? "" : ". Behind a proxy, set --trust-proxy to tell clients apart"),
        { "retry-after": RETRY_AFTER },
      );
    }
    if (this.#connections >= maxConnections) {
      throw new Refusal(
        503,
        "too_many_connections",
        `At most ${maxConnections} subscribers may be connected (--max-connections)`,
        { "retry-after": RETRY_AFTER },
      );
    }
    this.#connections++;
    if (client !== undefined) this.#clients.set(client, count + 1);
    return () => this.#leave(client);
  }

  /**
   * +1: the runtime has leaked a socket (no open event within a heartbeat). -1: it closed after
   * all.
   */
  countLost(change: 1 | -1): void {
    this.#lost += change;
  }

  /**
   * The longest lifetime of a subscriber, in milliseconds, the reason why it ends then, and what
   * vouches for it until then.
   *
   * @param timeout The lifetime that the client asked for, in milliseconds.
   */
  lifeOf(
    { expires, voucher }: Grant,
    timeout = Infinity,
  ): { lifetime: number; endReason: "expired" | "timeout"; voucher: string } {
    const most = Math.min(timeout, this.#limits.clientTimeout || Infinity);
    const granted = expires - Date.now();
    return granted < most
      ? { lifetime: Math.max(0, granted), endReason: "expired", voucher }
      : { lifetime: most, endReason: "timeout", voucher };
  }

  /** The limit of the client's publish rate. Undefined if there is none. */
  publishRateOf(incoming: Incoming): ClientRate | undefined {
    if (!this.#publishLimit.enabled) return undefined;
    return this.publishRateAt(this.addressOf(incoming));
  }

  /** The limit of the publish rate of an address, which may be switched on and off meanwhile. */
  publishRateAt(address: string): ClientRate {
    return { limit: this.#publishLimit, address };
  }

  #leave(client: Key | undefined): void {
    this.#connections--;
    if (client !== undefined) {
      const others = this.#clients.get(client)! - 1;
      if (others > 0) this.#clients.set(client, others);
      else this.#clients.delete(client);
    }
    this.#checkDrained();
  }

  #checkDrained(): void {
    if (this.#busy === 0 && this.#connections === 0) this.#drained?.resolve();
  }

  /** The address of the client, from the header of a trusted proxy or else from the connection. */
  addressOf({ request, connection }: Incoming): string {
    const forwarded = this.#limits.trustProxy ? request.headers.get("x-forwarded-for") : null;
    return clientAddress(connection.remoteAddr.hostname, forwarded);
  }

  /** The client that a connection is counted for. Undefined if it is not counted per client. */
  #countedClient(incoming: Incoming): Key | undefined {
    const { maxConnectionsPerClient, trustProxy } = this.#limits;
    if (maxConnectionsPerClient === 0) return undefined;
    // A loopback address may be a proxy that is not trusted, or several programs. So it does not
    // stand for one client.
    const spared = maxConnectionsPerClient === "auto" && !trustProxy;
    if (spared && isLoopback(incoming.connection.remoteAddr.hostname)) return undefined;
    return keyOf(this.addressOf(incoming));
  }
}

/**
 * Checks that a client may publish now.
 *
 * @throws {Refusal} 429 if the client must wait.
 */
export function checkPublishRate(publishRate: ClientRate | undefined): void {
  if (publishRate === undefined) return;
  checkRate(publishRate.limit, publishRate.address, "publish", "messages", "--publish-rate");
}

function checkRate(
  limit: RateLimit,
  address: string,
  verb: string,
  things: string,
  option: string,
): void {
  const wait = limit.wait(address);
  if (wait === 0) return;
  throw new Refusal(
    429,
    "too_many_requests",
    `One client address may ${verb} at most ${limit.perSecond} ${things} per second (${option})`,
    { "retry-after": String(Math.ceil(wait / 1000)) },
  );
}
