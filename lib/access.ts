/**
 * Who may publish, subscribe and connect: keys and origins.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { quote } from "./cursor.ts";
import { HttpError } from "./http_error.ts";

/** What one client may do. */
export interface Grant {
  /** May publish to this channel. */
  mayPublish(channel: string): boolean;
  /** May subscribe to this channel. */
  maySubscribe(channel: string): boolean;
  /** May list channels and read the metrics. */
  readonly mayOperate: boolean;
}

const EVERYTHING: Grant = {
  mayPublish: () => true,
  maySubscribe: () => true,
  mayOperate: true,
};

const LISTENING: Grant = { ...EVERYTHING, mayPublish: () => false, mayOperate: false };

/** What access is decided by. */
export interface AccessOptions {
  /** The key that publishing and operating need; none: everybody may. */
  readonly publishKey?: string;
  /**
   * Web origins allowed besides the server's own: `https://example.com`, `example.com` (any scheme
   * and port), `*.example.com` (its subdomains) or `*`.
   */
  readonly origins?: readonly string[];
}

/** Answers every question of access. */
export class Access {
  readonly #keyDigest: Uint8Array | undefined;
  readonly #origins: readonly string[];

  /** Access with this key and from pages of these origins. */
  constructor({ publishKey, origins = [] }: AccessOptions) {
    this.#keyDigest = publishKey === undefined ? undefined : digest(publishKey);
    this.#origins = origins.map((origin) => origin.toLowerCase());
  }

  /**
   * What a client may do.
   *
   * @param token `token=`; the `Authorization` header wins over it.
   */
  grant(headers: Headers, token: string | undefined): Grant {
    if (this.#keyDigest === undefined || this.#holdsKey(headers, token)) return EVERYTHING;
    return LISTENING;
  }

  /**
   * Whether a web page of this origin may talk to us.
   *
   * @returns The origin if it may; undefined if the request comes from no page.
   * @throws {HttpError} 403 if it may not.
   */
  checkOrigin(headers: Headers): string | undefined {
    const origin = headers.get("origin");
    if (origin === null || this.#isAllowed(origin, headers)) return origin ?? undefined;
    throw forbidden(origin);
  }

  /**
   * Checks a request without an `Origin`. Pages load scripts (JSONP), images and links without telling
   * it; browsers say that these come from another site, and mostly from which.
   *
   * @throws {HttpError} 403 if it comes from a page of an origin that is not allowed.
   */
  checkEmbedding(headers: Headers): void {
    const site = headers.get("sec-fetch-site");
    if (site !== "cross-site" && site !== "same-site") return;
    const referrer = headers.get("referer") ?? "";
    const origin = URL.canParse(referrer) ? new URL(referrer).origin : "null";
    if (!this.#isAllowed(origin, headers)) throw forbidden(origin);
  }

  #isAllowed(origin: string, headers: Headers): boolean {
    const host = headers.get("host")?.toLowerCase();
    const text = origin.toLowerCase();
    const own = host !== undefined && (text === `http://${host}` || text === `https://${host}`);
    return own || this.#origins.some((pattern) => matches(pattern, text));
  }

  #holdsKey(headers: Headers, token: string | undefined): boolean {
    const bearer = /^Bearer +(.+)$/i.exec(headers.get("authorization") ?? "");
    const key = bearer?.[1] ?? token;
    return key !== undefined && timingSafeEqual(digest(key), this.#keyDigest!);
  }
}

/** The refusal of somebody who may not do this. */
export function unauthorized(action: string): HttpError {
  return new HttpError(401, "unauthorized", `A key is needed to ${action}`, {
    "www-authenticate": 'Bearer realm="river"',
  });
}

function forbidden(origin: string): HttpError {
  return new HttpError(
    403,
    "forbidden_origin",
    `Pages of the origin ${quote(origin)} are not allowed here (--origin)`,
  );
}

/** Keys of different lengths compare in the same time when their digests are compared. */
function digest(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}

function matches(pattern: string, origin: string): boolean {
  if (pattern === "*" || pattern === origin) return true;
  if (pattern.includes("://") || !URL.canParse(origin)) return false;
  const { protocol, host, hostname } = new URL(origin);
  if (protocol !== "http:" && protocol !== "https:") return false;
  if (pattern.startsWith("*.")) return hostname.endsWith(pattern.slice(1));
  return pattern === hostname || pattern === host;
}
