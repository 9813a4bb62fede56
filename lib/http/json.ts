/**
 * JSON of strangers.
 *
 * @module
 */
import { Refusal } from "../core/refusal.ts";

/** Strings that one text may hold. */
export const MAX_STRINGS = 2000;
/** Characters that one text may have outside of its strings. */
export const MAX_SYNTAX = 64 * 1024;
/** Characters up to which a text cannot do harm, whatever is in it. */
const HARMLESS = 4096;

const QUOTE = '"'.charCodeAt(0);
const SPACE = " ".charCodeAt(0);
const BACKSLASH = "\\".charCodeAt(0);

/**
 * Parses JSON that one message, or the parameters of one request, may need.
 *
 * The runtime makes 64 bytes of two brackets, and looks up each short string in a table of which everybody
 * can know how to fill one place: a megabyte of them would cost a megabyte's time many times over.
 *
 * @throws {SyntaxError} If it is not JSON.
 * @throws {RangeError} If it holds more than `MAX_STRINGS` strings or `MAX_SYNTAX` characters around them,
 * blanks not counted.
 */
export function parseJson(text: string): unknown {
  if (text.length > HARMLESS) checkShape(text);
  return JSON.parse(text);
}

/** Counts what is in a text without parsing it. */
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

/** Where a string that starts at `start` has its second quote. */
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
    // Some editors put a byte order mark in front; JSON has no place for it.
    value = parseJson(text.startsWith("\uFEFF") ? text.slice(1) : text);
  } catch (error) {
    throw new Refusal(400, "bad_json", `Cannot parse ${what} as JSON: ${flawOf(error as Error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refusal(400, "bad_json", `Expected ${what} to be a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** What is wrong with a text that is not JSON. The runtime's own words quote it, and it may hold a token. */
function flawOf(error: Error): string {
  if (error instanceof RangeError) return error.message;
  const place = / at position [0-9]+/.exec(error.message);
  if (place !== null) return `unexpected character${place[0]}`;
  return error.message.startsWith("Unexpected end") ? "it is cut short" : "it is not valid JSON";
}
