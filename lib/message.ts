/**
 * The message, the gap, and their wire forms. Encoding is pure: nothing here writes anywhere.
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

function object(fields: Record<string, string | number>): string {
  const pairs = Object.entries(fields).map(([key, value]) => `"${key}": ${JSON.stringify(value)}`);
  return `{${pairs.join(", ")}}`;
}

/** River lines, each ended by `\n`. */
export const river: Format = {
  contentType: "text/plain;charset=UTF-8",
  heartbeat: "\n",
  messages: (batch) => batch.text + "\n",
  gap: (gap) => gap.text + "\n",
};

/** The lines of the WebSocket subprotocol, over HTTP: as `river`, and `open` lines before. */
export const riverV1: Format = {
  ...river,
  open: (channel, cursor) => line("open", { channel, cursor }) + "\n",
};

/**
 * The data alone, one line a message. A line break inside the data becomes a space, so that nobody
 * can publish two lines in one message. Gaps are not shown.
 */
export const raw: Format = {
  contentType: "text/plain;charset=UTF-8",
  heartbeat: "\n",
  messages: (batch) =>
    batch.messages.map(({ data }) => data.replace(/\r\n|\r|\n/g, " ") + "\n").join(""),
  gap: () => "",
};

/**
 * Server-Sent Events of one channel: `id:` is the position, `data:` the data, line by line. The
 * first bytes tell the position at which the stream starts, so that a client whose connection
 * breaks before the first event resumes without loss.
 */
export const sse: Format = {
  ...eventStream((_channel, epoch) => (seq) => `${epoch}-${seq}`),
  open: (_channel, position) => positionAlone(position),
};

/**
 * Server-Sent Events of several channels: `id:` lists a position for each channel, in order. The
 * item of a channel that has no position yet is empty, which means from now on. The list is told as
 * soon as all channels are open.
 *
 * @param positions A printed position for each channel, in the order in which they were asked for,
 * or nothing. Kept up to date by what is encoded, so the format belongs to one subscriber.
 */
export function sseOfMany(positions: Map<string, string>): Format {
  let unopened = positions.size;
  const list = () => [...positions.values()].join(",");
  return {
    ...eventStream((channel, epoch, last) => {
      const channels = [...positions.keys()];
      const at = channels.indexOf(channel);
      const items = [...positions.values()];
      const before = items.slice(0, at).map((item) => item + ",").join("");
      const after = items.slice(at + 1).map((item) => "," + item).join("");
      positions.set(channel, `${epoch}-${last}`);
      return (seq) => `${before}${epoch}-${seq}${after}`;
    }),
    atOnce: Math.max(1, Math.floor(MANY_IDS / (positions.size * POSITION_COST))),
    open(channel, position) {
      positions.set(channel, position);
      return --unopened === 0 ? positionAlone(list()) : "";
    },
  };
}

/** Bytes of ids in one write of an event stream of several channels, about. */
const MANY_IDS = 32 * 1024;
/** Bytes of a position in an id, about. */
const POSITION_COST = 16;

/**
 * Not an event, but the client remembers the position. A few bytes are enough: what holds back the
 * first kilobytes of a stream is as rare today as it is wrong.
 */
function positionAlone(position: string): string {
  return `:\nid: ${position}\n\n`;
}

/**
 * Server-Sent Events whose ids are made by `idsOf`: called once for some messages of a channel, the
 * last of which is `last`, it gives the id for each `seq` of them.
 */
function eventStream(
  idsOf: (channel: string, epoch: string, last: number) => (seq: number) => string,
): Format {
  return {
    contentType: "text/event-stream",
    heartbeat: ":\n\n",
    messages(batch) {
      let text = "";
      const idOf = idsOf(batch.channel, batch.epoch, batch.last);
      for (const { seq, data } of batch.messages) {
        // An event stream knows CR, LF and CRLF as line ends: each starts a `data:` line of its
        // own, or a publisher could write fields.
        const lines = /[\r\n]/.test(data) ? data.replace(/\r\n|\r|\n/g, "\ndata: ") : data;
        text += `id: ${idOf(seq)}\ndata: ${lines}\n\n`;
      }
      return text;
    },
    gap(gap) {
      const id = idsOf(gap.channel, gap.epoch, gap.to)(gap.to);
      return `event: gap\nid: ${id}\ndata: ${object(gap.fields)}\n\n`;
    },
  };
}

/**
 * JSONP: each river line as a call of `callback`. The empty comment in front keeps the first bytes
 * out of a caller's hands.
 */
export function jsonp(callback: string): Format {
  const call = (line: string) => `/**/${callback}(${escapeForScript(line)});\n`;
  return {
    contentType: "text/javascript;charset=UTF-8",
    heartbeat: "\n",
    messages: (batch) => batch.lines.map(call).join(""),
    gap: (gap) => call(gap.text),
  };
}

/** U+2028 and U+2029 end a line in scripts before ES2019, though not in JSON. */
function escapeForScript(json: string): string {
  return json.replace(/[\u2028\u2029]/g, (char) => char === "\u2028" ? "\\u2028" : "\\u2029");
}

/** Bytes of `text` in UTF-8. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text);
}
