/**
 * JSON that comes from strangers.
 *
 * @module
 */
import { Refusal } from "../core/refusal.ts";

/** Most strings in one text. */
export const MAX_STRINGS = 2000;
/** Most characters outside of strings in one text. */
export const MAX_SYNTAX = 64 * 1024;
/** A text of at most so many characters can do no harm, whatever it holds. */
const HARMLESS = 4096;

const QUOTE = '"'.charCodeAt(0);
const SPACE = " ".charCodeAt(0);
const BACKSLASH = "\\".charCodeAt(0);

/**
 * Parses the JSON of one message, or of the parameters of one request.
 *
 * The runtime takes 64 bytes for two brackets, and looks up each short string in a hash table with
 * a known hash. So a megabyte of brackets, or of strings that hash alike, would take many times the
 * memory or time of a megabyte.
 *
 * @throws {SyntaxError} If it is not JSON.
 * @throws {RangeError} If it holds more than `MAX_STRINGS` strings, or `MAX_SYNTAX` characters
 * outside of them. Blanks do not count.
 */
export function parseJson(text: string): unknown {
  if (text.length > HARMLESS) checkShape(text);
  return JSON.parse(text);
}

/** Counts the strings and other characters of a text without parsing it. */
function checkShape(text: string): void {
  let strings = 0;
  let syntax = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      if (++strings > MAX_STRINGS) throw new RangeError(`it has more than ${MAX_STRINGS} strings`);
      at = endOfString(text, at);
    } else if (code > SPACE && ++syntax > MAX_SYNTAX) {
      throw new RangeError(`it has more than ${MAX_SYNTAX} characters outside of strings`);
    }
  }
}

/** The index of the closing quote of a string that starts at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  return text.length;
}

/**
 * Parses a JSON object.
 *
 * @param what Names the text in the error.
 * @throws {Refusal} 400 if it is not JSON, not an object, or has too much in it.
 */
export function parseObject(text: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    // Some editors put a byte order mark in front. JSON does not allow it.
    value = parseJson(text.startsWith("\uFEFF") ? text.slice(1) : text);
  } catch (error) {
    throw new Refusal(400, "bad_json", `Cannot parse ${what} as JSON: ${reasonOf(error as Error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refusal(400, "bad_json", `Expected ${what} to be a JSON object`);
  }
  return value as Record<string, unknown>;
}

/**
 * Why a text is not JSON. The message of the runtime would quote the text, which may hold a token.
 */
function reasonOf(error: Error): string {
  if (error instanceof RangeError) return error.message;
  const place = / at position [0-9]+/.exec(error.message);
  if (place !== null) return `unexpected character${place[0]}`;
  return error.message.startsWith("Unexpected end") ? "it is cut short" : "it is not valid JSON";
}
