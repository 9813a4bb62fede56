/**
 * What happens, as events.
 *
 * @module
 */
import type { GapReason } from "./message.ts";

/** Takes events. Calls are made on the hot path: they must be cheap and must not throw. */
export interface Metrics {
  /** Messages were handed to a sink. */
  delivered(messages: number): void;
  /** A subscriber was told of a gap. */
  gap(reason: GapReason): void;
  /** A subscriber came. */
  connected(transport: string): void;
  /** A subscriber went. */
  disconnected(transport: string, reason: string): void;
  /** A request was refused with this status. */
  refused(status: number): void;
  /** Connections could not be accepted. */
  acceptFailed(): void;
}

/** Takes no notice. */
export const noMetrics: Metrics = {
  delivered() {},
  gap() {},
  connected() {},
  disconnected() {},
  refused() {},
  acceptFailed() {},
};
