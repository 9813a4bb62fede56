/**
 * The events that metrics count.
 *
 * @module
 */
import type { GapReason } from "./gap.ts";

/** Counts events. The hot path calls it, so calls must be cheap and must not throw. */
export interface Metrics {
  /** Messages were handed to a sink, as so many bytes. */
  delivered(messages: number, bytes: number): void;
  /** A subscriber was told of a gap. */
  gap(reason: GapReason): void;
  /** A subscriber connected. */
  connected(transport: string): void;
  /** A subscriber left or was closed. */
  disconnected(transport: string, reason: string): void;
  /** A request, or a line of a WebSocket, was refused with this status and code. */
  refused(status: number, code: string): void;
  /** The server could not accept connections. */
  acceptFailed(): void;
}

/** Counts nothing. */
export const noMetrics: Metrics = {
  delivered() {},
  gap() {},
  connected() {},
  disconnected() {},
  refused() {},
  acceptFailed() {},
};
