/**
 * Parses JSON from clients that may mean harm.
 *
 * @module
 */
import { Refusal } from "../core/refusal.ts";

/** The most strings in one text. */
export const MAX_STRINGS = 2000;
/** The most characters outside of strings in one text. */
export const MAX_SYNTAX = 64 * 1024;
/** The longest text that is harmless whatever it contains, in characters. */
const HARMLESS_LENGTH = 4096;

const QUOTE = '"'.charCodeAt(0);
const SPACE = " ".charCodeAt(0);
const BACKSLASH = "\\".charCodeAt(0);
const OPENING = "[".charCodeAt(0);
const CLOSING = "]".charCodeAt(0);
/** The bit that a brace has and its bracket has not. */
const BRACE = "{".charCodeAt(0) - OPENING;
/** Length of a character that is escaped by its number. */
const ESCAPED_LENGTH = "\\u0000".length;

/**
 * Parses the JSON of one message, or of the parameters of one request.
 *
 * The runtime takes 64 bytes for two brackets. It also looks up each short string in a hash table
 * whose hash function is known. So a megabyte of brackets takes many times its size in memory, and
 * a megabyte of strings with equal hashes takes many times the usual time.
 *
 * @throws {SyntaxError} If the text is not JSON.
 * @throws {RangeError} If it contains more than `MAX_STRINGS` strings, or more than `MAX_SYNTAX`
 * characters outside of strings. Whitespace does not count.
 */
export function parseJson(text: string): unknown {
  if (text.length > HARMLESS_LENGTH) checkShape(text);
  return JSON.parse(text);
}

/** Counts the strings of a text, and the characters outside of them, without parsing it. */
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

/** The text without a byte order mark, which some editors write and JSON does not allow. */
export function withoutMark(text: string): string {
  return text.startsWith("\uFEFF") ? text.slice(1) : text;
}

/**
 * The first character of the value of a member of an object, found without parsing the text. If there
 * are several such members, the last one counts, as for the parser. Undefined if there is none.
 */
export function startOfMember(text: string, name: string): string | undefined {
  if (text[next(text, 0)] !== "{") return undefined;
  let depth = 0;
  let start: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(text, at);
      const found = depth === 1 && isName(text, at + 1, end, name);
      at = end;
      if (!found) continue;
      // A string is the name of a member if a colon follows it.
      const colon = next(text, end + 1);
      if (text[colon] === ":") start = text[next(text, colon + 1)];
      at = colon - 1;
    } else if ((code & ~BRACE) === OPENING) depth++;
    else if ((code & ~BRACE) === CLOSING) depth--;
  }
  return start;
}

/**
 * Whether the text from `at` to `end` is this name, which has only letters. Any of them may be
 * escaped. The runtime's parser would look each text up in a hash table.
 */
function isName(text: string, at: number, end: number, name: string): boolean {
  for (const letter of name) {
    if (text[at] === letter) at++;
    else if (escapedAt(text, at) === letter.charCodeAt(0)) at += ESCAPED_LENGTH;
    else return false;
  }
  return at === end;
}

/** The number of the character that is escaped at this place. Not a number if none is. */
function escapedAt(text: string, at: number): number {
  return text.startsWith("\\u", at) ? parseInt(text.slice(at + 2, at + ESCAPED_LENGTH), 16) : NaN;
}

/** The index of the next character that is not whitespace. */
function next(text: string, at: number): number {
  while (text.charCodeAt(at) <= SPACE) at++;
  return at;
}

/**
 * Parses a JSON object.
 *
 * @param what The name of the text in the error message.
 * @throws {Refusal} 400 if the text is not JSON, is not an object, or contains too much.
 */
export function parseObject(text: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(withoutMark(text));
  } catch (error) {
    throw new Refusal(400, "bad_json", `Cannot parse ${what} as JSON: ${reasonOf(error as Error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refusal(400, "bad_json", `Expected ${what} to be a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** Why a text is not JSON. The runtime's own message quotes the text, which may contain a token. */
function reasonOf(error: Error): string {
  if (error instanceof RangeError) return error.message;
  const place = / at position [0-9]+/.exec(error.message);
  if (place !== null) return `unexpected character${place[0]}`;
  return error.message.startsWith("Unexpected end") ? "it is cut short" : "it is not valid JSON";
}
