/**
 * The rules for channel names, idempotency keys, and the type and data of a message.
 *
 * @module
 */
import { utf8Length } from "./message.ts";
import { badParameter, quote, Refusal } from "./refusal.ts";

/** Maximum length of a channel name or an idempotency key, in bytes. */
export const MAX_NAME = 255;

/**
 * Checks a channel name or an idempotency key: 1 to 255 bytes, no control characters.
 *
 * @throws {Refusal} With status 400, naming `parameter`.
 */
export function checkName(parameter: string, value: string): void {
  if (value === "") throw badParameter(parameter, "it is empty");
  // A code unit takes at most three bytes, so only long names are measured.
  const bytes = value.length * 3 > MAX_NAME ? utf8Length(value) : 0;
  if (bytes > MAX_NAME) {
    throw badParameter(parameter, `${bytes} bytes, but ${MAX_NAME} are allowed: ${quote(value)}`);
  }
  if (hasControl(value)) {
    throw badParameter(parameter, `control characters are not allowed: ${quote(value)}`);
  }
  checkUnicode(parameter, value);
}

/** Maximum length of the type of a message, in bytes. */
export const MAX_TYPE = 64;
/**
 * Event names that event streams and their clients use themselves. A client would mistake a message
 * with one of these types for a gap or a broken connection.
 */
const RESERVED_TYPES = [
  "close",
  "end",
  "error",
  "gap",
  "heartbeat",
  "message",
  "msg",
  "open",
  "ping",
];

/**
 * Checks the type of a message: 1 to 64 bytes, no control characters, no whitespace at either end,
 * and not a name that river or an event stream uses itself.
 *
 * @throws {Refusal} With status 400, naming `parameter`.
 */
export function checkType(parameter: string, value: string): void {
  checkName(parameter, value);
  const bytes = utf8Length(value);
  if (bytes > MAX_TYPE) {
    throw badParameter(parameter, `${bytes} bytes, but ${MAX_TYPE} are allowed: ${quote(value)}`);
  }
  if (value !== value.trim()) {
    throw badParameter(parameter, `it begins or ends with whitespace: ${quote(value)}`);
  }
  if (RESERVED_TYPES.includes(value.toLowerCase())) {
    throw badParameter(parameter, `${quote(value)} is a name that event streams use themselves`);
  }
}

/** Whether a text contains one of the 65 control characters, C0 or C1. */
function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  }
  return false;
}

/**
 * Checks the data of a message, which may have at most `max` bytes.
 *
 * @throws {Refusal} With status 413 if it is too large, 400 if it is not well-formed Unicode.
 */
export function checkData(parameter: string, data: string, max: number): void {
  // A code unit takes at most three bytes, so only long texts are measured.
  if (data.length * 3 > max) {
    const bytes = utf8Length(data);
    if (bytes > max) {
      throw new Refusal(
        413,
        "message_too_large",
        `Parameter "${parameter}" has ${bytes} bytes, but ${max} are allowed (--max-message)`,
      );
    }
  }
  checkUnicode(parameter, data);
}

function checkUnicode(parameter: string, value: string): void {
  if (!value.isWellFormed()) {
    throw badParameter(parameter, "it contains half a surrogate pair, which UTF-8 cannot encode");
  }
}
