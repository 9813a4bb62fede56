/**
 * Makes and reads tokens: JSON Web Tokens (RFC 7519) signed with HS256.
 *
 * @module
 */
import { errors, jwtVerify, SignJWT } from "jose";
import { Recents } from "../base/recents.ts";
import { Patterns } from "./patterns.ts";

/**
 * The rights that a token states. A pattern is the name of a channel, or a prefix of names followed
 * by `*`. In the token, the claim `river` holds everything except `expires`, which is the claim
 * `exp`, in seconds.
 */
export interface Claims {
  /** Patterns of channels that it allows publishing to. */
  readonly publish: readonly string[];
  /** Patterns of channels that it allows subscribing to. */
  readonly subscribe: readonly string[];
  /** Whether it allows reading channels and metrics, and resetting channels. */
  readonly operate: boolean;
  /** When it expires, in milliseconds since 1970. `Infinity`: never. */
  readonly expires: number;
}

/** The rights of a verified token. */
export interface Rights {
  /** Channels that it allows publishing to. */
  readonly publish: Patterns;
  /** Channels that it allows subscribing to. */
  readonly subscribe: Patterns;
  /** Whether it allows reading channels and metrics, and resetting channels. */
  readonly operate: boolean;
  /** When it expires, including the leeway, in milliseconds since 1970. `Infinity`: never. */
  readonly expires: number;
  /** Which secret it is signed with: one of `Tokens.vouchers`. */
  readonly voucher: string;
}

/** A token that is not valid. The message says why, and quotes no part of the token. */
export class BadTokenError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "BadTokenError";
  /** A stable identifier in snake_case. */
  readonly code: "bad_token" | "token_expired";

  /** An error with this message and code. */
  constructor(message: string, code: "bad_token" | "token_expired" = "bad_token") {
    super(message);
    this.code = code;
  }
}

/** The fewest bytes in a secret: as many as the hash has (RFC 7518, 3.2). */
export const MIN_SECRET = 32;
/** The most characters in a token. */
export const MAX_TOKEN = 8192;
/** The most patterns in a token, those for publishing and for subscribing together. */
export const MAX_PATTERNS = 1000;
/** How far the clock of the machine that made a token may differ from ours, in seconds. */
export const LEEWAY_S = 5;
/** The most valid tokens that are remembered, so that they need not be verified again. */
const MAX_VERIFIED = 4096;

const utf8 = new TextEncoder();

/**
 * Reads tokens that are signed with one of several secrets. While a new secret replaces an old one,
 * both are valid.
 */
export class Tokens {
  /** One text per secret. All tokens that are signed with a secret share its text. */
  readonly vouchers: readonly string[];
  readonly #secrets: readonly Uint8Array[];
  /** The rights of tokens that were verified. */
  readonly #verified = new Recents<string, Rights>(MAX_VERIFIED);

  /**
   * Reads tokens that are signed with one of these secrets.
   *
   * @throws {TypeError} If a secret is shorter than `MIN_SECRET` bytes.
   */
  constructor(secrets: readonly string[]) {
    this.vouchers = secrets.map((secret) => `secret ${secret}`);
    this.#secrets = secrets.map((secret) => utf8.encode(secret));
    if (this.#secrets.some(({ length }) => length < MIN_SECRET)) {
      throw new TypeError(`Bad token secret: expected ${MIN_SECRET} bytes or more`);
    }
  }

  /**
   * The rights of a token. Returns a promise unless the token is remembered.
   *
   * @throws {BadTokenError} By rejecting, never by throwing, if the token is not valid.
   */
  read(token: string): Rights | Promise<Rights> {
    const known = this.#verified.get(token);
    if (known !== undefined && known.expires > Date.now()) return known;
    return this.#verify(token);
  }

  async #verify(token: string): Promise<Rights> {
    checkLength(token);
    const rights = await this.#signedRights(token);
    this.#verified.set(token, rights);
    return rights;
  }

  async #signedRights(token: string): Promise<Rights> {
    const options = { algorithms: ["HS256"], clockTolerance: LEEWAY_S };
    let failure: unknown;
    for (const [i, secret] of this.#secrets.entries()) {
      try {
        // The crypto API compares the signature in constant time.
        const { payload } = await jwtVerify(token, secret, options);
        return { ...rightsOf(payload.river, payload.exp), voucher: this.vouchers[i] };
      } catch (error) {
        failure = error;
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    if (failure instanceof errors.JWTExpired) {
      throw new BadTokenError("the token has expired", "token_expired");
    }
    if (failure instanceof errors.JOSEError) throw new BadTokenError(reasonOf(failure));
    throw failure;
  }
}

/**
 * Makes a token.
 *
 * @param secret Must have at least `MIN_SECRET` bytes.
 * @throws {BadTokenError} By rejecting, if the token would be too long or list too many channels.
 */
export async function mintToken(secret: string, claims: Claims): Promise<string> {
  const { expires, ...river } = claims;
  checkCount(river.publish.length + river.subscribe.length);
  const jwt = new SignJWT({ river }).setProtectedHeader({ alg: "HS256", typ: "JWT" });
  if (expires < Infinity) jwt.setExpirationTime(Math.floor(expires / 1000));
  const token = await jwt.sign(utf8.encode(secret));
  checkLength(token);
  return token;
}

function checkLength(token: string): void {
  if (token.length <= MAX_TOKEN) return;
  throw new BadTokenError(`the token has more than ${MAX_TOKEN} characters`);
}

function checkCount(patterns: number): void {
  if (patterns <= MAX_PATTERNS) return;
  throw new BadTokenError(
    `the token lists ${patterns} channels, but at most ${MAX_PATTERNS} are allowed`,
  );
}

/** Reads the claims. A malformed claim is an error, so that it never allows more than was meant. */
function rightsOf(river: unknown, exp: number | undefined): Omit<Rights, "voucher"> {
  if (typeof river !== "object" || river === null) {
    throw new BadTokenError('the claim "river" of the token is not an object');
  }
  const { publish = [], subscribe = [], operate = false } = river as Record<string, unknown>;
  if (!isTexts(publish)) throw new BadTokenError('"publish" in the token is not a list of strings');
  if (!isTexts(subscribe)) {
    throw new BadTokenError('"subscribe" in the token is not a list of strings');
  }
  if (typeof operate !== "boolean") {
    throw new BadTokenError('"operate" in the token is not true or false');
  }
  checkCount(publish.length + subscribe.length);
  return {
    publish: new Patterns(publish),
    subscribe: new Patterns(subscribe),
    operate,
    expires: exp === undefined ? Infinity : (exp + LEEWAY_S) * 1000,
  };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return "the token is not signed with a secret of this server";
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return "the token is not signed with HS256";
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === "nbf" && error.reason === "check_failed"
      ? "the token is not valid yet"
      : "a time in the token is not a number";
  }
  return "this is not a token";
}
