/**
 * WebSockets, on the way in: what clients send, plain and in `river.v1`.
 *
 * @module
 */
import type { Grant } from "./access.ts";
import { parseCursor, quote } from "./cursor.ts";
import { EngineFullError, type Receipt } from "./engine.ts";
import { HttpError } from "./http_error.ts";
import type { Hub, Wish } from "./hub.ts";
import { line, utf8Length } from "./message.ts";
import { checkData, checkName, type RequestLimits } from "./params.ts";
import { CLOSE_CODES, type LineSocketSink, type PlainSocketSink } from "./socket_sink.ts";
import type { Subscriber } from "./subscriber.ts";

/** What a session works with. */
export interface SessionOptions {
  /** Publishes and subscribes. */
  readonly hub: Hub;
  /** The client's subscriptions. */
  readonly subscriber: Subscriber;
  /** What the client may do. */
  readonly grant: Grant;
  /** What frames and messages are held to. */
  readonly limits: RequestLimits;
  /** Takes errors that are nobody's fault but ours. */
  readonly report: (error: unknown) => void;
}

/** Takes the frames of one socket. */
export interface Session {
  /** Takes one frame as the socket gave it: a string if it is a text frame. */
  receive(data: unknown): void;
}

/** Closes the socket if a frame is no text or too large. */
function acceptable(
  data: unknown,
  sink: PlainSocketSink | LineSocketSink,
  limits: RequestLimits,
): data is string {
  if (typeof data !== "string") {
    sink.end(CLOSE_CODES.unsupported, "text frames only");
    return false;
  }
  if (data.length * 3 > limits.maxBody && utf8Length(data) > limits.maxBody) {
    sink.end(CLOSE_CODES.tooLarge, `a frame may have ${limits.maxBody} bytes`);
    return false;
  }
  return true;
}

/** Publishes each frame to the one channel of a plain socket. */
export class PlainSession implements Session {
  readonly #sink: PlainSocketSink;
  readonly #channel: string;
  readonly #options: SessionOptions;

  /** A session that publishes to `channel`, and closes the socket through `sink`. */
  constructor(sink: PlainSocketSink, channel: string, options: SessionOptions) {
    this.#sink = sink;
    this.#channel = channel;
    this.#options = options;
  }

