/**
 * Checks the publications of one request before the first of them gets a number: all or none.
 *
 * @module
 */
import { type Key, keyOf } from "../base/key.ts";
import { BatchTooLargeError, EngineFullError, type Publication } from "../core/engine.ts";
import { utf8Length } from "../core/message.ts";
import { channelCost, heldBytes, MESSAGE_OVERHEAD } from "./cost.ts";

/** The share of all memory that the messages of one request may take. */
const SHARE = 1 / 4;

/**
 * Checks that the messages of one request take no more than their share of memory.
 *
 * @param maxMemory Maximum bytes of memory for all messages.
 * @param isKnown Whether a channel is already counted, so that it adds no cost.
 * @throws {BatchTooLargeError} If they would take more.
 */
export function checkShare(
  publications: readonly Publication[],
  maxMemory: number,
  isKnown: (channel: string) => boolean,
): void {
  const maxBytes = maxMemory * SHARE;
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

/**
 * Checks that there is room for all the channels of a request.
 *
 * @param room How many more channels may be published to.
 * @param isKnown Whether a channel is published to already.
 * @throws {EngineFullError} If there is not.
 */
export function checkRoom(
  publications: readonly Publication[],
  room: number,
  isKnown: (channel: string) => boolean,
): void {
  if (publications.length <= room) return;
  const unknown = new Set<Key>();
  // Publications that repeat an id count too, because the id may be forgotten before their turn.
  for (const { channel } of publications) if (!isKnown(channel)) unknown.add(keyOf(channel));
  if (unknown.size <= room) return;
  throw new EngineFullError(
    `Cannot publish to ${unknown.size} more channels: there is room for ${room}`,
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
