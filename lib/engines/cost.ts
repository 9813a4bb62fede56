/**
 * How many bytes of memory history takes in the runtime. `tests/engines/cost_test.ts` measures it.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";
import { BatchTooLargeError, type Publication } from "../core/engine.ts";
import { utf8Length } from "../core/message.ts";

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
  /** Number of messages. */
  messages = 0;
  /** UTF-8 bytes of their data. */
  bytes = 0;
  /** Bytes of memory that they take. */
  held = 0;
}

/**
 * Checks that the messages of one request take no more than their share of memory.
 *
 * @param maxBytes Maximum number of bytes that they may take if all are kept.
 * @param isKnown Whether a channel is already counted, so that it adds no cost.
 * @throws {BatchTooLargeError} If they would take more.
 */
export function checkShare(
  publications: readonly Publication[],
  maxBytes: number,
  isKnown: (channel: string) => boolean,
): void {
  // An upper bound that does not read the texts. For nearly all requests it is far below the limit.
  let bound = publications.length * (MESSAGE_OVERHEAD + channelCost(""));
  for (const { channel, data, type = "" } of publications) {
    bound += 4 * channel.length + 2 * data.length + 2 * type.length;
  }
  if (bound <= maxBytes) return;
  const cost = costOf(publications, isKnown);
  if (cost <= maxBytes) return;
  throw new BatchTooLargeError(
    `Cannot keep ${publications.length} messages, which take ${cost} bytes: the messages of one ` +
      `request may take at most ${Math.floor(maxBytes)} bytes, a quarter of the memory for history`,
  );
}

/** Bytes of memory that these messages take if all are kept. */
function costOf(
  publications: readonly Publication[],
  isKnown: (channel: string) => boolean,
): number {
  const unknown = new Map<Key, string>();
  let last: string | undefined;
  let cost = 0;
  for (const { channel, data, type } of publications) {
    if (!isKnown(channel)) unknown.set(keyOf(channel), channel);
    cost += MESSAGE_OVERHEAD + (data === last ? 0 : heldBytes(data, utf8Length(data)));
    if (type !== undefined) cost += heldBytes(type, utf8Length(type));
    last = data;
  }
  for (const channel of unknown.values()) cost += channelCost(channel);
  return cost;
}
