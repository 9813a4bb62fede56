/**
 * A sink that remembers, and can be stopped up.
 *
 * @module
 */
import { TimerWheel } from "../../lib/base/timer_wheel.ts";
import { printCursor } from "../../lib/core/cursor.ts";
import type { Gap } from "../../lib/core/gap.ts";
import { Batch, type Frame } from "../../lib/core/message.ts";
import { noMetrics } from "../../lib/core/metrics.ts";
import type { CloseReason, Sink } from "../../lib/core/sink.ts";
import type { SubscriberContext } from "../../lib/core/subscriber.ts";

/** What happened to a sink, in order. */
export type SinkEvent =
  | { kind: "open"; channel: string; cursor: string }
  | { kind: "message"; channel: string; epoch: string; seq: number; data: string }
  | { kind: "gap"; gap: Gap }
  | { kind: "heartbeat" }
  | { kind: "close"; reason: CloseReason };

/** Remembers everything that is sent. */
export class RecordingSink implements Sink {
  readonly once: boolean;
  maxPerWrite = Infinity;
  readonly events: SinkEvent[] = [];
  /** Batches and gaps as they came. */
  readonly frames: Frame[] = [];
  /** While true, what is written stays unsent. */
  clogged = false;
  #unsent = 0;

  constructor({ once = false }: { once?: boolean } = {}) {
    this.once = once;
  }

  /** `seq` of every message, in order. */
  get seqs(): number[] {
    return this.messages.map(({ seq }) => seq);
  }

  /** Every message, in order. */
  get messages() {
    return this.events.filter((event) => event.kind === "message");
  }

  /** Every gap, in order. */
  get gaps(): Gap[] {
    return this.events.filter((event) => event.kind === "gap").map(({ gap }) => gap);
  }

  /** Why it was closed. */
  get closed(): CloseReason | undefined {
    return this.events.find((event) => event.kind === "close")?.reason;
  }

  /** Takes everything that was unsent. */
  unclog(): void {
    this.clogged = false;
    this.#unsent = 0;
  }

  exceeds(limit: number): boolean {
    return this.#unsent > limit;
  }

  open(...[channel, position]: Parameters<Sink["open"]>): void {
    this.events.push({ kind: "open", channel, cursor: printCursor(position) });
  }

  get held(): number {
    return this.#unsent;
  }

  write(frame: Frame): number {
    this.frames.push(frame);
    if (this.clogged) this.#unsent += frame.text.length;
    if (!(frame instanceof Batch)) {
      this.events.push({ kind: "gap", gap: frame as Gap });
      return frame.text.length;
    }
    for (const { channel, epoch, seq, data } of frame.messages) {
      this.events.push({ kind: "message", channel, epoch, seq, data });
    }
    return frame.text.length;
  }

  heartbeat(): void {
    this.events.push({ kind: "heartbeat" });
  }

  close(reason: CloseReason): void {
    this.events.push({ kind: "close", reason });
  }
}

/** A wheel whose time stands still until `pass` moves it. */
export function stoppedWheel(): { wheel: TimerWheel; pass: (ms: number) => void } {
  let time = 0;
  const wheel = new TimerWheel({ clock: () => time });
  return {
    wheel,
    pass(ms) {
      time += ms;
      wheel.advance();
    },
  };
}

/** The context of a subscriber in a test; `changes` on top of roomy defaults. */
export function subscriberContext(changes: Partial<SubscriberContext> = {}): SubscriberContext {
  return {
    wheel: stoppedWheel().wheel,
    metrics: noMetrics,
    report(error) {
      throw error;
    },
    maxQueue: 1_000_000,
    heartbeat: 25_000,
    unsent: { wrote() {}, full: false },
    whenRoom() {},
    ...changes,
  };
}
