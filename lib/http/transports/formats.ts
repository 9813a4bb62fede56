/**
 * The formats of messages and gaps over HTTP: river lines, raw data, Server-Sent Events and JSONP.
 *
 * @module
 */
import { type Format, line, type Message, object } from "../../core/message.ts";

/** The type of Server-Sent Events. */
export const EVENT_STREAM = "text/event-stream";

/** River lines, each ended by `\n`. */
export const river: Format = {
  contentType: "text/plain;charset=UTF-8",
  heartbeat: "\n",
  messages: (batch) => batch.text + "\n",
  gap: (gap) => gap.text + "\n",
};

/** The lines of the WebSocket subprotocol, over HTTP: like `river`, after `open` lines. */
export const riverV1: Format = {
  ...river,
  open: (channel, cursor) => line("open", { channel, cursor }) + "\n",
};

/**
 * The data alone, one line per message. A line break in the data becomes a space, so that nobody
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
 * first bytes carry the position at which the stream starts. So a client whose connection breaks
 * before the first event resumes without loss.
 */
export const sse: Format = {
  ...eventStream(positionOf, dataAlone),
  open: (_channel, position) => positionAlone(position),
};

/**
 * Server-Sent Events of one channel, with whole messages: `data:` is an object with the channel, seq,
 * type and data. No event has a name, so one handler gets all of them.
 */
export const sseV1: Format = {
  ...eventStream(positionOf, wholeMessage),
  open: (_channel, position) => positionAlone(position),
};

/**
 * Server-Sent Events of several channels: `id:` lists a position per channel, in order. If a
 * channel has no position yet, its item is empty, which means from now on. The list is sent as soon
 * as all channels are open.
 *
 * @param positions A printed position per channel, in the order of the request, or "". Encoding
 * updates it, so the format belongs to one subscriber.
 * @param whole Whether events hold whole messages, as in `sseV1`.
 */
export function sseOfMany(positions: Map<string, string>, whole = false): Format {
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
    }, whole ? wholeMessage : dataAlone),
    maxPerWrite: Math.max(1, Math.floor(MANY_IDS / (positions.size * POSITION_COST))),
    open(channel, position) {
      positions.set(channel, position);
      return --unopened === 0 ? positionAlone(list()) : "";
    },
  };
}

/** Rough bytes of ids in one write of an event stream of several channels. */
const MANY_IDS = 32 * 1024;
/** Rough bytes of a position in an id. */
const POSITION_COST = 16;

/**
 * A position without an event: the client remembers it. No padding follows, although a few old
 * proxies hold back the first kilobytes of a stream.
 */
function positionAlone(position: string): string {
  return `:\nid: ${position}\n\n`;
}

/** The ids of the events of one channel. */
function positionOf(_channel: string, epoch: string): (seq: number) => string {
  return (seq) => `${epoch}-${seq}`;
}

/** The fields of an event with the data of a message, without its `id:`. */
function dataAlone({ data, type }: Message): string {
  // CR, LF and CRLF all end a line of an event stream. Each starts a `data:` line of its own, or a
  // publisher could write fields.
  const lines = /[\r\n]/.test(data) ? data.replace(/\r\n|\r|\n/g, "\ndata: ") : data;
  return type === undefined ? `data: ${lines}` : `event: ${type}\ndata: ${lines}`;
}

/** The fields of an event with a whole message, without its `id:`. */
function wholeMessage({ channel, seq, data, type }: Message): string {
  return `data: ${
    object(type === undefined ? { channel, seq, data } : { channel, seq, type, data })
  }`;
}

/**
 * Server-Sent Events.
 *
 * @param idsOf Called once for some messages of a channel, the last of which is `last`. It returns the
 * id for each `seq` of them.
 * @param fieldsOf Returns the other fields of the event of a message.
 */
function eventStream(
  idsOf: (channel: string, epoch: string, last: number) => (seq: number) => string,
  fieldsOf: (message: Message) => string,
): Format {
  return {
    contentType: EVENT_STREAM,
    heartbeat: ":\n\n",
    messages(batch) {
      let text = "";
      const idOf = idsOf(batch.channel, batch.epoch, batch.last);
      for (const message of batch.messages) {
        text += `id: ${idOf(message.seq)}\n${fieldsOf(message)}\n\n`;
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
 * JSONP: each river line as a call of `callback`. Without the empty comment in front, a client
 * could choose the first bytes of the answer.
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

/** Before ES2019, U+2028 and U+2029 end a line in scripts. In JSON they do not. */
function escapeForScript(json: string): string {
  return json.replace(/[\u2028\u2029]/g, (char) => char === "\u2028" ? "\\u2028" : "\\u2029");
}
