/**
 * A channel and its history, as the memory engine keeps them.
 *
 * @module
 */
import type { Linked } from "../base/chain.ts";
import { utf8Length } from "../core/message.ts";
import { channelCost, heldBytes, MESSAGE_OVERHEAD, type SharedText } from "./cost.ts";
import { History, type KeptMessage } from "./history.ts";

/** A channel with its history. It is one object to save memory, because there may be millions. */
export class ChannelLog extends History implements Linked<ChannelLog> {
  /** The channel's name. */
  readonly channel: string;
  /** Its number in the order in which the engine created its channels, from 1. */
  readonly order: number;
  /** The channel's current epoch. */
  epoch: string;
  /** Seq of the last message numbered, 0 before the first. */
  seq = 0;
  /** Whether its messages are relayed. */
  watched = false;
  /**
   * When it was last published to, or left by its last subscriber, in milliseconds of the engine's
   * clock. May lag by up to `MemoryEngine.#touchMs`.
   */
  touched = 0;
  /** See `Linked`. */
  older: ChannelLog | undefined;
  /** See `Linked`. */
  newer: ChannelLog | undefined;

  /** A channel without messages. */
  constructor(channel: string, epoch: string, order: number) {
    super();
    this.channel = channel;
    this.epoch = epoch;
    this.order = order;
  }

  /** Bytes of memory that it takes, apart from its messages. */
  get cost(): number {
    return channelCost(this.channel);
  }
}

/**
 * The next message of a channel. Most messages share no text. They lack the field for it, because
 * there may be millions of them.
 *
 * @param bytes Length of the data in UTF-8 bytes.
 * @param time When it is published, in milliseconds of the engine's clock.
 * @param shared The text that it shares with messages of other channels.
 */
export function nextMessage(
  { channel, epoch, seq }: ChannelLog,
  data: string,
  bytes: number,
  time: number,
  shared: SharedText | undefined,
): KeptMessage {
  const cost = MESSAGE_OVERHEAD + (shared === undefined ? heldBytes(data, bytes) : 0);
  // All messages share the log's string. The request's own copy would be kept in memory with each.
  return shared === undefined
    ? { channel, epoch, seq: seq + 1, data, bytes, time, cost }
    : { channel, epoch, seq: seq + 1, data, bytes, time, cost, shared };
}

/** A copy of the message with a type. Most messages have no type, so they lack the field for it. */
export function withType(message: KeptMessage, type: string): KeptMessage {
  return { ...message, type, cost: message.cost + heldBytes(type, utf8Length(type)) };
}
