/**
 * Incoming WebSocket traffic: the events of any socket, and the frames of a plain socket.
 *
 * @module
 */
import type { Grant } from "../../access/access.ts";
import type { ClientRate } from "../../access/rate_limit.ts";
import type { Hub, Join } from "../../core/hub.ts";
import { utf8Length } from "../../core/message.ts";
import { checkData } from "../../core/names.ts";
import { Refusal } from "../../core/refusal.ts";
import type { Subscriber } from "../../core/subscriber.ts";
import type { RequestLimits } from "../params.ts";
import { Inbox, type Inboxes, type InboxOwner } from "./inbox.ts";
import { CLOSE_CODES, type SocketSink } from "./socket_sink.ts";

/** How the metrics count a close that the client caused: as the same mistake over HTTP. */
const REFUSALS: Readonly<Record<string, [status: number, code: string]>> = {
  unsupported: [415, "unsupported_type"],
  forbidden: [403, "forbidden"],
  tooLarge: [413, "message_too_large"],
  full: [503, "socket_full"],
};

/** The parts that a session uses. */
export interface SessionContext {
  /** Publishes and subscribes. */
  readonly hub: Hub;
  /** The client's subscriber. */
  readonly subscriber: Subscriber;
  /** The channels to join when the socket is open. */
  readonly joins: readonly Join[];
  /** The client's rights. */
  readonly grant: Grant;
  /** The limits of frames and messages. */
  readonly limits: RequestLimits;
  /** Where frames wait while the server has no time for them. */
  readonly inboxes: Inboxes;
  /** Takes errors that only river itself can cause. */
  readonly report: (error: unknown) => void;
  /** Called for every refusal of something that the client sent. */
  readonly onRefused: (refusal: Refusal) => void;
  /** The limit of the client's publish rate. */
  readonly publishRate: ClientRate;
  /** Called once, when the socket is closed. */
  readonly onClose: () => void;
  /** Called with 1 if the runtime has leaked the socket, and with -1 if it closes after all. */
  readonly onLost: (change: 1 | -1) => void;
}

/**
 * Handles the events of one socket: `open`, `message` and `close`. There may be thousands of idle
 * sockets, so one object handles all events, to save memory.
 */
export abstract class SocketSession implements EventListenerObject, InboxOwner {
  /** Sends over the same socket. */
  protected readonly sink: SocketSink;
  /** The parts that the session uses. */
  protected readonly context: SessionContext;
  #ended = false;
  #lost = false;
  /** Exists only while frames wait. Most sockets never need an inbox. */
  #inbox: Inbox | undefined;

  /** A session that answers through `sink`. */
  constructor(sink: SocketSink, context: SessionContext) {
    this.sink = sink;
    this.context = context;
    sink.owner = this;
  }

  /**
   * Called when the socket has not opened within a heartbeat. It never will, and it reports no
   * close either.
   */
  lost(): void {
    this.#lost = true;
    this.context.onLost(1);
    this.context.subscriber.close("gone");
  }

  /** Like `carryOut`, but called only while the subscriber is open. May throw. */
  protected abstract receive(frame: string, at: number): number | undefined;

  /**
   * Closes the socket because of something that the client sent, or because of an error. The
   * subscriber ends at once, because the client may answer the close late or never.
   *
   * @param refusal How it is counted, if not by the code alone.
   */
  protected end(code: keyof typeof CLOSE_CODES, reason: string, refusal?: Refusal): void {
    this.sink.end(CLOSE_CODES[code], reason);
    if (code !== "error") {
      const [status, name] = REFUSALS[code];
      this.context.onRefused(refusal ?? new Refusal(status, name, reason));
    }
    this.context.subscriber.close(code === "error" ? "error" : "refused");
  }

  /** Closes the socket because a message is too large. */
  protected endTooLarge(): void {
    this.end("tooLarge", `a message may have at most ${this.context.limits.maxMessage} bytes`);
  }

  /** Closes the socket because of an error. */
  protected endAfterError(error: unknown): void {
    if (!(error instanceof Refusal)) {
      this.context.report(error);
      this.end("error", "internal error");
    } else if (error.status === 413) {
      this.endTooLarge();
    } else if (error.status === 503) {
      this.end("full", `${error.code}: try again later`, error);
    } else {
      this.end("forbidden", error.code, error);
    }
  }

  /** Whether the client publishes too fast. If not, counts one message. */
  protected get tooFast(): boolean {
    const { limit, address } = this.context.publishRate;
    if (!limit.enabled) return false;
    if (limit.wait(address) > 0) return true;
    limit.spend(address, 1);
    return false;
  }

  /** Carries out a frame, or the rest of one. Does nothing if the subscriber has ended. */
  carryOut(frame: string, at: number): number | undefined {
    const { hub, subscriber } = this.context;
    try {
      // The subscriber may have ended after the frame arrived, for example because its token
      // expired. The hub may be about to end it. `keepsUp()` ends it now if the client sends but
      // does not read the answers.
      if (subscriber.closed === undefined && !hub.closed && subscriber.keepsUp()) {
        return this.receive(frame, at);
      }
    } catch (error) {
      this.endAfterError(error);
    }
    this.#inbox?.clear();
  }

  /** Called when the inbox has become empty. */
  onEmpty(): void {
    this.#inbox = undefined;
    if (this.#ended) this.#release();
  }

  /** Called for every event of the socket. */
  handleEvent(event: Event): void {
    try {
      if (event.type === "open") this.#open();
      else if (event.type === "close") this.#close();
      else if (event instanceof MessageEvent) this.#message(event.data);
    } catch (error) {
      this.endAfterError(error);
    }
  }

  #open(): void {
    const { hub, subscriber, joins } = this.context;
    hub.subscribe(subscriber, joins)?.catch((error) => this.endAfterError(error));
  }

  #message(data: unknown): void {
    const { subscriber, limits: { maxBody } } = this.context;
    // The client sent this before it learned of the close.
    if (subscriber.closed !== undefined) return;
    if (typeof data !== "string") {
      this.end("unsupported", "text frames only");
    } else if (data.length * 3 > maxBody && utf8Length(data) > maxBody) {
      this.end("tooLarge", `a frame may have at most ${maxBody} bytes`);
    } else {
      const stopped = this.#inbox === undefined ? this.carryOut(data, 0) : 0;
      if (stopped !== undefined) this.#wait(data, stopped);
    }
  }

  /** Puts the rest of a frame into the inbox. */
  #wait(frame: string, at: number): void {
    const { inboxes } = this.context;
    this.#inbox ??= new Inbox(inboxes, this);
    if (this.#inbox.add(frame, at)) return;
    this.end("full", "sending faster than frames can be carried out (--max-inbox)");
  }

  #close(): void {
    // A socket may fire two close events.
    if (this.#ended) return;
    this.#ended = true;
    // Frames that the client sent before it left are still carried out.
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
    const { hub, grant, limits, inboxes, joins: [{ channel }] } = this.context;
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
      if (receipt instanceof Promise) receipt.catch((error) => this.endAfterError(error));
    } catch (error) {
      this.endAfterError(error);
    }
  }
}
