/**
 * Decides which web pages may use the server, and makes the CORS headers for their browsers.
 *
 * @module
 */
import { quote, Refusal } from "../core/refusal.ts";

/** The server's own origin, and those that `--origin` lists. */
export class Origins {
  readonly #patterns: readonly string[];

  /**
   * Allows the server's own origin and these: `https://example.com`, `example.com` (any scheme and
   * port), `*.example.com` (its subdomains) or `*`.
   */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns.map((pattern) => pattern.toLowerCase().replace(/\/$/, ""));
  }

  /**
   * Checks that the page that sent a request may use the server.
   *
   * @returns The origin of the page. Undefined if there is no `Origin` header.
   * @throws {Refusal} 403 if the page may not use the server.
   */
  check(headers: Headers): string | undefined {
    const origin = headers.get("origin");
    if (origin === null || this.#isAllowed(origin, headers)) return origin ?? undefined;
    throw forbidden(origin);
  }

  /**
   * Checks a request without `Origin`. Browsers load scripts (JSONP), images and links without it.
   * But they report that a page of another origin caused such a request, and usually which origin.
   * All of these are GET. With any other method, browsers send `Origin` (Fetch Standard, 3.2).
   *
   * @throws {Refusal} 403 if the request comes from a page whose origin is not allowed.
   */
  checkEmbedding({ method, headers }: Request): void {
    if (method !== "GET") return;
    const origin = embedderOf(headers);
    if (origin !== undefined && !this.#isAllowed(origin, headers)) throw forbidden(origin);
  }

  /** Whether an origin is the server's own or listed. The pattern `*` does not count. */
  trusts(origin: string, headers: Headers): boolean {
    const text = origin.toLowerCase();
    return isOwn(text, headers) ||
      this.#patterns.some((pattern) => pattern !== "*" && matches(pattern, text));
  }

  /**
   * Whether a browser sent a request for a trusted page.
   *
   * @param strict If false, a request that no page caused, or that no browser sent, counts too.
   */
  comesFromTrusted(headers: Headers, strict: boolean): boolean {
    const origin = headers.get("origin");
    if (origin !== null) return this.trusts(origin, headers);
    const site = headers.get("sec-fetch-site");
    if (site === "same-origin") return true;
    // Nothing else is certain. Browsers send `Sec-Fetch-Site` only to https and loopback addresses,
    // and they omit `Referer` if the page asks for that.
    if (strict) return false;
    const page = embedderOf(headers) ?? refererOf(headers);
    return site === "none" || page === undefined || this.trusts(page, headers);
  }

  /** Adds the headers that let a page of this origin read the response. */
  expose(response: Headers, request: Headers, origin: string): void {
    response.set("access-control-allow-origin", origin);
    response.set("vary", "Origin");
    response.set("access-control-expose-headers", "River-Cursor, Retry-After, WWW-Authenticate");
    // A page that only `*` allows must not read with its visitor's cookie.
    if (this.trusts(origin, request)) response.set("access-control-allow-credentials", "true");
  }

  #isAllowed(origin: string, headers: Headers): boolean {
    return this.#patterns.includes("*") || this.trusts(origin, headers);
  }
}

/** The request headers that river itself reads. */
const READ_HEADERS = "Authorization, Content-Type, Last-Event-ID";
/** The longest list of requested headers that is allowed as it is, in characters. */
const MAX_REQUESTED_HEADERS = 1024;

/**
 * The headers of the answer to a preflight, in addition to those of `expose`.
 *
 * @param requested The value of `Access-Control-Request-Headers`. An allowed page may send any
 * header: libraries and tracing add some, and river ignores those that it does not know.
 */
export function preflightHeaders(
  methods: string,
  requested: string | null,
): Record<string, string> {
  const fits = requested !== null && requested.length <= MAX_REQUESTED_HEADERS &&
    /^[\w!#$%&'*+.^`|~-]+(?: *, *[\w!#$%&'*+.^`|~-]+)*$/.test(requested);
  return {
    "access-control-allow-methods": methods,
    "access-control-allow-headers": fits ? requested : READ_HEADERS,
    "access-control-max-age": "600",
  };
}

/** The origin of the page that embeds the request. Undefined if the server's own page does. */
function embedderOf(headers: Headers): string | undefined {
  const site = headers.get("sec-fetch-site");
  return site === "cross-site" || site === "same-site" ? refererOf(headers) ?? "null" : undefined;
}

/** The origin in `Referer`. Undefined if there is none. */
function refererOf(headers: Headers): string | undefined {
  return URL.parse(headers.get("referer") ?? "")?.origin;
}

/**
 * The origin of the page that sent a request. If the browser does not reveal it, the text `null`,
 * as browsers write it.
 */
export function pageOf(headers: Headers): string {
  return headers.get("origin") ?? refererOf(headers) ?? "null";
}

/** Whether an origin is the server's own. A proxy may add the default port to `Host`. */
function isOwn(origin: string, headers: Headers): boolean {
  const host = headers.get("host")?.toLowerCase();
  if (host === undefined) return false;
  return origin === `http://${host.replace(/:80$/, "")}` ||
    origin === `https://${host.replace(/:443$/, "")}` ||
    // Browsers omit the scheme's default port. Other clients may send it.
    origin === `http://${host}` || origin === `https://${host}`;
}

function forbidden(origin: string): Refusal {
  const message = origin === "null"
    ? "Pages without an origin, such as a page opened as a file, are not allowed here: serve the " +
      "page over HTTP"
    : `Pages of the origin ${quote(origin)} are not allowed here (--origin)`;
  return new Refusal(403, "forbidden_origin", message);
}

function matches(pattern: string, origin: string): boolean {
  if (pattern === origin) return true;
  if (pattern.includes("://") || !URL.canParse(origin)) return false;
  const { protocol, host, hostname } = new URL(origin);
  if (protocol !== "http:" && protocol !== "https:") return false;
  if (pattern.startsWith("*.")) return hostname.endsWith(pattern.slice(1));
  return pattern === hostname || pattern === host;
}
