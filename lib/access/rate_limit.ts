/**
 * Limits how often one client address may do something.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";
import { Recents } from "../base/recents.ts";

/** How far an address may be ahead of its rate, in milliseconds: one second's worth at once. */
const BURST_MS = 1000;
/** The most addresses that are remembered. The one that was idle longest is forgotten first. */
const MAX_ADDRESSES = 100_000;

/**
 * The generic cell rate algorithm (ITU-T I.371), with a burst of one second's worth. For each
 * address it keeps one point in time: when the address would be finished with everything that it
 * did, had it kept to the allowed rate.
 */
export class RateLimit {
  /** How many actions an address is allowed per second. 0: no limit. */
  perSecond: number;
  readonly #now: () => number;
  /** That point in time per address, in milliseconds of `#now`. */
  readonly #paidUntil: Recents<Key, number>;

  /**
   * A limit that no address has used yet.
   *
   * @param options `now` returns milliseconds that never decrease.
   */
  constructor(
    perSecond: number,
    { now = () => performance.now(), maxAddresses = MAX_ADDRESSES }: {
      now?: () => number;
      maxAddresses?: number;
    } = {},
  ) {
    this.perSecond = perSecond;
    this.#now = now;
    this.#paidUntil = new Recents(maxAddresses);
  }

  /** Whether there is a limit. */
  get enabled(): boolean {
    return this.perSecond > 0;
  }

  /** Number of addresses that are remembered. */
  get size(): number {
    return this.#paidUntil.size;
  }

  /** How long an address must wait, in milliseconds. 0 if it need not wait. */
  wait(address: string): number {
    const paidUntil = this.#paidUntil.get(keyOf(address));
    if (paidUntil === undefined) return 0;
    return Math.max(0, paidUntil + 1000 / this.perSecond - this.#now() - BURST_MS);
  }

  /**
   * Counts actions of an address. Call it after `wait` returned 0. If they are more than a second's
   * worth, the address must wait longer afterwards.
   */
  spend(address: string, times: number): void {
    if (!this.enabled) return;
    const now = this.#now();
    const key = keyOf(address);
    const from = Math.max(now, this.#paidUntil.get(key) ?? 0);
    this.#paidUntil.set(key, from + times * 1000 / this.perSecond);
    for (let idle = this.#paidUntil.oldest; idle !== undefined; idle = this.#paidUntil.oldest) {
      if (idle.value > now) break;
      this.#paidUntil.delete(idle.key);
    }
  }
}

/** A rate limit and the client that it is applied to. */
export interface ClientRate {
  /** The limit for all clients. */
  readonly limit: RateLimit;
  /** The client's address, as `clientAddress` returns it. */
  readonly address: string;
}

/**
 * The address under which a client is counted. An IPv6 address is counted by its /64 network,
 * because one client usually has a whole one.
 *
 * @param peer The address at the other end of the connection.
 * @param forwarded `X-Forwarded-For`, if the proxy in front is trusted. Only the last item counts:
 * the proxy wrote it, and the client may have written the others.
 */
export function clientAddress(peer: string, forwarded: string | null): string {
  const last = forwarded?.slice(forwarded.lastIndexOf(",") + 1).trim();
  // Some proxies add the port: 192.0.2.1:4711 or [2001:db8::1]:4711.
  const address = last?.replace(/^\[(.*)\](?::[0-9]+)?$|^([^:]*):[0-9]+$/, "$1$2") || peer;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1];
  if (!address.includes(":")) return address;
  const [head, tail] = address.toLowerCase().split("::");
  const groups = head.split(":");
  if (tail !== undefined) {
    const missing = 8 - groups.length - tail.split(":").length;
    groups.push(...Array(Math.max(0, missing)).fill("0"), ...tail.split(":"));
  }
  return groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "") || "0").join(":") +
    "::/64";
}
