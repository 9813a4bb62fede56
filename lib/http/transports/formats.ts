/**
 * How messages and gaps look over HTTP: river lines, raw data, Server-Sent Events, JSONP.
 *
 * @module
 */
import { type Format, line, object } from "../../core/message.ts";

/** The type of Server-Sent Events. */
export const EVENT_STREAM = "text/event-stream";

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
    contentType: EVENT_STREAM,
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
