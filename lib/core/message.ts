/**
 * The message, the gap and river lines. Encoding is pure: nothing here writes anywhere.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** One published message, numbered. Immutable, shared by everybody it is delivered to. */
export interface Message {
  /** Name of the channel. */
  readonly channel: string;
  /** Names the run of numbers that `seq` belongs to; a channel that starts over has a new one. */
  readonly epoch: string;
  /** 1 for the first message of an epoch, then one more for each. */
  readonly seq: number;
  /** The text that was published. */
  readonly data: string;
  /** UTF-8 bytes of `data`. */
  readonly bytes: number;
  /** When it was accepted, in milliseconds of the engine's clock. */
  readonly time: number;
}

/** What a message costs on the wire beside its data, in bytes: its line, a short name, a number. */
export const MESSAGE_COST = 64;

/** Why a position could not be resumed without loss. */
export type GapReason = "evicted" | "restart" | "ahead" | "slow";

/**
 * One way to put frames on the wire. The ones without parameters are shared constants, so that a
 * batch can keep one encoding for all who use them.
 */
export interface Format {
  /** The `Content-Type` of a response in this format. */
  readonly contentType: string;
  /** What is sent after a silence, so that nobody in between takes the connection for dead. */
  readonly heartbeat: string;
  /** Takes note of the position at which a channel starts, and gives what is to be sent for it. */
  open?(channel: string, position: string): string;
  /** The messages of a batch, encoded. */
  messages(batch: Batch): string;
  /** A gap, encoded; empty where the format does not show gaps. */
  gap(gap: Gap): string;
  /** Messages in one write at most, where each takes much more than its data; none: any number. */
  readonly atOnce?: number;
}

/** Something a subscriber is sent. */
export interface Frame {
  /** River lines, one a message, without line ends. */
  readonly lines: readonly string[];
  /** All river lines, `\n` between them and none at the end. */
  readonly text: string;
  /** UTF-8 bytes of `text`. */
  readonly textBytes: number;
  /** The frame in a format; every call with the same format gives the same bytes. */
  bytes(format: Format): Uint8Array<ArrayBuffer>;
}

const utf8 = new TextEncoder();

const NO_PARTS: readonly Batch[] = [];

/** Some messages of one channel and epoch, in order, without holes; encoded once per format. */
export class Batch implements Frame {
  /** The messages in the order of seq; at least one. */
  readonly messages: readonly Message[];
  #lines: string[] | undefined;
  #text: string | undefined;
  #textBytes: number | undefined;
  #parts: readonly Batch[] = NO_PARTS;
  #most = 0;
  #format: Format | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #others: Map<Format, Uint8Array<ArrayBuffer>> | undefined;

  /**
   * A batch of these messages, not encoded yet.
   *
   * @param messages At least one.
   */
  constructor(messages: readonly Message[]) {
    this.messages = messages;
  }

  /** The channel of all the messages. */
  get channel(): string {
    return this.messages[0].channel;
  }

  /** The epoch of all the messages. */
  get epoch(): string {
    return this.messages[0].epoch;
  }

  /** Seq of the first message. */
  get first(): number {
    return this.messages[0].seq;
  }

  /** Seq of the last message. */
  get last(): number {
    return this.messages[this.messages.length - 1].seq;
  }

  get lines(): readonly string[] {
    if (this.#lines === undefined) {
      const head = `["msg", {"channel": ${JSON.stringify(this.channel)}, "seq": `;
      this.#lines = this.messages.map((message) =>
        `${head}${message.seq}, "data": ${JSON.stringify(message.data)}}]`
      );
    }
    return this.#lines;
  }

  get text(): string {
    return this.#text ??= this.lines.join("\n");
  }

  get textBytes(): number {
    return this.#textBytes ??= utf8Length(this.text);
  }

  /** About the bytes that the batch takes on the wire. */
  get cost(): number {
    let cost = 0;
    for (const { bytes } of this.messages) cost += bytes + MESSAGE_COST;
    return cost;
  }

  bytes(format: Format): Uint8Array<ArrayBuffer> {
    if (this.#format === format) return this.#bytes!;
    if (this.#format === undefined) {
      this.#format = format;
      return this.#bytes = utf8.encode(format.messages(this));
    }
    this.#others ??= new Map();
    let bytes = this.#others.get(format);
    if (bytes === undefined) {
      bytes = utf8.encode(format.messages(this));
      this.#others.set(format, bytes);
    }
    return bytes;
  }

  /** The batch in batches of at most so many messages; every call with the same number gives the same. */
  parts(most: number): readonly Batch[] {
    if (this.messages.length <= most) return [this];
    if (this.#most !== most) {
      this.#most = most;
      const count = Math.ceil(this.messages.length / most);
      this.#parts = Array.from({ length: count }, (_, i) => this.slice(i * most, (i + 1) * most));
    }
    return this.#parts;
  }

  /** The messages from `start` up to but without `end`, as indexes; at least one must be left. */
  slice(start: number, end?: number): Batch {
    return new Batch(this.messages.slice(start, end));
  }
}

/** Tells a subscriber that what came after its position cannot be had. */
export class Gap implements Frame {
  /** Name of the channel. */
  readonly channel: string;
  /** The seq that should have come next. */
  readonly from: number;
  /** The position from which the stream goes on: the next message is `to + 1`. */
  readonly to: number;
  /** Epoch of `to` and of what follows. */
  readonly epoch: string;
  /** Why the position could not be resumed. */
  readonly reason: GapReason;

  /** A gap that starts at seq `from` and ends at the position of `epoch` and `to`. */
  constructor(channel: string, from: number, to: number, epoch: string, reason: GapReason) {
    this.channel = channel;
    this.from = from;
    this.to = to;
    this.epoch = epoch;
    this.reason = reason;
  }

  /** What the wire forms hold, in their order. */
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

/**
 * A river line without its line end: `["kind", {"key": value, ...}]`, spaced as the first river
 * spaced it.
 */
export function line(kind: string, fields: Record<string, string | number>): string {
  return `["${kind}", ${object(fields)}]`;
}

/** The fields of a river line: a JSON object. */
export function object(fields: Record<string, string | number>): string {
  const pairs = Object.entries(fields).map(([key, value]) => `"${key}": ${JSON.stringify(value)}`);
  return `{${pairs.join(", ")}}`;
}

/** Bytes of `text` in UTF-8. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text);
}
