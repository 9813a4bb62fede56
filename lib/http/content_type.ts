/**
 * Reads the declared type and encoding of a body, and decodes its text.
 *
 * @module
 */
import { quote, Refusal } from "../core/refusal.ts";

/** The type of a body. */
export interface Content {
  /** The media type, in lower case and without parameters. Empty if none is given. */
  readonly type: string;
  /** The name of the character encoding, as `TextDecoder` spells it. */
  readonly charset: string;
}

const UTF8 = "utf-8";
const lenientUtf8 = new TextDecoder(UTF8, { ignoreBOM: true });
const strictUtf8 = new TextDecoder(UTF8, { fatal: true, ignoreBOM: true });

/**
 * Reads `Content-Type` and `Content-Encoding`.
 *
 * @throws {Refusal} 415 if the body is compressed, or its character encoding is unknown.
 */
export function contentOf(headers: Headers): Content {
  const coding = headers.get("content-encoding");
  if (coding !== null && !/^(?:[\s,]|identity)*$/i.test(coding)) {
    throw new Refusal(
      415,
      "unsupported_encoding",
      `Cannot read the content encoding ${quote(coding)}: send the body uncompressed`,
      { "accept-encoding": "identity" },
    );
  }
  const header = headers.get("content-type") ?? "";
  const end = header.indexOf(";");
  if (end < 0) return { type: header.trim().toLowerCase(), charset: UTF8 };
  const type = header.slice(0, end).trim().toLowerCase();
  return { type, charset: charsetOf(header.slice(end)) };
}

/**
 * Refuses a body with a `Transfer-Encoding` other than `chunked`. The runtime decodes only the
 * chunks, so the body would stay compressed.
 *
 * @throws {Refusal} 415 if there is another transfer encoding.
 */
export function checkTransfer(headers: Headers): void {
  const coding = headers.get("transfer-encoding")?.trim() ?? "chunked";
  if (coding.toLowerCase() === "chunked") return;
  throw new Refusal(
    415,
    "unsupported_encoding",
    `Cannot read the transfer encoding ${quote(coding)}: send the body uncompressed`,
    { "accept-encoding": "identity" },
  );
}

/** The type of a form. */
export const FORM = "application/x-www-form-urlencoded";
/** The type of a JSON object. */
export const JSON_OBJECT = "application/json";
/** The type of one JSON object per line, as river recommends it. */
export const NDJSON = "application/x-ndjson";
/**
 * The types of a body with one JSON object per line. No such type is registered, so clients use
 * several.
 */
const JSON_LINES: readonly string[] = [
  NDJSON,
  "application/ndjson",
  "application/jsonl",
  "application/x-jsonlines",
  "application/jsonlines",
];

/** Whether a body of this type holds one JSON object per line. */
export function isJsonLines(type: string): boolean {
  return JSON_LINES.includes(type);
}

/** Whether a body of this type is JSON, which may contain parameters. */
export function isJson(type: string): boolean {
  return type === JSON_OBJECT;
}

/** Whether a body of this type can contain parameters, and so a token. */
export function mayHoldToken(headers: Headers): boolean {
  try {
    checkTransfer(headers);
    const { type } = contentOf(headers);
    return type === FORM || type === JSON_OBJECT;
  } catch {
    return false;
  }
}

/** The character encoding in the parameters of a `Content-Type`. UTF-8 if none is given. */
function charsetOf(parameters: string): string {
  const [, quoted, bare] = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;"]*))/i.exec(parameters) ?? [];
  const label = quoted ?? bare ?? "";
  if (label === "" || /^utf-?8$/i.test(label)) return UTF8;
  try {
    return new TextDecoder(label).encoding;
  } catch {
    throw new Refusal(
      415,
      "unsupported_charset",
      `Cannot read the character encoding ${quote(label)}: send UTF-8`,
    );
  }
}

/**
 * Decodes a body. In UTF-8, a byte order mark is part of the text. In UTF-16, it is not.
 *
 * @throws {Refusal} 400 if the bytes are not valid in this encoding.
 */
export function textOf(bytes: Uint8Array, charset: string): string {
  try {
    if (charset !== UTF8) {
      return new TextDecoder(actual(charset, bytes), { fatal: true }).decode(bytes);
    }
    // The lenient decoder is up to ten times faster. It writes U+FFFD for bytes that are not UTF-8,
    // and only then is the strict one needed.
    const text = lenientUtf8.decode(bytes);
    return text.includes("\uFFFD") ? strictUtf8.decode(bytes) : text;
  } catch {
    throw new Refusal(
      400,
      "bad_encoding",
      charset === UTF8
        ? 'The body is not UTF-8: name another encoding in Content-Type, like "charset=iso-8859-1"'
        : `The body is not ${charset}, as its Content-Type says`,
    );
  }
}

/**
 * The encoding to decode with. If the label is `utf-16`, a byte order mark at the start gives the
 * byte order (RFC 2781, 4.3).
 */
function actual(charset: string, bytes: Uint8Array): string {
  return charset === "utf-16le" && bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : charset;
}
