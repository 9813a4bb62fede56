/**
 * The message, the formats, and river lines. Encoding is pure: nothing here writes anything.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Gap } from "./gap.ts";

/** A published and numbered message. It is immutable, because all subscribers share it. */
export interface Message {
  /** Name of the channel. */
  readonly channel: string;
  /** The numbering that `seq` belongs to. A channel that starts over has a new epoch. */
  readonly epoch: string;
  /** 1 for the first message of an epoch, and one more for each message after it. */
  readonly seq: number;
  /** The text that was published. */
  readonly data: string;
  /** The name of its event, if the publisher gave one. */
  readonly type?: string;
  /** UTF-8 bytes of `data`. */
  readonly bytes: number;
  /** The epoch that its epoch continues, if it is the first message after the fork. */
  readonly continues?: string;
  /** When it was accepted, in milliseconds of the engine's clock. */
  readonly time: number;
}

/**
 * Roughly how many bytes a message takes on the wire without its data: the rest of its line, with a
 * short channel name and a number.
 */
export const MESSAGE_COST = 64;

/**
 * A way to encode frames. Formats without parameters are shared constants, so that a batch keeps
 * one encoding for all subscribers that use them.
 */
export interface Format {
  /** The `Content-Type` of a response in this format. */
  readonly contentType: string;
  /** Sent after a silence, so that no proxy considers the connection dead. */
  readonly heartbeat: string;
  /** Remembers the position at which a channel starts. Returns the text to send for it. */
  open?(channel: string, position: string): string;
  /** The messages of a batch, encoded. */
  messages(batch: Batch): string;
  /** A gap, encoded. Empty if the format does not show gaps. */
  gap(gap: Gap): string;
  /**
   * Maximum number of messages per write, for a format in which each takes much more than its data.
   * Without it there is no limit.
   */
  readonly maxPerWrite?: number;
}

/** Something to send to a subscriber. */
export interface Frame {
  /** River lines, one per message, without line ends. */
  readonly lines: readonly string[];
  /** All river lines, joined by `\n`. */
  readonly text: string;
  /** UTF-8 bytes of `text`. */
  readonly textBytes: number;
  /** The frame in a format. Every call with the same format returns the same bytes. */
  bytes(format: Format): Uint8Array<ArrayBuffer>;
}

const utf8 = new TextEncoder();

const NO_PARTS: readonly Batch[] = [];

/** Messages of one channel and epoch, in order, without holes. Encoded once per format. */
export class Batch implements Frame {
  /** At least one message, in order of seq. */
  readonly messages: readonly Message[];
  #lines: string[] | undefined;
  #text: string | undefined;
  #textBytes: number | undefined;
  #parts: readonly Batch[] = NO_PARTS;
  #partSize = 0;
  #format: Format | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #otherFormats: Map<Format, Uint8Array<ArrayBuffer>> | undefined;

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

  /** The epoch that the first message continues, if a fork lies before it. */
  get continues(): string | undefined {
    return this.messages[0].continues;
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
      this.#lines = this.messages.map(({ seq, data, type }) => {
        const typed = type === undefined ? "" : `"type": ${JSON.stringify(type)}, `;
        return `${head}${seq}, ${typed}"data": ${JSON.stringify(data)}}]`;
      });
    }
    return this.#lines;
  }

  get text(): string {
    return this.#text ??= this.lines.join("\n");
  }

  get textBytes(): number {
    return this.#textBytes ??= utf8Length(this.text);
  }

  /** Roughly how many bytes the batch takes on the wire. */
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
    this.#otherFormats ??= new Map();
    let bytes = this.#otherFormats.get(format);
    if (bytes === undefined) {
      bytes = utf8.encode(format.messages(this));
      this.#otherFormats.set(format, bytes);
    }
    return bytes;
  }

  /**
   * The batch in parts of at most `size` messages. A second call with the same size returns the
   * same parts, which keep their encodings.
   */
  parts(size: number): readonly Batch[] {
    if (this.messages.length <= size) return [this];
    if (this.#partSize !== size) {
      this.#partSize = size;
      const count = Math.ceil(this.messages.length / size);
      this.#parts = Array.from({ length: count }, (_, i) => this.slice(i * size, (i + 1) * size));
    }
    return this.#parts;
  }

  /**
   * The messages from index `start` up to, but not including, `end`. There must be at least one.
   */
  slice(start: number, end?: number): Batch {
    return new Batch(this.messages.slice(start, end));
  }
}

/**
 * A river line without its line end: `["kind", {"key": value, ...}]`, with the spacing of the first
 * river.
 */
export function line(kind: string, fields: Record<string, string | number>): string {
  return `["${kind}", ${object(fields)}]`;
}

/** The fields of a river line: a JSON object. */
export function object(fields: Record<string, string | number>): string {
  const pairs = Object.entries(fields).map(([key, value]) => `"${key}": ${JSON.stringify(value)}`);
  return `{${pairs.join(", ")}}`;
}

/** Length of `text` in UTF-8 bytes. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text);
}
