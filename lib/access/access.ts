/**
 * Decides who may publish, subscribe and operate: by the key or by tokens.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { quote, Refusal } from "../core/refusal.ts";
import { credentialOf } from "./credentials.ts";
import { isLocal } from "./local.ts";
import { Origins } from "./origins.ts";
import { BadTokenError, type Rights, Tokens } from "./tokens.ts";

/** The rights of one client. */
export interface Grant {
  /** Whether the client needs no credential, or shows a valid one. */
  readonly valid: boolean;
  /** Whether the client shows a valid credential, or the server has neither a key nor a secret. */
  readonly trusted: boolean;
  /** Whether the client may publish to this channel. */
  mayPublish(channel: string): boolean;
  /** Whether the client may subscribe to this channel. */
  maySubscribe(channel: string): boolean;
  /** Whether the client may list and reset channels, and read the metrics. */
  readonly mayOperate: boolean;
  /** When the grant expires, in milliseconds since 1970. `Infinity`: never. */
  readonly expires: number;
  /** What the grant rests on: a key, a secret, or that none is needed. See `Access.vouches`. */
  readonly voucher: string;
  /**
   * The refusal of an action that the grant does not allow.
   *
   * @param action A verb for the message, for example `publish`.
   * @param channel The channel that the grant does not cover, if that is the reason.
   */
  refusal(action: string, channel?: string): Refusal;
}

/** The voucher of clients that show nothing valid, on a server where anybody may subscribe. */
const ANYBODY = "anybody";

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

  get voucher(): string {
    return this.#rights.voucher;
  }

  refusal(action: string, channel?: string): Refusal {
    const object = channel === undefined ? "" : ` to ${quote(channel)}`;
    const reason = `The token does not allow you to ${action}${object} (--token-secret)`;
    const code = channel === undefined ? "forbidden" : "channel_not_allowed";
    return new Refusal(403, code, reason, {
      // A header can hold only Latin-1, so the channel's name is in the body alone.
      "www-authenticate": challenge(
        "insufficient_scope",
        `the token does not allow you to ${action}`,
      ),
    });
  }
}

/** The keys, secrets and origins that decide access. */
export interface AccessOptions {
  /** The key that allows everything. Without it, anybody may do what needs no token. */
  readonly publishKey?: string;
  /**
   * The secrets that tokens are signed with. With at least one secret, everything needs a token or
   * the key.
   */
  readonly tokenSecrets?: readonly string[];
  /**
   * Web origins that are allowed in addition to the server's own: `https://example.com`,
   * `example.com` (any scheme and port), `*.example.com` (its subdomains) or `*`.
   */
  readonly origins?: readonly string[];
}

/** Turns credentials into grants. */
export class Access {
  #keyDigest: Uint8Array | undefined;
  #tokens: Tokens | undefined;
  /** The grant of a client that holds the key. */
  #keyGrant = fullGrant("");
  /**
   * The grant of every client while there is neither a key nor a secret. A socket may keep it for
   * longer, so it allows nothing but reading once there is one of them.
   */
  readonly #openGrant: Grant = { ...fullGrant(ANYBODY), mayPublish: () => this.open };
  /** Which web pages may talk to the server. */
  origins: Origins = new Origins([]);

  /**
   * Access with these keys, secrets and origins.
   *
   * @throws {TypeError} If a key or secret is empty, or a secret is too short.
   */
  constructor(options: AccessOptions) {
    this.replace(options);
  }

  /**
   * Replaces the key, the secrets and the origins. Whoever keeps a grant for longer must ask
   * `vouches` afterwards.
   *
   * @throws {TypeError} If a key or secret is empty, or a secret is too short.
   */
  replace({ publishKey, tokenSecrets = [], origins = [] }: AccessOptions): void {
    if ([publishKey, ...tokenSecrets].some((secret) => secret?.trim() === "")) {
      throw new TypeError("A key or secret must not be empty");
    }
    // Do first what may throw, so that a mistake changes nothing.
    const tokens = tokenSecrets.length === 0 ? undefined : new Tokens(tokenSecrets);
    this.origins = new Origins(origins);
    this.#tokens = tokens;
    this.#keyDigest = publishKey === undefined ? undefined : digest(publishKey);
    this.#keyGrant = fullGrant(`key ${publishKey}`);
  }

