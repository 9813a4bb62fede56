/**
 * Texts as the database keeps them.
 *
 * The runtime writes any text, but reads it up to the first U+0000 only (Deno 2.9.6). So a text that contains
 * that character is kept as its bytes.
 *
 * @module
 */

const encoder = new TextEncoder();
// By default, it would take U+FEFF at the start for a mark of the encoding.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A text, or its bytes in UTF-8. */
export type Stored = string | Uint8Array;

/** What to write for a text. */
export function stored(text: string): Stored {
  return text.includes("\0") ? encoder.encode(text) : text;
}

/** The text that was written so. */
export function textOf(value: Stored): string {
  return typeof value === "string" ? value : decoder.decode(value);
}
