/**
 * Carries out the commands of `river.v1`, which clients send over a WebSocket with many channels.
 *
 * @module
 */
import { parseCursor } from "../../core/cursor.ts";
import { EngineUnavailableError, type Receipt } from "../../core/engine.ts";
import type { Join } from "../../core/hub.ts";
import { line } from "../../core/message.ts";
import { checkData, checkName, checkType } from "../../core/names.ts";
import { badParameter, internalError, quote, Refusal } from "../../core/refusal.ts";
import { mayMean } from "../parameter_names.ts";
import { parseJson } from "../json.ts";
import { MAX_LAST } from "../subscribe.ts";
import { SocketSession } from "./socket_session.ts";

/**
 * The number of refused lines in one frame at which the socket is closed. Such a client sends
 * something other than commands.
 */
export const MAX_ERRORS = 1000;

type Fields = Record<string, unknown>;

/**
 * A session of `river.v1`. A line that fails is answered with an error, and the socket stays open.
 */
export class LineSession extends SocketSession {
  /** Answers to the lines that are carried out in one call. They are sent in one frame. */
  #answers: string[] | undefined;
  /** Number of refused lines in the current frame. */
  #errors = 0;

  /** Carries out the lines of a frame. The answers to all lines of one call are one frame. */
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
      // If a line ended the socket, the lines after it are not carried out.
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
        done.catch((error) => this.#answerError(error, fields)).then(() => this.#answer());
      }
    } catch (error) {
      this.#answerError(error, fields);
    }
  }

  #perform(kind: string, fields: Fields): Promise<void> | void {
    switch (kind) {
      case "sub":
        return this.#subscribe(joinOf(fields));
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

  #subscribe(join: Join): Promise<void> | void {
    const { hub, subscriber, grant, limits } = this.context;
    const name = quote(join.channel);
    if (!grant.maySubscribe(join.channel)) {
      throw grant.refusal("subscribe", join.channel);
    }
    if (subscriber.find(join.channel) !== undefined) {
      throw new Refusal(400, "already_subscribed", `Already subscribed to ${name}`);
    }
    if (subscriber.size >= limits.maxChannelsPerClient) {
      throw new Refusal(
        400,
        "too_many_channels",
        `Cannot subscribe to ${name}: at most ${limits.maxChannelsPerClient} channels per client ` +
          "are allowed (--max-channels-per-client)",
      );
    }
    try {
      return hub.subscribe(subscriber, [join])?.catch((error) => this.#comeBack(error));
    } catch (error) {
      this.#comeBack(error);
    }
  }

  /**
   * Closes the socket if the engine is not available: a client takes an error line for the end of its
   * subscription, and a close for a reason to come back.
   */
  #comeBack(error: unknown): void {
    if (!(error instanceof EngineUnavailableError)) throw error;
    this.context.onRefused(error);
    this.context.subscriber.close("unavailable");
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
    const type = fields.type === undefined ? undefined : textField(fields, "type");
    checkName("channel", channel);
    checkData("data", data, limits.maxMessage);
    if (type !== undefined) checkType("type", type);
    if (!grant.mayPublish(channel)) {
      throw grant.refusal("publish", channel);
    }
    if (this.tooFast) {
      throw new Refusal(429, "too_many_requests", "Publishing faster than --publish-rate allows");
    }
    const receipt = hub.publish(type === undefined ? { channel, data } : { channel, data, type });
    if (receipt instanceof Promise) return receipt.then((receipt) => this.#ack(id, receipt));
    this.#ack(id, receipt);
  }

  #ack(id: string | undefined, { channel, seq }: Receipt): void {
    if (id !== undefined) (this.#answers ??= []).push(line("ack", { id, channel, seq }));
  }

  #answerError(error: unknown, { id, channel }: Fields): void {
    const context: Record<string, string> = {};
    if (typeof id === "string") context.id = id;
    if (typeof channel === "string") context.channel = channel;
    const refusal = this.#toRefusal(error);
    if (refusal.status === 413) {
      this.#answer();
      this.endTooLarge();
    } else {
      const { code, message } = refusal;
      this.context.onRefused(refusal);
      (this.#answers ??= []).push(line("error", { code, message, ...context }));
      if (++this.#errors < MAX_ERRORS) return;
      this.#answer();
      this.end("forbidden", `${MAX_ERRORS} refused lines in one frame`);
    }
  }

  #toRefusal(error: unknown): Refusal {
    if (error instanceof Refusal) return error;
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
      `Cannot parse the line ${quote(text)}: expected something like ["sub", {"channel": "x"}]`,
    );
  }
  const [kind, fields] = command;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new Refusal(
      400,
      "bad_command",
      `Expected an object after the command in the line ${quote(text)}`,
    );
  }
  return [kind, fields];
}

function joinOf(fields: Fields): Join {
  const channel = textField(fields, "channel");
  checkName("channel", channel);
  if (fields.seq === undefined && fields.last !== undefined) {
    const { last } = fields;
    if (Number.isInteger(last) && Number(last) >= 1 && Number(last) <= MAX_LAST) {
      return { channel, last: Number(last) };
    }
    throw badParameter("last", `expected a whole number from 1 to ${MAX_LAST}`);
  }
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
