/**
 * The gap: what a subscriber is told when messages after its position are gone, and why they are.
 *
 * @module
 */
import type { Cursor } from "./cursor.ts";
import { type Format, type Frame, line, utf8Length } from "./message.ts";

/** All reasons why a subscription cannot resume from its position without loss. */
export const GAP_REASONS = ["evicted", "restart", "ahead", "slow"] as const;

/** Why a subscription could not resume from its position without loss. */
export type GapReason = typeof GAP_REASONS[number];

const utf8 = new TextEncoder();

/** Tells a subscriber that messages after its position are gone. */
export class Gap implements Frame {
  /** Name of the channel. */
  readonly channel: string;
  /** The seq that would have come next. */
  readonly from: number;
  /** The seq at which the stream continues: the next message is `to + 1`. */
  readonly to: number;
  /** Epoch of `to` and of the messages that follow. */
  readonly epoch: string;
  /** Why the messages are gone. */
  readonly reason: GapReason;

  /** A gap that starts at seq `from` and ends at the position that `epoch` and `to` name. */
  constructor(channel: string, from: number, to: number, epoch: string, reason: GapReason) {
    this.channel = channel;
    this.from = from;
    this.to = to;
    this.epoch = epoch;
    this.reason = reason;
  }

  /** The fields of a gap, in the order that all formats share. */
  get fields(): Record<string, string | number> {
    const { channel, from, to, epoch, reason } = this;
    return { channel, from, to, epoch, reason };
  }

  get text(): string {
    return line("gap", this.fields);
  }

  get textBytes(): number {
    return utf8Length(this.text);
  }

  get lines(): readonly string[] {
    return [this.text];
  }

  bytes(format: Format): Uint8Array<ArrayBuffer> {
    return utf8.encode(format.gap(this));
  }
}

/** What an engine has of a channel when a subscription asks for the messages after its position. */
export interface Kept {
  /** The channel's epoch. */
  readonly epoch: string;
  /** The seq of its newest message. */
  readonly head: number;
  /** The seq at which the subscription continues. */
  readonly next: number;
}

/**
 * Why a subscription cannot resume from its position without loss. Undefined if it can.
 *
 * @param replayed Whether it got history before: then it was too slow for the rest.
 */
export function gapReason(
  asked: Cursor,
  { epoch, head, next }: Kept,
  replayed: boolean,
): GapReason | undefined {
  if (asked.epoch !== undefined && asked.epoch !== epoch) return "restart";
  if (asked.seq > head) return "ahead";
  if (next > asked.seq + 1) return replayed ? "slow" : "evicted";
}
