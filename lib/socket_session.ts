/**
 * WebSockets, on the way in: what clients send, plain and in `river.v1`.
 *
 * @module
 */
import type { Grant } from "./access.ts";
import { parseCursor } from "./cursor.ts";
import { EngineFullError, type Receipt } from "./engine.ts";
import { internalError, quote, Refusal } from "./refusal.ts";
import type { Hub, Wish } from "./hub.ts";
import { Inbox, type Inboxes, type InboxOwner } from "./inbox.ts";
import { parseJson } from "./json.ts";
import { line, utf8Length } from "./message.ts";
import { checkData, checkName } from "./names.ts";
import type { RequestLimits } from "./params.ts";
import type { Pace } from "./rate_limit.ts";
import { CLOSE_CODES, type SocketSink } from "./socket_sink.ts";
import { mayMean } from "./spelling.ts";
import type { Subscriber } from "./subscriber.ts";

/** What a session works with. */
export interface SessionContext {
  /** Publishes and subscribes. */
  readonly hub: Hub;
  /** The client's subscriptions. */
  readonly subscriber: Subscriber;
  /** What to subscribe to when the socket is open. */
  readonly wishes: readonly Wish[];
  /** What the client may do. */
  readonly grant: Grant;
  /** What frames and messages are held to. */
  readonly limits: RequestLimits;
  /** Where frames wait that the server has no time for. */
  readonly inboxes: Inboxes;
  /** Takes errors that are nobody's fault but ours. */
  readonly report: (error: unknown) => void;
  /** How fast the client may publish; none: as fast as it likes. */
  readonly pace?: Pace;
  /** Called once, when the socket is closed. */
  readonly onClose: () => void;
  /** Called with 1 when the runtime has lost the socket, with -1 if that is closed all the same. */
  readonly onLost: (change: 1 | -1) => void;
}

/**
 * Takes the events of one socket: `open`, `message` and `close`. One object for all of them, as
 * thousands of idle sockets are held.
 */
export abstract class SocketSession implements EventListenerObject, InboxOwner {
  /** Sends to the same socket. */
  protected readonly sink: SocketSink;
  /** What the session works with. */
  protected readonly context: SessionContext;
  #ended = false;
  #lost = false;
  /** There only while something waits: most sockets never need one. */
  #inbox: Inbox | undefined;

  /** A session that answers through `sink`. */
  constructor(sink: SocketSink, context: SessionContext) {
    this.sink = sink;
    this.context = context;
    sink.owner = this;
  }

  /** The socket has not opened for so long that it never will, nor tell that it is closed. */
  lost(): void {
    this.#lost = true;
    this.context.onLost(1);
    this.context.subscriber.close("gone");
  }

  /** As `carryOut`, for an open socket. May throw. */
  protected abstract receive(frame: string, at: number): number | undefined;

  /**
   * Closes the socket for what the client sent. It is no subscriber from here on, for the client may
   * take its time to answer, or never do.
   */
  protected end(code: keyof typeof CLOSE_CODES, words: string): void {
    this.sink.end(CLOSE_CODES[code], words);
    this.context.subscriber.close(code === "error" ? "error" : "refused");
  }

  /** Closes the socket after a message over the limit. */
  protected endTooLarge(): void {
    this.end("tooLarge", `a message may have ${this.context.limits.maxMessage} bytes`);
  }

  /** Whether the client publishes faster than it may; counts one message if not. */
  protected get tooFast(): boolean {
    const { pace } = this.context;
    if (pace === undefined) return false;
    if (pace.limit.wait(pace.address) > 0) return true;
    pace.limit.spend(pace.address, 1);
    return false;
  }

  /** Carries out a frame, or a part of it; nothing if the socket has been ended here. */
  carryOut(frame: string, at: number): number | undefined {
    const { hub, subscriber } = this.context;
    try {
      // Ended after the frame came, for example because the token expired, or about to be ended with the
      // hub; or cut now, because the client asks and asks, but does not take the answers.
      if (subscriber.closed === undefined && !hub.closed && subscriber.keepsUp()) {
        return this.receive(frame, at);
      }
    } catch (error) {
      this.#refuse(error);
    }
    this.#inbox?.clear();
  }

