/**
 * The contract of a sink: what a transport implements. `tests/support/sink_suite.ts` holds every sink to it.
 *
 * @module
 */
import type { Position } from "./cursor.ts";
import type { Frame } from "./message.ts";

/** Why a subscriber was closed. */
export type CloseReason =
  /** It got all it asked for. */
  | "done"
  /** The client went away. */
  | "gone"
  /** It was ended for what its client sent. */
  | "refused"
  /** Its time was over. */
  | "timeout"
  /** Its token was good until now. */
  | "expired"
  /** More was unsent than is allowed. */
  | "slow"
  /** The server is shutting down. */
  | "shutdown"
  /** Something broke on our side. */
  | "error";

/**
 * What a transport implements. `tests/support/sink_suite.ts` holds every sink to these rules.
 *
 * A sink MUST NOT block, MUST NOT keep or change what it is given beyond sending it, and MUST NOT
 * throw because its client went away. After `close` every other call MUST be harmless.
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
 *   readonly atOnce = Infinity;
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
   * Messages that it may be given between two looks at its queue: fewer than any number where each
   * takes much more than its data.
   */
  readonly atOnce: number;

  /**
   * MUST tell whether more than `limit` bytes are unsent: taken by the sink, but not by the
   * transport. Asked before every message: MUST be cheap.
   */
  exceeds(limit: number): boolean;

  /** Bytes of memory that unsent frames take. */
  readonly held: number;

  /**
   * A channel was joined; what follows on it comes after `position`. Called once a channel, before
   * anything else about the channel.
   */
  open(channel: string, position: Position): void;

  /**
   * MUST send the frame after all frames before it, whole or not at all. MUST return about how many
   * bytes that takes, 0 if there was nothing to send: a format may have no words for a gap.
   */
  write(frame: Frame): number;

  /** MUST send something that the client takes for no message. */
  heartbeat(): void;

  /** Ends the transport, telling the client why as well as it can. MUST be idempotent. */
  close(reason: CloseReason): void;
}
