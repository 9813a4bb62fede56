/**
 * Finds the key or token that a client shows, and decides which one counts if there are several.
 *
 * @module
 */
import type { Origins } from "./origins.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The key or token of a client. Undefined if it shows none.
 *
 * @param token The parameter `token`. The `Authorization` header takes precedence over it, and it
 * takes precedence over the cookie.
 * @param embeddable Whether a page could profit from making a visitor's browser send this request.
 * If so, the cookie counts only if the browser states that the page is trusted.
 */
export function credentialOf(
  headers: Headers,
  token: string | undefined,
  origins: Origins,
  embeddable: boolean,
): string | undefined {
  return bearerOf(headers) ?? token ?? cookieOf(headers, origins, embeddable);
}

/** The token in the header `Authorization`. */
function bearerOf(headers: Headers): string | undefined {
  const bearer = /^Bearer +(.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  // The runtime decodes headers as Latin-1, but a key that is not ASCII was sent as UTF-8.
  return bearer === undefined || !/[^\0-\x7f]/.test(bearer) ? bearer : utf8Of(bearer);
}

/** Decodes as UTF-8 a text that was decoded as Latin-1. Returns it unchanged if it is not UTF-8. */
function utf8Of(latin1: string): string {
  try {
    return utf8.decode(Uint8Array.from(latin1, (char) => char.charCodeAt(0)));
  } catch {
    return latin1;
  }
}

/**
 * The token in the cookie. It does not count if the browser may have sent it for a page that is not
 * trusted. A page that only `--origin *` allows is not trusted either. The cookie belongs to the
 * visitor, not to the page.
 */
function cookieOf(headers: Headers, origins: Origins, embeddable: boolean): string | undefined {
  const cookies = headers.get("cookie");
  if (cookies === null) return undefined;
  const token = /(?:^|; ?)river_token=([^;]*)/.exec(cookies)?.[1];
  if (token === undefined || token === "") return undefined;
  return origins.comesFromTrusted(headers, embeddable) ? token : undefined;
}
