/**
 * How the servers with history on disk are published to, one message per request.
 *
 * @module
 */
import { type EndOfAnswer, Requester, within } from "./connection.ts";
import type { Kind, Server } from "./servers.ts";
import { Trial } from "./trial.ts";
import { dataOf, post } from "./wire.ts";

/** The requests of one connection. The channel, from 0, is one of a few. */
export interface Publishing {
  /** Called once, before the first message. */
  prepare?(server: Server, channels: number): Promise<void>;
  /** What a connection sends first. It has no answer. */
  readonly hello?: (connection: number) => string;
  /** A message. */
  publish(channel: number, connection: number): string;
  /** Finds the end of an answer. By default, of HTTP. */
  readonly endOfAnswer?: EndOfAnswer;
}

/** Messages that a channel keeps, as in river. */
const HISTORY = 100;
const LINE_FEED = 10;
const ascii = new TextDecoder("latin1");

/** The servers that keep history on disk. */
export const publishing: Partial<Record<Kind, Publishing>> = {
  river: {
    publish: (channel) => post(`/publish?name=bench${channel}`, "text/plain", dataOf(0)),
  },
  nats: {
    prepare: makeNatsStream,
    hello: (connection) => `CONNECT {"verbose":false}\r\nSUB ${inbox(connection)} 1\r\n`,
    publish: (channel, connection) => natsRequest(`bench.${channel}`, connection, dataOf(0)),
    endOfAnswer: endOfNatsAnswer,
  },
};

/** Makes a stream in files for all channels. */
function makeNatsStream({ port }: Server): Promise<void> {
  const config = {
    name: "bench",
    subjects: ["bench.*"],
    storage: "file",
    retention: "limits",
    discard: "old",
    max_msgs_per_subject: HISTORY,
  };
  return Trial.run(async (trial) => {
    const made = Promise.withResolvers<void>();
    const { hello, endOfAnswer } = publishing.nats!;
    const [requester] = trial.keep([
      await Requester.open(port, () => made.resolve(), trial.fail, endOfAnswer),
    ]);
    requester.send(new TextEncoder().encode(
      hello!(0) + natsRequest("$JS.API.STREAM.CREATE.bench", 0, JSON.stringify(config)),
    ));
    await trial.watch(within(made.promise, "a stream of JetStream"));
  });
}

/** Where the answers for a connection go. */
function inbox(connection: number): string {
  return `_INBOX.${connection}`;
}

function natsRequest(subject: string, connection: number, data: string): string {
  return `PUB ${subject} ${inbox(connection)} ${data.length}\r\n${data}\r\n`;
}

/**
 * The end of a message to the inbox: `MSG _INBOX.0 1 24`, a line break, and an answer of so many bytes.
 * Other lines (`INFO`, `PING`) have no payload and belong to no request.
 */
function endOfNatsAnswer(bytes: Uint8Array, start: number): number {
  for (let line = start;;) {
    const next = bytes.indexOf(LINE_FEED, line) + 1;
    if (next === 0) return Infinity;
    const text = ascii.decode(bytes.subarray(line, next));
    line = next;
    if (text.startsWith("-ERR")) throw new Error(`A request failed: ${text}`);
    if (!text.startsWith("MSG")) continue;
    const end = next + Number(text.slice(text.lastIndexOf(" "))) + 2;
    if (end <= bytes.length && bytes.subarray(next, end).includes(LEFT_BRACE, 1)) {
      checkNatsAnswer(ascii.decode(bytes.subarray(next, end)));
    }
    return end;
  }
}

/** Only an error, or the description of a new stream, holds an object in an object. */
const LEFT_BRACE = "{".charCodeAt(0);

function checkNatsAnswer(text: string): void {
  if ("error" in JSON.parse(text)) throw new Error(`A request failed: ${text}`);
}
