/**
 * Why something is not done. Any code that handles a request may throw a refusal. Each transport
 * turns refusals into answers in one place.
 *
 * @module
 */

/** `Retry-After` when there was no room, in seconds. */
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

/** 400 for a parameter that is given, but wrong. */
export function badParameter(name: string, message: string): Refusal {
  return new Refusal(400, "bad_parameter", `Bad parameter "${name}": ${message}`);
}

/** 500 for a fault of the server. The log has the details. */
export function internalError(): Refusal {
  return new Refusal(500, "internal_error", "Internal error, see the server's log");
}

/** A value as error messages show it: quoted, escaped, and cut if it is long. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 64 ? value.slice(0, 64) + "…" : value);
}
