/**
 * Why something is not done. A refusal is thrown anywhere while a request is looked at, and made into
 * a response or a line in one place per transport.
 *
 * @module
 */

/** Seconds after which a client may try again when there was no room. */
export const RETRY_AFTER = "5";

/** Why a request is refused, for people (`message`) and for programs (`code`). */
export class Refusal extends Error {
  /** Names the error in logs and stack traces. */
  override name = "Refusal";
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
}

/** 400 for a parameter that is there, but wrong. */
export function badParameter(name: string, message: string): Refusal {
  return new Refusal(400, "bad_parameter", `Bad parameter "${name}": ${message}`);
}

/** 500 for what is nobody's fault but ours; the log knows more. */
export function internalError(): Refusal {
  return new Refusal(500, "internal_error", "Something broke; see the server's log");
}

/** A value as an error message shows it: quoted, escaped, and cut when it is long. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 64 ? value.slice(0, 64) + "…" : value);
}