  /** Nothing waits any more. */
  rested(): void {
    this.#inbox = undefined;
    if (this.#ended) this.#release();
  }

  /** Takes an event of the socket. */
  handleEvent(event: Event): void {
    try {
      if (event.type === "open") this.#open();
      else if (event.type === "close") this.#close();
      else if (event instanceof MessageEvent) this.#message(event.data);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #open(): void {
    const { hub, subscriber, wishes } = this.context;
    hub.subscribe(subscriber, wishes)?.catch((error) => this.#refuse(error));
  }

  #refuse(error: unknown): void {
    if (error instanceof EngineFullError) return this.end("full", "no room for the channel");
    this.context.report(error);
    this.end("error", "internal error");
  }

  #message(data: unknown): void {
    const { subscriber, limits: { maxBody } } = this.context;
    // Sent before the client learnt that it was closed.
    if (subscriber.closed !== undefined) return;
    if (typeof data !== "string") {
      this.end("unsupported", "text frames only");
    } else if (data.length * 3 > maxBody && utf8Length(data) > maxBody) {
      this.end("tooLarge", `a frame may have ${maxBody} bytes`);
    } else {
      const stopped = this.#inbox === undefined ? this.carryOut(data, 0) : 0;
      if (stopped !== undefined) this.#wait(data, stopped);
    }
  }

  /** Puts off what is left of a frame. */
  #wait(frame: string, at: number): void {
    const { inboxes } = this.context;
    this.#inbox ??= new Inbox(inboxes, this);
    if (this.#inbox.add(frame, at)) return;
    this.end("full", "sending faster than frames can be carried out (--max-inbox)");
  }

  #close(): void {
    // Two close events may come for one socket.
    if (this.#ended) return;
    this.#ended = true;
    // What the client sent before it left is carried out.
    if (this.#inbox === undefined) this.#release();
  }

  #release(): void {
    this.context.subscriber.close("gone");
    if (this.#lost) this.context.onLost(-1);
    this.context.onClose();
  }
}

/** Publishes each frame to the one channel of a plain socket. */
export class PlainSession extends SocketSession {
  /** Publishes the frame. */
  protected override receive(data: string): number | undefined {
    const { hub, grant, limits, inboxes, wishes: [{ channel }] } = this.context;
    if (!inboxes.next()) return 0;
    if (!grant.mayPublish(channel)) {
      this.end("forbidden", "not allowed to publish");
      return;
    }
    try {
      checkData("data", data, limits.maxMessage);
      if (this.tooFast) {
        this.end("full", "publishing too fast");
        return;
      }
      const receipt = hub.publish({ channel, data });
      if (receipt instanceof Promise) receipt.catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (error instanceof Refusal) {
      this.endTooLarge();
    } else if (error instanceof EngineFullError) {
      this.end("full", "no room for the channel: try again later");
    } else {
      this.context.report(error);
      this.end("error", "internal error");
    }
  }
}

/** Lines of one frame that may be refused: who sends more does not mean them. */
export const MAX_ERRORS = 1000;

type Fields = Record<string, unknown>;

/** Carries out the commands of `river.v1`: a line that fails is answered, the socket lives. */
export class LineSession extends SocketSession {
  /** Answers to the lines carried out in one go; they leave in one frame. */
  #answers: string[] | undefined;
  /** Lines of the frame at hand that were wrong. */
  #errors = 0;

  /** Carries out the lines of a frame, and answers those of one go in one frame. */
  protected override receive(frame: string, at: number): number | undefined {
    const { inboxes, subscriber } = this.context;
    if (at === 0) this.#errors = 0;
    while (at <= frame.length) {
      if (!inboxes.next()) {
        this.#answer();
        return at;
      }
      const end = frame.indexOf("\n", at);
      const text = frame.slice(at, end < 0 ? undefined : end);
      if (text !== "") this.#command(text);
      // The lines after one that ended the socket are too late.
      if (subscriber.closed !== undefined) return;
      at = end < 0 ? Infinity : end + 1;
    }
    this.#answer();
  }

  #command(text: string): void {
    let fields: Fields = {};
    try {
      const [kind, object] = parseCommand(text);
      fields = object;
      const done = this.#perform(kind, fields);
      if (done instanceof Promise) {
        done.catch((error) => this.#refuse(error, fields)).then(() => this.#answer());
      }
    } catch (error) {
      this.#refuse(error, fields);
    }
  }

  #perform(kind: string, fields: Fields): Promise<void> | void {
    switch (kind) {
      case "sub":
        return this.#subscribe(wishOf(fields));
      case "unsub":
        return this.#unsubscribe(textField(fields, "channel"));
      case "pub":
        return this.#publish(fields);
      default:
        throw new Refusal(
          400,
          "unknown_command",
          `Unknown command ${quote(kind)}: expected sub, unsub or pub`,
        );
    }
  }

  #subscribe(wish: Wish): Promise<void> | void {
    const { hub, subscriber, grant, limits } = this.context;
    const name = quote(wish.channel);
    if (!grant.maySubscribe(wish.channel)) {
      throw new Refusal(403, "forbidden", `Not allowed to subscribe to ${name}`);
    }
    if (subscriber.find(wish.channel) !== undefined) {
      throw new Refusal(400, "already_subscribed", `Already subscribed to ${name}`);
    }
    if (subscriber.size >= limits.maxChannelsPerClient) {
      throw new Refusal(
        400,
        "too_many_channels",
        `Cannot subscribe to ${name}: ${limits.maxChannelsPerClient} channels a client are ` +
          "allowed (--max-channels-per-client)",
      );
    }
    return hub.subscribe(subscriber, [wish]);
  }

  #unsubscribe(channel: string): void {
    if (!this.context.subscriber.remove(channel)) {
      throw new Refusal(400, "not_subscribed", `Not subscribed to ${quote(channel)}`);
    }
  }

