/**
 * Who may come in: connections are counted, for all and per client, and rates are held. What has come in
 * is waited for at the end.
 *
 * @module
 */
import type { Grant } from "../access/access.ts";
import { isLoopback } from "../access/local.ts";
import { clientAddress, type Pace, RateLimit } from "../access/rate_limit.ts";
import { type Key, keyOf } from "../base/key.ts";
import { Refusal, RETRY_AFTER } from "../core/refusal.ts";
import type { Call } from "./call.ts";

/** What clients are held to as they come. */
export interface AdmissionLimits {
  /** Subscribers at a time. */
  readonly maxConnections: number;
  /** Of one client address; 0: no limit. */
  readonly maxConnectionsPerClient: number;
  /** Whether that limit is not for loopback addresses. */
  readonly sparesLoopback: boolean;
  /** Messages per second and client address; 0: no limit. */
  readonly publishRate: number;
  /** Subscriptions and sockets per second and client address; 0: no limit. */
  readonly connectionRate: number;
  /** Whether `X-Forwarded-For` is the word of a proxy in front. */
  readonly trustProxy: boolean;
  /** Milliseconds that a subscriber may live; 0: no end. */
  readonly clientTimeout: number;
}

/** Where a request comes from. */
export type Comer = Pick<Call, "request" | "connection">;

/** Counts what comes in and goes, and refuses what is too much. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #publishLimit: RateLimit;
  readonly #connectionLimit: RateLimit;
  /** Requests that have to wait for something. */
  #busy = 0;
  /**
   * Connections that are, or were, a subscriber's: a client that takes nothing may hold on to one long
   * after its subscriber was cut.
   */
  #connections = 0;
  /** Connections of these that the runtime has lost: their sockets never opened. */
  #lost = 0;
  /** Connections by client, if there is a limit for one. */
  readonly #clients = new Map<Key, number>();
  #drained: PromiseWithResolvers<void> | undefined;

  /** Nobody is there yet. */
  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#publishLimit = new RateLimit(limits.publishRate);
    this.#connectionLimit = new RateLimit(limits.connectionRate);
  }

  /** Connections that subscribers hold, or held. */
  get connections(): number {
    return this.#connections;
  }

  /** Connections of these that the runtime has lost. */
  get lost(): number {
    return this.#lost;
  }

  /** Whether nobody may come in any more. */
  get draining(): boolean {
    return this.#drained !== undefined;
  }

  /** Lets nobody in any more. Resolves when all who are here have left. */
  drain(): Promise<void> {
    this.#drained ??= Promise.withResolvers();
    this.#checkDrained();
    return this.#drained.promise;
  }

  /** A request has to wait for something. */
  hold(): void {
    this.#busy++;
  }

  /** It waits no more. */
  release(): void {
    this.#busy--;
    this.#checkDrained();
  }

  /**
   * Lets a subscriber in and counts its connection. What it returns must be called once, when that has ended.
   *
   * @throws {Refusal} 429 if its client has too many or comes too often, 503 if there are too many.
   */
  enter(comer: Comer): () => void {
    const { maxConnections, maxConnectionsPerClient, trustProxy } = this.#limits;
    if (this.#connectionLimit.enabled) {
      const address = this.#addressOf(comer);
      checkRate(this.#connectionLimit, address, "subscriptions a second (--connection-rate)");
      this.#connectionLimit.spend(address, 1);
    }
    const client = this.#countedClient(comer);
    const count = client === undefined ? 0 : this.#clients.get(client) ?? 0;
    if (client !== undefined && count >= maxConnectionsPerClient) {
      throw new Refusal(
        429,
        "too_many_connections",
        `One client address is allowed ${maxConnectionsPerClient} subscribers ` +
          "(--max-connections-per-client)" +
          (trustProxy ? "" : "; behind a proxy, --trust-proxy tells clients apart"),
        { "retry-after": RETRY_AFTER },
      );
    }
    if (this.#connections >= maxConnections) {
      throw new Refusal(
        503,
        "too_many_connections",
        `${maxConnections} subscribers are connected, the most allowed (--max-connections)`,
        { "retry-after": RETRY_AFTER },
      );
    }
    this.#connections++;
    if (client !== undefined) this.#clients.set(client, count + 1);
    return () => this.#leave(client);
  }

  /** +1: the runtime has leaked a socket (no open event within a heartbeat). -1: it closed after all. */
  lose(change: 1 | -1): void {
    this.#lost += change;
  }

  /** How long a subscriber may live, in milliseconds, if it asked for `timeout`; what ends it then. */
  lifeOf(
    { expires }: Grant,
    timeout = Infinity,
  ): { lifetime: number; endReason: "expired" | "timeout" } {
    const most = Math.min(timeout, this.#limits.clientTimeout || Infinity);
    const granted = expires - Date.now();
    return granted < most
      ? { lifetime: Math.max(0, granted), endReason: "expired" }
      : { lifetime: most, endReason: "timeout" };
  }

  /** How often the client may publish; undefined if there is no limit. */
  paceOf(comer: Comer): Pace | undefined {
    if (!this.#publishLimit.enabled) return undefined;
    return { limit: this.#publishLimit, address: this.#addressOf(comer) };
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

  /** The client whose subscribers are counted; undefined if they are not. */
  #countedClient(comer: Comer): Key | undefined {
    const { maxConnectionsPerClient, sparesLoopback } = this.#limits;
    if (maxConnectionsPerClient === 0) return undefined;
    if (sparesLoopback && isLoopback(comer.connection.remoteAddr.hostname)) return undefined;
    return keyOf(this.#addressOf(comer));
  }

  #addressOf({ request, connection }: Comer): string {
    const forwarded = this.#limits.trustProxy ? request.headers.get("x-forwarded-for") : null;
    return clientAddress(connection.remoteAddr.hostname, forwarded);
  }
}

/**
 * Makes sure that a client may publish now.
 *
 * @throws {Refusal} 429 if it has to wait.
 */
export function checkPace(pace: Pace | undefined): void {
  if (pace === undefined) return;
  checkRate(pace.limit, pace.address, "messages a second (--publish-rate)");
}

function checkRate(limit: RateLimit, address: string, what: string): void {
  const wait = limit.wait(address);
  if (wait === 0) return;
  throw new Refusal(
    429,
    "too_many_requests",
    `One client address is allowed ${limit.perSecond} ${what}`,
    { "retry-after": String(Math.ceil(wait / 1000)) },
  );
}
