/**
 * A refusal: thrown anywhere while a request is looked at, made into a response in one place.
 *
 * @module
 */

/** Headers of what no cache may keep, and no browser may take for a script. */
export const PRIVATE = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** Seconds after which a client may try again when there was no room. */
export const RETRY_AFTER = "5";

/** Why a request is refused, for people (`message`) and for programs (`code`). */
export class HttpError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "HttpError";
  /** HTTP status of the response. */
  readonly status: number;
  /** Stable, in snake_case. */
  readonly code: string;
  /** Sent along with the response. */
  readonly headers: Record<string, string>;

  /**
   * A refusal with this status.
   *
   * @param code Stable, in snake_case.
   * @param message Names the parameter and quotes the value.
   * @param headers Sent along, for example `Allow`.
   */
  constructor(
    status: number,
    code: string,
    message: string,
    headers: Record<string, string> = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }

  /** `{"error":{"code":...,"message":...}}` and a newline. */
  toResponse(): Response {
    const { status, code, message, headers } = this;
    return new Response(JSON.stringify({ error: { code, message } }) + "\n", {
      status,
      headers: { "content-type": "application/json", ...PRIVATE, ...headers },
    });
  }
}

/** 400 for a parameter that is there, but wrong. */
export function badParameter(name: string, message: string): HttpError {
  return new HttpError(400, "bad_parameter", `Bad parameter "${name}": ${message}`);
}

/** 500 for what is nobody's fault but ours; the log knows more. */
export function internalError(): HttpError {
  return new HttpError(500, "internal_error", "Something broke; see the server's log");
}
