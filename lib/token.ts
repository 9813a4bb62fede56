/**
 * Tokens: JSON Web Tokens (RFC 7519) signed with HS256, made and read.
 *
 * @module
 */
import { errors, jwtVerify, SignJWT } from "jose";

/**
 * What a token allows. A pattern is the name of a channel, or a prefix of names and `*`. In the token
 * it is the claim `river`, and the time is the claim `exp` in seconds.
 */
export interface Claims {
  /** Patterns of the channels that may be published to. */
  readonly publish: readonly string[];
  /** Patterns of the channels that may be subscribed to. */
  readonly subscribe: readonly string[];
  /** Whether channels and metrics may be seen, and channels reset. */
  readonly operate: boolean;
  /** When all this ends, in milliseconds since 1970; `Infinity`: never. */
  readonly expires: number;
}

/** A token that allows nothing; the message says why, and nothing of what is in it. */
export class BadTokenError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "BadTokenError";
}

/** Bytes that a secret must have: as many as the hash (RFC 7518, 3.2). */
export const MIN_SECRET = 32;
/** Characters that a token may have. */
const MAX_TOKEN = 8192;
/** Good tokens remembered, so that they need not be verified again. */
const MAX_KNOWN = 4096;

const utf8 = new TextEncoder();

/** Reads tokens signed with any of a few secrets, so that one can take the place of another. */
export class Tokens {
  readonly #secrets: readonly Uint8Array[];
  /** Good ones, oldest first. */
  readonly #known = new Map<string, Claims>();

  /** Reads what is signed with one of these secrets. */
  constructor(secrets: readonly string[]) {
    this.#secrets = secrets.map((secret) => utf8.encode(secret));
  }

  /**
   * What a token allows: at once if it is known, else a promise.
   *
   * @throws {BadTokenError} Only by rejecting.
   */
  read(token: string): Claims | Promise<Claims> {
    const known = this.#known.get(token);
    if (known !== undefined && known.expires > Date.now()) return known;
    return this.#verify(token);
  }

  async #verify(token: string): Promise<Claims> {
    if (token.length > MAX_TOKEN) {
      throw new BadTokenError(`the token has more than ${MAX_TOKEN} characters`);
    }
    const claims = await this.#signedClaims(token);
    this.#known.delete(token);
    this.#known.set(token, claims);
    if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    return claims;
  }

  async #signedClaims(token: string): Promise<Claims> {
    let failure: unknown;
    for (const secret of this.#secrets) {
      try {
        // Compares the signature in constant time: that is the crypto API's own.
        const { payload } = await jwtVerify(token, secret, { algorithms: ["HS256"] });
        return claimsOf(payload.river, payload.exp);
      } catch (error) {
        failure = error;
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    if (failure instanceof errors.JOSEError) throw new BadTokenError(reasonOf(failure));
    throw failure;
  }
}

/**
 * Makes a token.
 *
 * @param secret At least `MIN_SECRET` bytes.
 */
export function mintToken(secret: string, claims: Claims): Promise<string> {
  const { expires, ...river } = claims;
  const token = new SignJWT({ river }).setProtectedHeader({ alg: "HS256", typ: "JWT" });
  if (expires < Infinity) token.setExpirationTime(Math.floor(expires / 1000));
  return token.sign(utf8.encode(secret));
}

/** Whether one of the patterns stands for the channel. */
export function allows(patterns: readonly string[], channel: string): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith("*") ? channel.startsWith(pattern.slice(0, -1)) : channel === pattern
  );
}

/** Takes the claim apart; a mistake in it must not allow more than was meant. */
function claimsOf(river: unknown, exp: number | undefined): Claims {
  if (typeof river !== "object" || river === null) {
    throw new BadTokenError('the token has no claim "river" that is an object');
  }
  const { publish = [], subscribe = [], operate = false } = river as Record<string, unknown>;
  if (!isTexts(publish)) throw new BadTokenError('"publish" in the token is no list of texts');
  if (!isTexts(subscribe)) throw new BadTokenError('"subscribe" in the token is no list of texts');
  if (typeof operate !== "boolean") {
    throw new BadTokenError('"operate" in the token is not true or false');
  }
  return { publish, subscribe, operate, expires: exp === undefined ? Infinity : exp * 1000 };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "the token has expired";
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return "the token is not signed with a secret of this server";
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return "the token is not signed with HS256";
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === "nbf" && error.reason === "check_failed"
      ? "the token is not valid yet"
      : "a time in the token is no number";
  }
  return "this is no token";
}