  receive(data: unknown): void {
    const { hub, grant, limits } = this.#options;
    if (!acceptable(data, this.#sink, limits)) return;
    if (!grant.mayPublish(this.#channel)) {
      return this.#sink.end(CLOSE_CODES.forbidden, "not allowed to publish");
    }
    try {
      checkData("data", data, limits.maxMessage);
      const receipt = hub.publish({ channel: this.#channel, data });
      if (receipt instanceof Promise) receipt.catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (error instanceof HttpError) {
      this.#sink.end(
        CLOSE_CODES.tooLarge,
        `a message may have ${this.#options.limits.maxMessage} bytes`,
      );
    } else if (error instanceof EngineFullError) {
      this.#sink.end(CLOSE_CODES.full, "no room for the channel: try again later");
    } else {
      this.#options.report(error);
      this.#sink.end(CLOSE_CODES.error, "internal error");
    }
  }
}

type Fields = Record<string, unknown>;

/** Carries out the commands of `river.v1`: a line that fails is answered, the socket lives. */
export class LineSession implements Session {
  readonly #sink: LineSocketSink;
  readonly #options: SessionOptions;
  /** Answers to the frame at hand; they leave in one frame. */
  #answers: string[] = [];

  /** A session that answers through `sink`. */
  constructor(sink: LineSocketSink, options: SessionOptions) {
    this.#sink = sink;
    this.#options = options;
  }

  receive(data: unknown): void {
    if (!acceptable(data, this.#sink, this.#options.limits)) return;
    for (const text of data.split("\n")) {
      if (text !== "") this.#carryOut(text);
    }
    this.#answer();
  }

  #carryOut(text: string): void {
    let fields: Fields = {};
    try {
      const [kind, object] = parseCommand(text);
      fields = object;
      const done = this.#command(kind, fields);
      if (done instanceof Promise) {
        done.catch((error) => this.#refuse(error, fields)).then(() => this.#answer());
      }
    } catch (error) {
      this.#refuse(error, fields);
    }
  }

  #command(kind: string, fields: Fields): Promise<void> | void {
    switch (kind) {
      case "sub":
        return this.subscribe(wishOf(fields));
      case "unsub":
        return this.#unsubscribe(textField(fields, "channel"));
      case "pub":
        return this.#publish(fields);
      default:
        throw new HttpError(
          400,
          "unknown_command",
          `Unknown command ${quote(kind)}: expected sub, unsub or pub`,
        );
    }
  }

  /**
   * Joins a channel.
   *
   * @throws {HttpError} 400 if it is joined already or one too many, 403 if it is not allowed.
   */
  subscribe(wish: Wish): Promise<void> | void {
    const { hub, subscriber, grant, limits } = this.#options;
    const name = quote(wish.channel);
    if (!grant.maySubscribe(wish.channel)) {
      throw new HttpError(403, "forbidden", `Not allowed to subscribe to ${name}`);
    }
    if (subscriber.find(wish.channel) !== undefined) {
      throw new HttpError(400, "already_subscribed", `Already subscribed to ${name}`);
    }
    if (subscriber.size >= limits.maxChannelsPerClient) {
      throw new HttpError(
        400,
        "too_many_channels",
        `Cannot subscribe to ${name}: ${limits.maxChannelsPerClient} channels a client are ` +
          "allowed (--max-channels-per-client)",
      );
    }
    return hub.subscribe(subscriber, [wish]);
  }

  #unsubscribe(channel: string): void {
    if (!this.#options.subscriber.remove(channel)) {
      throw new HttpError(400, "not_subscribed", `Not subscribed to ${quote(channel)}`);
    }
  }

  #publish(fields: Fields): Promise<void> | void {
    const { hub, grant, limits } = this.#options;
    const channel = textField(fields, "channel");
    const data = textField(fields, "data");
    const id = fields.id === undefined ? undefined : textField(fields, "id");
    checkName("channel", channel);
    checkData("data", data, limits.maxMessage);
    if (!grant.mayPublish(channel)) {
      throw new HttpError(403, "forbidden", `Not allowed to publish to ${quote(channel)}`);
    }
    const receipt = hub.publish({ channel, data });
    if (receipt instanceof Promise) return receipt.then((receipt) => this.#ack(id, receipt));
    this.#ack(id, receipt);
  }

  #ack(id: string | undefined, { channel, seq }: Receipt): void {
    if (id !== undefined) this.#answers.push(line("ack", { id, channel, seq }));
  }

  #refuse(error: unknown, { id, channel }: Fields): void {
    const context: Record<string, string> = {};
    if (typeof id === "string") context.id = id;
    if (typeof channel === "string") context.channel = channel;
    if (error instanceof HttpError && error.status === 413) {
      this.#sink.end(
        CLOSE_CODES.tooLarge,
        `a message may have ${this.#options.limits.maxMessage} bytes`,
      );
    } else if (error instanceof HttpError) {
      const { code, message } = error;
      this.#answers.push(line("error", { code, message, ...context }));
    } else if (error instanceof EngineFullError) {
      const { message } = error;
      this.#answers.push(line("error", { code: "too_many_channels", message, ...context }));
    } else {
      this.#options.report(error);
      const message = "Something broke; see the server's log";
      this.#answers.push(line("error", { code: "internal_error", message, ...context }));
    }
  }

  #answer(): void {
    if (this.#answers.length === 0) return;
    this.#sink.send(this.#answers.join("\n"));
    this.#answers = [];
  }
}

function parseCommand(text: string): [string, Fields] {
  let command: unknown;
  try {
    command = JSON.parse(text);
  } catch {
    command = undefined;
  }
  if (!Array.isArray(command) || command.length !== 2 || typeof command[0] !== "string") {
    throw new HttpError(
      400,
      "bad_command",
      `Cannot parse the line ${quote(text)}: expected ["sub", {"channel": "x"}] or the like`,
    );
  }
  const [kind, fields] = command;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new HttpError(400, "bad_command", `Expected an object in the line ${quote(text)}`);
  }
  return [kind, fields];
}

function wishOf(fields: Fields): Wish {
  const channel = textField(fields, "channel");
  checkName("channel", channel);
  if (fields.seq === undefined) return { channel };
  const seq = typeof fields.seq === "number" ? String(fields.seq) : textField(fields, "seq");
  try {
    return { channel, cursor: parseCursor(seq) };
  } catch (error) {
    throw new HttpError(400, "bad_parameter", (error as Error).message);
  }
}

function textField(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  if (value === undefined) {
    throw new HttpError(400, "missing_parameter", `Field "${name}" is missing`);
  }
  throw new HttpError(400, "bad_parameter", `Field "${name}" must be a string`);
}
