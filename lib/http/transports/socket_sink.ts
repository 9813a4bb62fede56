/**
 * Outgoing WebSocket traffic, of plain sockets and of `river.v1`.
 *
 * @module
 */
import { type Position, printCursor } from "../../core/cursor.ts";
import { FRAME_COST, FrameQueue } from "../../core/frame_queue.ts";
import { Batch, type Format, type Frame, line, utf8Length } from "../../core/message.ts";
import type { CloseReason, Sink } from "../../core/sink.ts";

/** The close code of a WebSocket for each reason. */
export const CLOSE_CODES = {
  done: 1000,
  gone: 1000,
  refused: 1008,
  timeout: 1000,
  shutdown: 1001,
  unsupported: 1003,
  forbidden: 1008,
  tooLarge: 1009,
  error: 1011,
  full: 1013,
  unavailable: 1013,
  slow: 3008,
  expired: 3500,
} as const;

/** The common part of plain and `river.v1` sockets. */
export abstract class SocketSink implements Sink {
  readonly once = false;
  /** See `Sink.maxPerWrite`. */
  abstract readonly maxPerWrite: number;
  /** The unsent frames of messages. */
  readonly #frames = new FrameQueue();
  /** The unsent frames of answers. Most sockets never get answers. */
  #answers: FrameQueue | undefined;
  /** The socket to send to. */
  protected readonly socket: WebSocket;
  /** Notified if the socket will never open. */
  owner: { lost(): void } | undefined;
  readonly #retryMs: () => number;

  /**
   * A sink that sends to `socket`.
   *
   * @param retryMs Returns the delay in milliseconds after which a client is told to reconnect when
   * the server shuts down.
   */
  constructor(socket: WebSocket, retryMs: () => number) {
    this.socket = socket;
    this.#retryMs = retryMs;
  }

  abstract open(channel: string, position: Position): void;
  abstract write(frame: Frame): number;
  /** Sends a heartbeat if the runtime's pings are not enough. */
  protected abstract beat(): void;

  heartbeat(): void {
    if (this.socket.readyState === WebSocket.CONNECTING) this.owner?.lost();
    else this.beat();
  }

  exceeds(limit: number): boolean {
    return this.#queued > limit;
  }

  get held(): number {
    return this.#queued + FRAME_COST * (this.#answers?.count(this.socket.bufferedAmount) ?? 0);
  }

  /** Unsent bytes, plus the cost of the unsent frames of messages. */
  get #queued(): number {
    const { bufferedAmount } = this.socket;
    return bufferedAmount + FRAME_COST * this.#frames.count(bufferedAmount);
  }

  /** Counts frames that were sent, and their bytes in total. Returns their cost. */
  protected wrote(frames: number, bytes: number): number {
    this.#frames.push(frames, bytes);
    return bytes + FRAME_COST * frames;
  }

  /**
   * Sends an answer, unless the socket is closing. Returns its cost. The answers to a burst of
   * commands may be more frames in one turn than a queue has room for. So the frames of answers add
   * to the sum of all queues, but not to the socket's own queue.
   */
  send(text: string): number {
    const bytes = utf8Length(text);
    this.#answers ??= new FrameQueue();
    this.#answers.count(this.socket.bufferedAmount);
    this.#answers.push(1, bytes);
    this.put(text);
    return bytes + FRAME_COST;
  }

  /** Sends one text frame, unless the socket is closing. Does not count it. */
  protected put(text: string): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  close(reason: CloseReason): void {
    const text = {
      done: "done",
      gone: "gone",
      refused: "refused",
      timeout: "client timeout: reconnect and resume",
      shutdown: `shutting down: retry in ${this.#retryMs()} ms`,
      unavailable: "the engine is not available: reconnect and resume",
      error: "internal error",
      slow: "too slow: reconnect and resume",
      expired: "token expired: reconnect with a new token and resume",
    };
    this.end(CLOSE_CODES[reason], text[reason]);
  }

  /** Starts the closing handshake, unless it has already begun. */
  end(code: number, reason: string): void {
    if (this.socket.readyState <= WebSocket.OPEN) this.socket.close(code, reason);
  }
}

/**
 * Sends one river line per frame, as the first version of river did. The runtime's pings are the
 * heartbeat.
 */
export class PlainSocketSink extends SocketSink {
  /** Few, because each message is a frame of its own, and each frame takes memory. */
  readonly maxPerWrite: number = 64;

  /** Does nothing: plain sockets get no positions. */
  open(): void {}

  /** Sends each line as a text frame of its own. */
  write(frame: Frame): number {
    const { lines, textBytes } = frame;
    for (const line of lines) this.put(line);
    return this.wrote(lines.length, textBytes - (lines.length - 1));
  }

  /** Does nothing: the runtime sends pings. */
  protected beat(): void {}
}

/** Encodes only data, to measure its bytes. A batch is encoded once for all its subscribers. */
const dataAlone: Format = {
  contentType: "",
  heartbeat: "",
  messages: (batch) => batch.messages.map(({ data }) => data).join(""),
  gap: () => "",
};

/**
 * Sends only the data, one message per frame, for pages that use each frame as HTML. Gaps are not
 * shown. An empty message is left out, because the runtime would not count its frame as unsent.
 */
export class RawSocketSink extends PlainSocketSink {
  /** Sends the data of each message as a text frame of its own. */
  override write(frame: Frame): number {
    if (!(frame instanceof Batch)) return 0;
    let frames = 0;
    for (const { data } of frame.messages) {
      if (data === "") continue;
      this.put(data);
      frames++;
    }
    return this.wrote(frames, frame.bytes(dataAlone).length);
  }
}

/** Sends `river.v1`: many lines per frame. An empty frame is the heartbeat. */
export class LineSocketSink extends SocketSink {
  /** No limit, because all lines share one frame. */
  readonly maxPerWrite: number = Infinity;

  /** Sends an `open` line with the position. */
  open(channel: string, position: Position): void {
    this.send(line("open", { channel, cursor: printCursor(position) }));
  }

  /** Sends all lines in one text frame. */
  write(frame: Frame): number {
    this.put(frame.text);
    return this.wrote(1, frame.textBytes);
  }

  /** Sends an empty text frame. */
  protected beat(): void {
    this.put("");
  }
}
