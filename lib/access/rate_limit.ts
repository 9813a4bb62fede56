/**
 * How often one client address may do something.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";
import { Recents } from "../base/recents.ts";

/** How far ahead of the allowed rate an address may be, in milliseconds. */
const BURST_MS = 1000;
/** Addresses remembered at a time; the ones that are idle longest are forgotten first. */
const MAX_ADDRESSES = 100_000;

/**
 * The generic cell rate algorithm (ITU-T I.371), with a burst of one second's worth: for each address
 * only the time is kept at which all that it did would have been done at the allowed rate.
 */
export class RateLimit {
  /** How often an address may do it in a second; 0: as often as it likes. */
  readonly perSecond: number;
  readonly #now: () => number;
  /** Milliseconds by address. */
  readonly #paidUntil: Recents<Key, number>;

  /**
   * A limit that nobody has come near yet.
   *
   * @param options `now` gives milliseconds that never go back.
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

  /** Whether there is a limit at all. */
  get enabled(): boolean {
    return this.perSecond > 0;
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#paidUntil.size;
  }

  /** Milliseconds that an address must wait; 0 if it may go on. */
  wait(address: string): number {
    const paidUntil = this.#paidUntil.get(keyOf(address));
    if (paidUntil === undefined) return 0;
    return Math.max(0, paidUntil + 1000 / this.perSecond - this.#now() - BURST_MS);
  }

  /**
   * Notes that an address has done it so many times, after `wait` has let it pass. More at once than a
   * second's worth is paid for by waiting longer.
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

/** How often one client may do something. */
export interface Pace {
  /** The limit that all clients are held to. */
  readonly limit: RateLimit;
  /** The client. */
  readonly address: string;
}

/**
 * The address that a client counts as: IPv6 by its network, of which one client has all 2^64.
 *
 * @param peer The address at the other end of the connection.
 * @param forwarded `X-Forwarded-For`, if the proxy in front is trusted: its last item is what the
 * proxy itself saw; all before it is the client's word.
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
