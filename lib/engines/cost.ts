/**
 * How many bytes of memory history takes in the runtime. `tests/engines/cost_test.ts` measures it.
 *
 * @module
 */
import { utf8Length } from "../core/message.ts";
import type { KeptMessage } from "./history.ts";

/**
 * Bytes that a kept message takes in addition to its data: the object, its slot and the header of
 * the text.
 */
export const MESSAGE_OVERHEAD = 128;

/** Bytes that a channel takes in addition to its name and its messages. */
const CHANNEL_OVERHEAD = 224;

/**
 * Bytes that the characters of a text take: one each, or two each if any of them is not Latin-1.
 *
 * @param bytes Length of the text in UTF-8 bytes. It equals `text.length` if all characters are
 * ASCII.
 */
export function heldBytes(text: string, bytes: number): number {
  return bytes === text.length || !/[^\0-\xff]/.test(text) ? text.length : 2 * text.length;
}

/** Bytes that a channel takes without its messages. Its name is held twice, once as a key. */
export function channelCost(name: string): number {
  return CHANNEL_OVERHEAD + 2 * heldBytes(name, utf8Length(name));
}

/** A text that several kept messages share. It counts once, as long as any of them is kept. */
export class SharedText {
  /** Bytes that the text takes. */
  readonly held: number;
  /** How many kept messages share it. */
  keepers = 0;

  /** A text of `held` bytes that no message shares yet. */
  constructor(held: number) {
    this.held = held;
  }
}

/** Totals over all histories of an engine. */
export class Holdings {
  /** Gets every message that a history forgets. */
  readonly onEvict: ((message: KeptMessage) => void) | undefined;
  /** Number of messages. */
  messages = 0;
  /** UTF-8 bytes of their data. */
  bytes = 0;
  /** Bytes of memory that they take. */
  held = 0;

  /** Nothing yet. */
  constructor(onEvict?: (message: KeptMessage) => void) {
    this.onEvict = onEvict;
  }
}