  /** Whether a grant that rests on this is still good: the key or secret has not been replaced. */
  vouches(voucher: string): boolean {
    if (voucher === ANYBODY) return this.#tokens === undefined;
    if (this.#tokens?.vouchers.includes(voucher)) return true;
    return this.#keyDigest !== undefined && voucher === this.#keyGrant.voucher;
  }

  /** Whether anybody may publish and subscribe, because there is neither a key nor a secret. */
  get open(): boolean {
    return this.#keyDigest === undefined && this.#tokens === undefined;
  }

  /**
   * Checks that a client is an operator. Without a key or secret, every program on this machine is
   * one. Requests from elsewhere or through a proxy are then refused, even with `--open`.
   *
   * @param peer The address at the other end of the connection.
   * @throws {Refusal} 401 or 403 if the client is not an operator.
   */
  checkOperator(grant: Grant, request: Request, peer: string): void {
    if (!grant.mayOperate) throw grant.refusal("see this");
    if (!this.open || isLocal(peer, request)) return;
    throw new Refusal(
      403,
      "local_only",
      "Without --publish-key or --token-secret, only a program on the server's machine may see " +
        "this, by a direct request to localhost: set one of them to operate river from elsewhere",
    );
  }

  /**
   * The grant of a client. Returns a promise only if this process has not verified the token yet.
   *
   * @param token The parameter `token`. The `Authorization` header takes precedence over it, and it
   * takes precedence over the cookie.
   * @param embeddable Whether a page could profit from making a visitor's browser send this
   * request. A link, an image or a script is enough to send it. So the cookie counts only if the
   * browser states that the page is trusted.
   */
  grant(headers: Headers, token: string | undefined, embeddable = false): Grant | Promise<Grant> {
    if (this.open) return this.#openGrant;
    const credential = credentialOf(headers, token, this.origins, embeddable);
    if (credential === undefined) return this.#untrustedGrant();
    if (this.#keyDigest !== undefined && timingSafeEqual(digest(credential), this.#keyDigest)) {
      return this.#keyGrant;
    }
    const tokens = this.#tokens;
    if (tokens === undefined) {
      return this.#untrustedGrant(new BadTokenError("this is not the key"));
    }
    const rights = tokens.read(credential);
    if (!(rights instanceof Promise)) return new TokenGrant(rights);
    return rights.then((rights) => {
      // The secrets may have been replaced meanwhile.
      return tokens === this.#tokens
        ? new TokenGrant(rights)
        : this.grant(headers, token, embeddable);
    }, (error) => {
      if (!(error instanceof BadTokenError)) throw error;
      return this.#untrustedGrant(error);
    });
  }

  /** The grant of a client without a valid credential. Without secrets, anybody may subscribe. */
  #untrustedGrant(reason?: BadTokenError): Grant {
    const maySubscribe = this.#tokens === undefined;
    return {
      valid: maySubscribe,
      trusted: false,
      mayPublish: () => false,
      maySubscribe: () => maySubscribe,
      mayOperate: false,
      expires: Infinity,
      voucher: ANYBODY,
      refusal: (action) =>
        unauthorized(action, reason, maySubscribe ? "--publish-key" : "--token-secret"),
    };
  }
}

/** A grant that allows everything. */
function fullGrant(voucher: string): Grant {
  return {
    valid: true,
    trusted: true,
    mayPublish: () => true,
    maySubscribe: () => true,
    mayOperate: true,
    expires: Infinity,
    voucher,
    refusal: (action) => unauthorized(action),
  };
}

/**
 * The refusal for a client without a credential, or with an invalid one.
 *
 * @param reason Why the credential is not valid.
 * @param option The option that rules it.
 */
function unauthorized(action: string, reason?: BadTokenError, option = ""): Refusal {
  if (reason === undefined) {
    // Which of the options is set is not for a stranger.
    const message = `A key or token is needed to ${action} (--publish-key, --token-secret)`;
    return new Refusal(401, "missing_token", message, { "www-authenticate": challenge() });
  }
  const { code, message } = reason;
  return new Refusal(401, code, `Cannot ${action}: ${message} (${option})`, {
    "www-authenticate": challenge("invalid_token", message),
  });
}

/** The value of `WWW-Authenticate` (RFC 6750, 3). */
function challenge(error?: string, reason = ""): string {
  if (error === undefined) return 'Bearer realm="river"';
  // `error_description` must not contain quotes or backslashes.
  const description = reason.replaceAll(/["\\]/g, "'");
  return `Bearer realm="river", error="${error}", error_description="${description}"`;
}

/** The digest of a key. All digests have the same length, so comparing them takes constant time. */
function digest(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}
