/**
 * Detects requests that come from this machine itself, and not through a reverse proxy.
 *
 * @module
 */

/** Headers that reverse proxies add. */
const PROXY_HEADERS = [
  "x-forwarded-for",
  "forwarded",
  "via",
  "x-real-ip",
  "x-forwarded-host",
  "x-forwarded-proto",
];

/** Whether an address can be reached only from this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" ||
    /^(?:::ffff:)?127(?:\.[0-9]{1,3}){3}$/i.test(host);
}

/** Whether the headers show that a request came through a proxy. */
export function isProxied(headers: Headers): boolean {
  return PROXY_HEADERS.some((name) => headers.has(name));
}

/**
 * Whether a request comes from a program on this machine: over a loopback address, not through a
 * proxy, and addressed to a name of this machine. The check of the name keeps out pages whose own
 * name was made to resolve to this machine (DNS rebinding). It also keeps out proxies that forward
 * `Host` and add none of `PROXY_HEADERS`.
 *
 * @param peer The address at the other end of the connection.
 */
export function isLocal(peer: string, { headers, url }: Request): boolean {
  // HTTP/2 has no `Host`. The runtime puts the name into the URL, or the server's own name if the
  // client gives none.
  const host = headers.get("host") ?? url.split("/", 3)[2];
  const name = host.replace(/:[0-9]*$/, "").toLowerCase();
  return isLoopback(peer) && !isProxied(headers) && (name === "" || isLoopback(name));
}
