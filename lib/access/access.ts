/**
 * Who may publish, subscribe and operate: the key and tokens.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { quote, Refusal } from "../core/refusal.ts";
import { credentialOf } from "./credentials.ts";
import { isLocal } from "./local.ts";
import { Origins } from "./origins.ts";
import { BadTokenError, type Rights, Tokens } from "./tokens.ts";

/** What one client may do. */
export interface Grant {
  /** Whether it needs no credential, or shows a valid one. */
  readonly valid: boolean;
  /** Whether it shows a valid credential, or the server needs none at all. */
  readonly trusted: boolean;
  /** May publish to this channel. */
  mayPublish(channel: string): boolean;
  /** May subscribe to this channel. */
  maySubscribe(channel: string): boolean;
  /** May list and reset channels, and read the metrics. */
  readonly mayOperate: boolean;
  /** When it ends, in milliseconds since 1970. `Infinity`: never. */
  readonly expires: number;
  /**
   * The refusal of an action that it does not allow.
   *
   * @param action What the client wants: `publish`, for example.
   * @param channel The channel that it does not allow, if that is the reason.
   */
  refusal(action: string, channel?: string): Refusal;
}

/** The grant of a client that holds the key, or needs no credential. */
const EVERYTHING: Grant = {
  valid: true,
  trusted: true,
  mayPublish: () => true,
  maySubscribe: () => true,
  mayOperate: true,
  expires: Infinity,
  refusal: (action) => unauthorized(action),
};

/** The grant of a valid token. */
class TokenGrant implements Grant {
  readonly valid = true;
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

  refusal(action: string, channel?: string): Refusal {
    const object = channel === undefined ? "" : ` to ${quote(channel)}`;
    const reason = `The token does not allow you to ${action}${object}`;
    const code = channel === undefined ? "forbidden" : "channel_not_allowed";
    return new Refusal(403, code, reason, {
      // A header holds no more than Latin-1: the name of the channel is in the body.
      "www-authenticate": challenge(
        "insufficient_scope",
        `the token does not allow you to ${action}`,
      ),
    });
  }
}

/** The keys, secrets and origins that decide access. */
export interface AccessOptions {
  /** The key that allows everything. Without it, everybody may do what needs no token. */
  readonly publishKey?: string;
  /**
   * The secrets that tokens are signed with. If there is one, everything needs a token or the key.
   */
  readonly tokenSecrets?: readonly string[];
  /**
   * Web origins that are allowed beside the server's own: `https://example.com`, `example.com` (any
   * scheme and port), `*.example.com` (its subdomains) or `*`.
   */
  readonly origins?: readonly string[];
}

/** Decides who may do what. */
export class Access {
  #keyDigest: Uint8Array | undefined;
  #tokens: Tokens | undefined;
  /** Which web pages may talk to the server. */
  origins: Origins = new Origins([]);

  /** Access with this key or these secrets, and from pages of these origins. */
  constructor(options: AccessOptions) {
    this.replace(options);
  }

  /**
   * Decides by these keys, secrets and origins from now on. Requests under way keep the grant that they
   * have.
   */
  replace({ publishKey, tokenSecrets = [], origins = [] }: AccessOptions): void {
    if ([publishKey, ...tokenSecrets].some((secret) => secret?.trim() === "")) {
      throw new TypeError("An empty key or secret protects nothing");
    }
    // Whatever throws comes first, so that a mistake changes nothing.
    const tokens = tokenSecrets.length === 0 ? undefined : new Tokens(tokenSecrets);
    this.origins = new Origins(origins);
    this.#tokens = tokens;
    this.#keyDigest = publishKey === undefined ? undefined : digest(publishKey);
  }

  /** Whether everybody may publish and subscribe, because there is neither a key nor a secret. */
  get open(): boolean {
    return this.#keyDigest === undefined && this.#tokens === undefined;
  }

  /**
   * Admits operators. Without a key or secret, these are the programs on this machine. Requests
   * from elsewhere or through a proxy are then refused, even with `--open`.
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
   * The grant of a client. A promise only if its token is new to this process.
   *
   * @param token The parameter `token`. The `Authorization` header wins over it, and it wins over
   * the cookie.
   * @param embeddable Whether a page would gain by making a visitor's browser send this request. A
   * link, an image or a script is enough for that. The cookie then counts only if the browser says
   * that the page is trusted.
   */
  grant(headers: Headers, token: string | undefined, embeddable = false): Grant | Promise<Grant> {
    if (this.open) return EVERYTHING;
    const credential = credentialOf(headers, token, this.origins, embeddable);
    if (credential === undefined) return this.#stranger();
    if (this.#keyDigest !== undefined && timingSafeEqual(digest(credential), this.#keyDigest)) {
      return EVERYTHING;
    }
    if (this.#tokens === undefined) return this.#stranger(new BadTokenError("this is not the key"));
    const rights = this.#tokens.read(credential);
    if (!(rights instanceof Promise)) return new TokenGrant(rights);
    return rights.then((rights) => new TokenGrant(rights), (error) => {
      if (!(error instanceof BadTokenError)) throw error;
      return this.#stranger(error);
    });
  }

  /** The grant of a client without a valid credential. Without tokens everybody may subscribe. */
  #stranger(reason?: BadTokenError): Grant {
    const maySubscribe = this.#tokens === undefined;
    return {
      valid: maySubscribe,
      trusted: false,
      mayPublish: () => false,
      maySubscribe: () => maySubscribe,
      mayOperate: false,
      expires: Infinity,
      refusal: (action) => unauthorized(action, reason),
    };
  }
}

/** The refusal for a client without a credential, or with an invalid one. */
function unauthorized(action: string, reason?: BadTokenError): Refusal {
  if (reason === undefined) {
    return new Refusal(401, "missing_token", `A key or token is needed to ${action}`, {
      "www-authenticate": challenge(),
    });
  }
  const { code, message } = reason;
  return new Refusal(401, code, `Cannot ${action}: ${message}`, {
    "www-authenticate": challenge("invalid_token", message),
  });
}

/** The value of `WWW-Authenticate` (RFC 6750, 3). */
function challenge(error?: string, reason = ""): string {
  if (error === undefined) return 'Bearer realm="river"';
  // A quoted string must not hold quotes or backslashes.
  const description = reason.replaceAll(/["\\]/g, "'");
  return `Bearer realm="river", error="${error}", error_description="${description}"`;
}

/** Digests have one length, so comparing them takes the same time for all keys. */
function digest(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}