  #publish(fields: Fields): Promise<void> | void {
    const { hub, grant, limits } = this.context;
    const channel = textField(fields, "channel");
    const data = textField(fields, "data");
    const id = fields.id === undefined ? undefined : textField(fields, "id");
    checkName("channel", channel);
    checkData("data", data, limits.maxMessage);
    if (!grant.mayPublish(channel)) {
      throw new Refusal(403, "forbidden", `Not allowed to publish to ${quote(channel)}`);
    }
    if (this.tooFast) {
      throw new Refusal(429, "too_many_requests", "Publishing faster than --publish-rate allows");
    }
    const receipt = hub.publish({ channel, data });
    if (receipt instanceof Promise) return receipt.then((receipt) => this.#ack(id, receipt));
    this.#ack(id, receipt);
  }

  #ack(id: string | undefined, { channel, seq }: Receipt): void {
    if (id !== undefined) (this.#answers ??= []).push(line("ack", { id, channel, seq }));
  }

  #refuse(error: unknown, { id, channel }: Fields): void {
    const context: Record<string, string> = {};
    if (typeof id === "string") context.id = id;
    if (typeof channel === "string") context.channel = channel;
    if (error instanceof Refusal && error.status === 413) {
      this.#answer();
      this.endTooLarge();
    } else {
      const { code, message } = this.#explain(error);
      (this.#answers ??= []).push(line("error", { code, message, ...context }));
      if (++this.#errors < MAX_ERRORS) return;
      this.#answer();
      this.end("forbidden", `${MAX_ERRORS} refused lines in one frame`);
    }
  }

  #explain(error: unknown): { code: string; message: string } {
    if (error instanceof Refusal) return error;
    if (error instanceof EngineFullError) {
      return { code: "too_many_channels", message: error.message };
    }
    this.context.report(error);
    return internalError();
  }

  #answer(): void {
    if (this.#answers === undefined) return;
    this.context.subscriber.sent(this.sink.send(this.#answers.join("\n")));
    this.#answers = undefined;
  }
}

function parseCommand(text: string): [string, Fields] {
  let command: unknown;
  try {
    command = parseJson(text);
  } catch {
    command = undefined;
  }
  if (!Array.isArray(command) || command.length !== 2 || typeof command[0] !== "string") {
    throw new Refusal(
      400,
      "bad_command",
      `Cannot parse the line ${quote(text)}: expected ["sub", {"channel": "x"}] or the like`,
    );
  }
  const [kind, fields] = command;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new Refusal(400, "bad_command", `Expected an object in the line ${quote(text)}`);
  }
  return [kind, fields];
}

function wishOf(fields: Fields): Wish {
  const channel = textField(fields, "channel");
  checkName("channel", channel);
  if (fields.seq === undefined) {
    const other = Object.keys(fields).find((name) => mayMean(name, "seq"));
    if (other === undefined) return { channel };
    throw new Refusal(
      400,
      "unknown_parameter",
      `Unknown field ${quote(other)}: did you mean "seq"?`,
    );
  }
  const seq = typeof fields.seq === "number" ? String(fields.seq) : textField(fields, "seq");
  try {
    return { channel, cursor: parseCursor(seq) };
  } catch (error) {
    throw new Refusal(400, "bad_parameter", (error as Error).message);
  }
}

function textField(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  if (value === undefined) {
    const other = Object.keys(fields).find((other) => mayMean(other, name));
    const hint = other === undefined ? "" : `, but ${quote(other)} is given`;
    throw new Refusal(400, "missing_parameter", `Field "${name}" is missing${hint}`);
  }
  throw new Refusal(400, "bad_parameter", `Field "${name}" must be a string`);
}
