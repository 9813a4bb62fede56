/**
 * Refusals: why a request is not carried out. Any code that handles a request may throw a refusal.
 * Each transport turns refusals into answers in one place.
 *
 * @module
 */

/** `Retry-After` of a refusal for lack of room, in seconds. */
export const RETRY_AFTER = "5";

/** Why a request is refused, for people (`message`) and for programs (`code`). */
export class Refusal extends Error {
  /** Names the error in logs and stack traces. */
  override name = "Refusal";
  /** HTTP status of the response. */
  readonly status: number;
  /** A stable identifier in snake_case. */
  readonly code: string;
  /** Headers of the response. */
  readonly headers: Record<string, string>;

  /**
   * A refusal with this status.
   *
   * @param code A stable identifier in snake_case.
   * @param message Names the parameter and quotes the value.
   * @param headers Headers of the response, for example `Allow`.
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

/** A refusal with status 400, for a parameter that is given but wrong. */
export function badParameter(name: string, message: string): Refusal {
  return new Refusal(400, "bad_parameter", `Bad parameter "${name}": ${message}`);
}

/** A refusal with status 500, for a fault of the server. The log has the details. */
export function internalError(): Refusal {
  return new Refusal(500, "internal_error", "Internal error, see the server's log");
}

/** A value as error messages show it: quoted, escaped, and cut if it is long. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 64 ? value.slice(0, 64) + "…" : value);
}
