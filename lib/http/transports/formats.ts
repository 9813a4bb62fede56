/**
 * The formats of messages and gaps over HTTP: river lines, raw data, Server-Sent Events and JSONP.
 *
 * @module
 */
import { type Format, line, type Message, object } from "../../core/message.ts";
import { badParameter, quote } from "../../core/refusal.ts";

/** The media type of Server-Sent Events. */
export const EVENT_STREAM = "text/event-stream";

/** River lines, each followed by `\n`. */
export const river: Format = {
  contentType: "text/plain;charset=UTF-8",
  heartbeat: "\n",
  messages: (batch) => batch.text + "\n",
  gap: (gap) => gap.text + "\n",
};

/**
 * The lines of the WebSocket subprotocol over HTTP: like `river`, with an `open` line per channel.
 */
export const riverV1: Format = {
  ...river,
  open: (channel, cursor) => line("open", { channel, cursor }) + "\n",
};

/**
 * Only the data, one line per message. A line break in the data becomes a space, so that no message
 * can look like two. Gaps are not shown.
 */
export const raw: Format = {
  contentType: "text/plain;charset=UTF-8",
  heartbeat: "\n",
  messages: (batch) =>
    batch.messages.map(({ data }) => data.replace(/\r\n|\r|\n/g, " ") + "\n").join(""),
  gap: () => "",
};

/**
 * Server-Sent Events of one channel. `id:` is the position, and there is a `data:` field per line
 * of data. The first bytes carry the position at which the stream starts. So a client whose
 * connection breaks before the first event resumes without loss.
 */
export const sse: Format = {
  ...eventStream(positionOf, dataAlone),
  open: (_channel, position) => positionAlone(position),
};

/**
 * Server-Sent Events of one channel, with whole messages. `data:` is a JSON object with the
 * channel, seq, type and data. Messages have no `event:` field, so one handler gets all of them.
 */
export const sseV1: Format = {
  ...eventStream(positionOf, wholeMessage),
  open: (_channel, position) => positionAlone(position),
};

/**
 * Server-Sent Events of several channels. `id:` lists one position per channel, in order. If a
 * channel has no position yet, its item is empty, which means "from now on". The list is sent as
 * soon as all channels are open.
 *
 * @param positions The printed position of each channel, in the order of the request, or "". To
 * encode messages updates it, so each subscriber needs its own format.
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
    maxPerWrite: Math.max(1, Math.floor(MAX_ID_BYTES / (positions.size * POSITION_BYTES))),
    open(channel, position) {
      positions.set(channel, position);
      return --unopened === 0 ? positionAlone(list()) : "";
    },
  };
}

/** Roughly the most bytes of ids in one write of an event stream of several channels. */
const MAX_ID_BYTES = 32 * 1024;
/** Roughly the bytes of one position in an id. */
const POSITION_BYTES = 16;

/**
 * A position without an event. The client remembers it. There is no padding, although a few old
 * proxies hold back the first kilobytes of a stream.
 */
function positionAlone(position: string): string {
  return `:\nid: ${position}\n\n`;
}

/** Returns a function that makes the id of an event from its seq. */
function positionOf(_channel: string, epoch: string): (seq: number) => string {
  return (seq) => `${epoch}-${seq}`;
}

/** The fields of an event that carries only the data of a message, without `id:`. */
function dataAlone({ data, type }: Message): string {
  // CR, LF and CRLF all end a line of an event stream. After each, start a new `data:` line.
  // Otherwise a publisher could write fields of its own.
  const lines = /[\r\n]/.test(data) ? data.replace(/\r\n|\r|\n/g, "\ndata: ") : data;
  return type === undefined ? `data: ${lines}` : `event: ${type}\ndata: ${lines}`;
}

/** The fields of an event that carries a whole message, without `id:`. */
function wholeMessage({ channel, seq, data, type }: Message): string {
  return `data: ${
    object(type === undefined ? { channel, seq, data } : { channel, seq, type, data })
  }`;
}

/**
 * A format of Server-Sent Events.
 *
 * @param idsOf Called once per batch or gap. `last` is the last seq in it. It returns a function
 * that makes the id of an event from its seq.
 * @param fieldsOf Returns the fields of the event of a message, without `id:`.
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
 * JSONP: each river line is the argument of a call of `callback`. The empty comment before it keeps
 * a client from choosing the first bytes of the answer.
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

/** Escapes U+2028 and U+2029. Before ES2019, they end a line in scripts, though not in JSON. */
function escapeForScript(json: string): string {
  return json.replace(/[\u2028\u2029]/g, (char) => char === "\u2028" ? "\\u2028" : "\\u2029");
}

/** The formats that a request can name. */
export const FORMATS = { river, "river.v1": riverV1, sse, "sse.v1": sseV1, raw };

/**
 * The name of the format that a request asks for: by its parameter, or else by `Accept`.
 *
 * @param named The parameter `format`.
 * @throws {Refusal} 400 if there is no such format.
 */
export function formatName(named: string | undefined, headers: Headers): keyof typeof FORMATS {
  if (named === undefined) return acceptsEvents(headers) ? "sse" : "river";
  if (Object.hasOwn(FORMATS, named)) return named as keyof typeof FORMATS;
  throw badParameter(
    "format",
    `expected river, river.v1, sse, sse.v1 or raw, got ${quote(named)}`,
  );
}

/** Whether `Accept` asks for an event stream, alone or among other types. */
export function acceptsEvents(headers: Headers): boolean {
  return /text\/event-stream/i.test(headers.get("accept") ?? "");
}
