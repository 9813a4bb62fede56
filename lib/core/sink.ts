/**
 * The contract of a sink, which every transport implements. `tests/support/sink_suite.ts` holds
 * every sink to it.
 *
 * @module
 */
import type { Position } from "./cursor.ts";
import type { Frame } from "./message.ts";

/** Why a subscriber was closed. */
export type CloseReason =
  /** It got everything that it asked for. */
  | "done"
  /** The client went away. */
  | "gone"
  /** Its client sent something that is not allowed. */
  | "refused"
  /** Its lifetime was over. */
  | "timeout"
  /** Its token expired. */
  | "expired"
  /** It had more unsent than is allowed. */
  | "slow"
  /** The server is shutting down. */
  | "shutdown"
  /** Something broke in the server. */
  | "error";

/**
 * The writing end of a transport. `tests/support/sink_suite.ts` holds every sink to these rules.
 *
 * A sink MUST NOT block. It MUST NOT change a frame, and MUST NOT keep it once it is sent. It MUST
 * NOT throw because its client went away. After `close` every other call MUST be harmless.
 *
 * @example A sink that prints lines, as a subscriber of a river
 * ```ts
 * import { createRiver } from "../river.ts";
 * import type { Position } from "./cursor.ts";
 * import type { Frame } from "./message.ts";
 * import type { CloseReason, Sink } from "./sink.ts";
 *
 * class ConsoleSink implements Sink {
 *   readonly once = false;
 *   readonly maxPerWrite = Infinity;
 *   readonly held = 0;
 *
 *   exceeds(): boolean {
 *     return false;
 *   }
 *
 *   open(channel: string, position: Position): void {
 *     console.log("open", channel, position);
 *   }
 *
 *   write(frame: Frame): number {
 *     console.log(frame.text);
 *     return frame.textBytes;
 *   }
 *
 *   heartbeat(): void {
 *     console.log("alive");
 *   }
 *
 *   close(reason: CloseReason): void {
 *     console.log("closed", reason);
 *   }
 * }
 *
 * const { hub, start } = createRiver();
 * await start();
 * await hub.subscribe(hub.connect(new ConsoleSink()), [{ channel: "news" }]);
 * ```
 */
export interface Sink {
  /** Whether one answer ends it: long-poll and JSONP. */
  readonly once: boolean;

  /**
   * Most messages that it may be given between two calls of `exceeds`. `Infinity`, unless each
   * message takes much more than its data.
   */
  readonly maxPerWrite: number;

  /**
   * MUST tell whether more than `limit` bytes are unsent: taken by the sink, but not by the
   * transport. It is called before every message, so it MUST be cheap.
   */
  exceeds(limit: number): boolean;

  /** Bytes of memory that unsent frames take. */
  readonly held: number;

  /**
   * A channel was joined. Its messages come after `position`. Called once per channel, before
   * anything else about the channel.
   */
  open(channel: string, position: Position): void;

  /**
   * MUST send the frame after all frames before it, whole or not at all. MUST return roughly how
   * many bytes it takes. That is 0 if there was nothing to send, because the format does not show
   * gaps.
   */
  write(frame: Frame): number;

  /** MUST send something that the client does not take for a message. */
  heartbeat(): void;

  /** Ends the transport, and tells the client why as well as it can. MUST be idempotent. */
  close(reason: CloseReason): void;
}
