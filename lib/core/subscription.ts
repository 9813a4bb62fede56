/**
 * A subscription: catching up, then live. Here, once for all transports, history is joined to the live
 * stream without gap, repeat or reorder.
 *
 * @module
 */
import type { Cursor, Position } from "./cursor.ts";
import type { Replay } from "./engine.ts";
import { Batch, Gap, type GapReason } from "./message.ts";
import type { Subscriber } from "./subscriber.ts";

/** What a subscription needs from its channel. */
export interface Feed {
  /** Name of the channel. */
  readonly name: string;
  /** As `Engine.since`. */
  since(cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay;
  /** Removes the subscription; does nothing if it is gone already. */
  leave(subscription: Subscription): void;
}

/** One subscriber's place in one channel. */
export class Subscription {
  readonly #subscriber: Subscriber;
  readonly #feed: Feed;
  /** Only who gave a position is told of gaps. */
  readonly #resumes: boolean;
  #cursor: Cursor | undefined;
  #epoch = "";
  #seq = 0;
  #opened = false;
  #replayed = false;
  #ended = false;
  /** Caught up: the next message comes from the live stream. */
  live = false;
  /** What was published while we wait for an answer, which may not hold it. */
  #meanwhile: Batch[] | undefined;

  /**
   * A place of `subscriber` in the channel of `feed`, yet to catch up.
   *
   * @param cursor Where to start; without one, with what is published from now on.
   */
  constructor(subscriber: Subscriber, feed: Feed, cursor?: Cursor) {
    this.#subscriber = subscriber;
    this.#feed = feed;
    this.#cursor = cursor;
    this.#resumes = cursor !== undefined;
  }

  /** Name of the channel. */
  get channel(): string {
    return this.#feed.name;
  }

  /** Takes what was just published. */
  deliver(batch: Batch): void {
    if (!this.live) {
      // Unless an answer is under way, the next piece of history will have it.
      this.#meanwhile?.push(batch);
    } else if (batch.first === this.#seq + 1 && batch.epoch === this.#epoch) {
      this.#seq = batch.last;
      this.#subscriber.write(batch);
      this.#subscriber.settle();
    } else {
      this.#realign(batch);
    }
  }

  /**
   * Tells the client the position at which it starts. Without a cursor it is live from then on. A
   * promise only with an engine that answers later.
   */
  open(): Promise<void> | void {
    if (this.#cursor === undefined) return this.catchUp();
    const { epoch, seq } = this.#cursor;
    if (epoch !== undefined) return this.#open({ epoch, seq });
    try {
      const replay = this.#feed.since(undefined, 0);
      if (!(replay instanceof Promise)) return this.#open({ epoch: replay.epoch, seq });
      return replay.then(
        ({ epoch }) => this.#open({ epoch, seq }),
        (error) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Sends history until there is no more, then goes live in the same turn; goes on later if there is
   * no room for it. A promise only with an engine that answers later.
   */
  catchUp(): Promise<void> | void {
    const subscriber = this.#subscriber;
    // An answer that is under way does it.
    if (this.#meanwhile !== undefined) return;
    try {
      while (!this.#ended && !this.live) {
        // Where there is no history to send, there is nothing to wait for.
        if (this.#cursor !== undefined && !subscriber.hasRoom) {
          return subscriber.awaitRoom(this, this.#replayed);
        }
        const replay = this.#feed.since(this.#cursor, subscriber.historyPiece);
        if (replay instanceof Promise) return this.#awaitReplay(replay);
        this.#take(replay);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #awaitReplay(replay: Promise<Replay>): Promise<void> {
    const subscriber = this.#subscriber;
    const history = this.#cursor !== undefined;
    this.#meanwhile = [];
    if (history) subscriber.asking = true;
    try {
      this.#take(await replay);
    } catch (error) {
      this.#fail(error);
    }
    if (history) subscriber.asking = false;
    await this.catchUp();
    if (history) subscriber.resume();
  }

  /** An answer failed: of no concern to a subscriber that has left the channel meanwhile. */
  #fail(error: unknown): void {
    if (!this.#ended) this.#subscriber.fail(error);
  }

  /** Leaves the channel. */
  end(): void {
    this.#ended = true;
    this.#feed.leave(this);
  }

  #open(position: Position): void {
    if (this.#opened || this.#ended) return;
    this.#opened = true;
    this.#cursor = position;
    this.#subscriber.open(this.channel, position);
  }

  /** Takes a piece of history, and goes live if it is the last. */
  #take({ epoch, head, messages }: Replay): void {
    const meanwhile = this.#meanwhile;
    this.#meanwhile = undefined;
    if (this.#ended) return;
    const subscriber = this.#subscriber;
    // The rest is asked for again when there is room.
    if (messages.length > subscriber.atOnce) messages = messages.slice(0, subscriber.atOnce);
    const next = messages.length > 0 ? messages[0].seq : head + 1;
    const asked = this.#cursor ?? { epoch, seq: head };
    this.#open({ epoch: asked.epoch ?? epoch, seq: asked.seq });
    const reason = this.#gapReason(asked, epoch, head, next);
    if (reason !== undefined && this.#resumes) {
      subscriber.writeGap(new Gap(this.channel, asked.seq + 1, next - 1, epoch, reason));
    }
    this.#epoch = epoch;
    this.#seq = next - 1 + messages.length;
    this.#cursor = { epoch, seq: this.#seq };
    this.#replayed = true;
    if (messages.length > 0 && !this.#ended) subscriber.writeHistory(new Batch(messages));
    if (this.#ended || this.#seq < head) return;
    this.live = true;
    for (const batch of meanwhile ?? []) {
      // The one before may have been all that was wanted.
      if (this.#ended) return;
      this.deliver(batch);
    }
    subscriber.settle();
  }

  #gapReason(asked: Cursor, epoch: string, head: number, next: number): GapReason | undefined {
    if (asked.epoch !== undefined && asked.epoch !== epoch) return "restart";
    if (asked.seq > head) return "ahead";
    if (next > asked.seq + 1) return this.#replayed ? "slow" : "evicted";
  }

  /** The batch is not what comes next: the channel started over, or the engine's relay slipped. */
  #realign(batch: Batch): void {
    // Relayed before a reset that we know of: epochs sort by age.
    if (batch.epoch < this.#epoch) return;
    if (batch.epoch === this.#epoch && batch.last <= this.#seq) return;
    if (batch.epoch === this.#epoch && batch.first <= this.#seq) {
      return this.deliver(batch.slice(this.#seq + 1 - batch.first));
    }
    if (batch.epoch > this.#epoch && batch.first === 1) {
      if (this.#resumes) {
        const { channel, epoch } = batch;
        this.#subscriber.writeGap(new Gap(channel, this.#seq + 1, 0, epoch, "restart"));
      }
      this.#epoch = batch.epoch;
      this.#seq = 0;
      return this.deliver(batch);
    }
    this.live = false;
    this.#cursor = { epoch: this.#epoch, seq: this.#seq };
    this.#replayed = false;
    this.catchUp();
  }
}
