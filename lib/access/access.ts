/**
 * Who may publish, subscribe and operate: the key and tokens.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Refusal } from "../core/refusal.ts";
import { isLocal } from "./local.ts";
import { Origins } from "./origins.ts";
import { BadTokenError, type Rights, Tokens } from "./tokens.ts";

/** What one client may do. */
export interface Grant {
  /** Whether it needs no credential, or shows a good one. */
  readonly known: boolean;
  /** Whether it shows a good credential, or none is needed for anything. */
  readonly trusted: boolean;
  /** May publish to this channel. */
  mayPublish(channel: string): boolean;
  /** May subscribe to this channel. */
  maySubscribe(channel: string): boolean;
  /** May list and reset channels, and read the metrics. */
  readonly mayOperate: boolean;
  /** When it ends, in milliseconds since 1970; `Infinity`: never. */
  readonly expires: number;
  /** The refusal of what it does not allow. */
  refusal(action: string): Refusal;
}

/** What who needs no token, or holds the key, may do. */
const EVERYTHING: Grant = {
  known: true,
  trusted: true,
  mayPublish: () => true,
  maySubscribe: () => true,
  mayOperate: true,
  expires: Infinity,
  refusal: unauthorized,
};

/** What a good token allows. */
class TokenGrant implements Grant {
  readonly known = true;
  readonly trusted = true;
  readonly #rights: Rights;

  constructor(rights: Rights) {
    this.#rights = rights;
  }

  mayPublish(channel: string): boolean {
    return this.#rights.publish.fit(channel);
  }

  maySubscribe(channel: string): boolean {
    return this.#rights.subscribe.fit(channel);
  }

  get mayOperate(): boolean {
    return this.#rights.operate;
  }

  get expires(): number {
    return this.#rights.expires;
  }

  refusal(action: string): Refusal {
    const reason = `the token does not allow to ${action}`;
    return new Refusal(403, "forbidden", `Not allowed to ${action}`, {
      "www-authenticate": challenge("insufficient_scope", reason),
    });
  }
}

/** What access is decided by. */
export interface AccessOptions {
  /** The key that allows everything; none: everybody may do what no token is needed for. */
  readonly publishKey?: string;
  /** What tokens are signed with; with one or more, everything needs a token or the key. */
  readonly tokenSecrets?: readonly string[];
  /**
   * Web origins allowed besides the server's own: `https://example.com`, `example.com` (any scheme
   * and port), `*.example.com` (its subdomains) or `*`.
   */
  readonly origins?: readonly string[];
}

/** Answers every question of access. */
export class Access {
  readonly #keyDigest: Uint8Array | undefined;
  readonly #tokens: Tokens | undefined;
  /** Which web pages may talk to the server. */
  readonly origins: Origins;

  /** Access with this key or these secrets, and from pages of these origins. */
  constructor({ publishKey, tokenSecrets = [], origins = [] }: AccessOptions) {
    if ([publishKey, ...tokenSecrets].some((secret) => secret?.trim() === "")) {
      throw new TypeError("Cannot guard anything with an empty key or secret");
    }
    this.#keyDigest = publishKey === undefined ? undefined : digest(publishKey);
    this.#tokens = tokenSecrets.length === 0 ? undefined : new Tokens(tokenSecrets);
    this.origins = new Origins(origins);
  }

  /** Whether everybody may publish and subscribe: there is neither a key nor a secret. */
  get open(): boolean {
    return this.#keyDigest === undefined && this.#tokens === undefined;
  }

  /**
   * Lets operators pass. Where there is no credential to show, these are the programs of this machine:
   * what comes from elsewhere or through a proxy is refused, whatever `--open` says.
   *
   * @param grant What the client may do.
   * @param peer The address at the other end of the connection.
   * @throws {Refusal} 401 or 403 for everybody else.
   */
  checkOperator(grant: Grant, request: Request, peer: string): void {
    if (!grant.mayOperate) throw grant.refusal("see this");
    if (!this.open || isLocal(peer, request)) return;
    throw new Refusal(
      403,
      "local_only",
      "Without a key or token, channels and metrics are for programs on the server's machine only, " +
        "which ask it directly and as localhost: to operate it from elsewhere, set --publish-key or " +
        "--token-secret",
    );
  }

  /**
   * What a client may do; a promise only while a token is new here.
   *
   * @param token `token=`; the `Authorization` header wins over it, and it over the cookie.
   * @param embeddable Whether any page gains by making a browser ask for this, which it can without a
   * word of its own: by a link, an image or a script. Then the cookie counts only where the browser says
   * that the page is trusted.
   */
  grant(headers: Headers, token: string | undefined, embeddable = false): Grant | Promise<Grant> {
    if (this.open) return EVERYTHING;
    const credential = bearerOf(headers) ?? token ?? this.#cookieOf(headers, embeddable);
    if (credential === undefined) return this.#stranger();
    if (this.#keyDigest !== undefined && timingSafeEqual(digest(credential), this.#keyDigest)) {
      return EVERYTHING;
    }
    if (this.#tokens === undefined) return this.#stranger("this is not the key");
    const rights = this.#tokens.read(credential);
    if (!(rights instanceof Promise)) return new TokenGrant(rights);
    return rights.then((rights) => new TokenGrant(rights), (error) => {
      if (!(error instanceof BadTokenError)) throw error;
      return this.#stranger(error.message);
    });
  }

  /** Who shows nothing good. Without tokens everybody may listen. */
  #stranger(flaw?: string): Grant {
    const mayListen = this.#tokens === undefined;
    return {
      known: mayListen,
      trusted: false,
      mayPublish: () => false,
      maySubscribe: () => mayListen,
      mayOperate: false,
      expires: Infinity,
      refusal: (action) => unauthorized(action, flaw),
    };
  }

  /**
   * The token in the cookie, unless the browser may have sent it for a page that is not trusted, or is let
   * in only as everybody is (`--origin *`): the cookie is its user's, not the page's.
   */
  #cookieOf(headers: Headers, embeddable: boolean): string | undefined {
    const cookies = headers.get("cookie");
    if (cookies === null) return undefined;
    const token = /(?:^|; ?)river_token=([^;]*)/.exec(cookies)?.[1];
    if (token === undefined || token === "") return undefined;
    return this.origins.speakFor(headers, embeddable) ? token : undefined;
  }
}

/** The token in the header `Authorization`. */
function bearerOf(headers: Headers): string | undefined {
  return /^Bearer +(.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
}

/** The refusal of who shows no credential, or one with a flaw. The body is the same for all. */
function unauthorized(action: string, flaw?: string): Refusal {
  return new Refusal(401, "unauthorized", `A key or token is needed to ${action}`, {
    "www-authenticate": challenge(flaw === undefined ? undefined : "invalid_token", flaw),
  });
}

/** The value of `WWW-Authenticate` (RFC 6750, 3). */
function challenge(error?: string, reason = ""): string {
  if (error === undefined) return 'Bearer realm="river"';
  // A quoted string may hold neither.
  const description = reason.replaceAll(/["\\]/g, "'");
  return `Bearer realm="river", error="${error}", error_description="${description}"`;
}

/** Keys of different lengths compare in the same time when their digests are compared. */
function digest(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}
