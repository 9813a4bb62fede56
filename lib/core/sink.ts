/**
 * The contract of a sink, which every transport implements. `tests/support/sink_suite.ts` holds
 * every sink to it.
 *
 * @module
 */
import type { Position } from "./cursor.ts";
import type { Frame } from "./message.ts";

/** All reasons why a subscriber is closed. */
export const CLOSE_REASONS = [
  /** It got everything that it asked for. */
  "done",
  /** The client went away. */
  "gone",
  /** Its client sent something that is not allowed. */
  "refused",
  /** Its lifetime was over. */
  "timeout",
  /** Its token expired, or the key or secret behind its rights was replaced. */
  "expired",
  /** It had more unsent bytes than allowed. */
  "slow",
  /** The server is shutting down. */
  "shutdown",
  /** The engine cannot replay at the moment. */
  "unavailable",
  /** Something went wrong in the server. */
  "error",
] as const;

/** Why a subscriber was closed. */
export type CloseReason = typeof CLOSE_REASONS[number];

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
  /** Whether it ends after one answer, as long-poll and JSONP do. */
  readonly once: boolean;

  /**
   * Maximum number of messages per write. `exceeds` is called before every write. It is `Infinity`,
   * unless each message takes much more memory than its data.
   */
  readonly maxPerWrite: number;

  /**
   * MUST return whether more than `limit` bytes are unsent. Unsent bytes are those that the sink
   * has taken but the transport has not. It is called before every write, so it MUST be cheap.
   */
  exceeds(limit: number): boolean;

  /** Bytes of memory that unsent frames take. */
  readonly held: number;

  /**
   * Called when a channel was joined: once per channel, and before anything else about it. The
   * messages of the channel come after `position`.
   */
  open(channel: string, position: Position): void;

  /**
   * MUST send the frame after all frames before it, whole or not at all. MUST return roughly how
   * many bytes it takes, or 0 if nothing was sent because the format does not show gaps.
   */
  write(frame: Frame): number;

  /** MUST send something that the client does not mistake for a message. */
  heartbeat(): void;

  /** Ends the transport and tells the client why, as well as it can. MUST be idempotent. */
  close(reason: CloseReason): void;
}
