/**
 * A subscription: first it catches up, then it is live. This is the one place, for all transports,
 * where history is joined to live messages without gaps, repeats or reordering.
 *
 * @module
 */
import type { Cursor, Position } from "./cursor.ts";
import type { Replay } from "./engine.ts";
import { Gap, gapReason } from "./gap.ts";
import { Batch } from "./message.ts";
import type { Subscriber } from "./subscriber.ts";

/** What a subscription needs from its channel. */
export interface Feed {
  /** Name of the channel. */
  readonly name: string;
  /** See `Engine.since`. */
  since(cursor: Cursor | undefined, maxBytes: number): Promise<Replay> | Replay;
  /** Removes the subscription. Does nothing if it is not there. */
  leave(subscription: Subscription): void;
}

/** One subscriber's place in one channel. */
export class Subscription {
  readonly #subscriber: Subscriber;
  readonly #feed: Feed;
  /** Whether the client gave a position. Only then is it told of gaps. */
  readonly #resumes: boolean;
  #cursor: Cursor | undefined;
  readonly #last: number;
  #epoch = "";
  #seq = 0;
  #opened = false;
  #replayed = false;
  #ended = false;
  /** Whether it has caught up: its next message is a live one. */
  live = false;
  /** Batches that arrived while an answer is awaited. The answer may not include them. */
  #meanwhile: Batch[] | undefined;

  /**
   * The place of `subscriber` in the channel of `feed`. It has yet to catch up.
   *
   * @param cursor Where to start. Without it, the next message published is the first.
   * @param last Without a cursor: how many of the newest kept messages to start with.
   */
  constructor(subscriber: Subscriber, feed: Feed, cursor?: Cursor, last = 0) {
    this.#subscriber = subscriber;
    this.#feed = feed;
    this.#cursor = cursor;
    this.#last = last;
    this.#resumes = cursor !== undefined;
  }

  /** Name of the channel. */
  get channel(): string {
    return this.#feed.name;
  }

  /** Takes a batch that was just published. */
  deliver(batch: Batch): void {
    if (!this.live) {
      // If no answer is awaited, the next piece of history includes the batch.
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
   * Tells the client the position at which it starts. Without a cursor or `last`, the subscription
   * is live from then on. Returns a promise only if the engine answers later.
   */
  open(): Promise<void> | void {
    if (this.#cursor === undefined) return this.#last > 0 ? this.#openAtLast() : this.catchUp();
    const { epoch: given, seq } = this.#cursor;
    // The present epoch may continue the given one, and give the position another name.
    const opened = ({ epoch, from }: Replay) => this.#open(from ?? { epoch: given ?? epoch, seq });
    try {
      const replay = this.#feed.since(this.#cursor, 0);
      if (!(replay instanceof Promise)) return opened(replay);
      return replay.then(opened, (error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Sends history until there is no more, then goes live in the same turn. If the sink is full, it
   * continues later. Returns a promise only if the engine answers later.
   */
  catchUp(): Promise<void> | void {
    const subscriber = this.#subscriber;
    // Catching up continues when the answer that is awaited arrives.
    if (this.#meanwhile !== undefined) return;
    try {
      while (!this.#ended && !this.live) {
        // Without a cursor there is no history to send, so it need not wait for room.
        if (this.#cursor !== undefined && !subscriber.hasRoom) {
          return subscriber.awaitRoom(this, this.#replayed);
        }
        const replay = this.#feed.since(this.#cursor, subscriber.historyPiece);
        if (replay instanceof Promise) return this.#awaitReplay(replay);
        this.#takeReplay(replay);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #awaitReplay(replay: Promise<Replay>): Promise<void> {
    const subscriber = this.#subscriber;
    const history = this.#cursor !== undefined;
    this.#meanwhile = [];
    if (history) subscriber.awaitsReplay = true;
    try {
      this.#takeReplay(await replay);
    } catch (error) {
      this.#fail(error);
    }
    if (history) subscriber.awaitsReplay = false;
    await this.catchUp();
    if (history) subscriber.resume();
  }

  /** Closes the subscriber because an answer failed, unless it has left the channel meanwhile. */
  #fail(error: unknown): void {
    if (!this.#ended) this.#subscriber.fail(error);
  }

  /** Leaves the channel. */
  end(): void {
    this.#ended = true;
    this.#feed.leave(this);
  }

  /** Opens at the position before the newest `#last` messages that are kept. */
  #openAtLast(): Promise<void> | void {
    try {
      const replay = this.#feed.since(undefined, 0);
      if (!(replay instanceof Promise)) return this.#openBefore(replay);
      return replay.then((replay) => this.#openBefore(replay)).catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #openBefore({ epoch, head }: Replay): Promise<void> | void {
    const position = { epoch, seq: Math.max(0, head - this.#last) };
    // Some of these messages may be gone, so start just before the first that is kept.
    const oldest = ({ epoch, head, messages: [first] }: Replay) =>
      this.#open({ epoch, seq: first === undefined ? head : first.seq - 1 });
    const replay = this.#feed.since(position, 1);
    return replay instanceof Promise ? replay.then(oldest) : oldest(replay);
  }

  #open(position: Position): void {
    if (this.#opened || this.#ended) return;
    this.#opened = true;
    this.#cursor = position;
    this.#subscriber.open(this.channel, position);
  }

  /** Takes a piece of history, and goes live if it is the last one. */
  #takeReplay({ epoch, from, head, messages }: Replay): void {
    const meanwhile = this.#meanwhile;
    this.#meanwhile = undefined;
    if (this.#ended) return;
    const subscriber = this.#subscriber;
    // The rest is requested again once there is room.
    if (messages.length > subscriber.maxPerWrite) {
      messages = messages.slice(0, subscriber.maxPerWrite);
    }
    const next = messages.length > 0 ? messages[0].seq : head + 1;
    const asked = from ?? this.#cursor ?? { epoch, seq: head };
    this.#open({ epoch: asked.epoch ?? epoch, seq: asked.seq });
    const reason = gapReason(asked, { epoch, head, next }, this.#replayed);
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
      // The previous batch may have been the last that the client wanted.
      if (this.#ended) return;
      this.deliver(batch);
    }
    subscriber.settle();
  }

  /**
   * Takes a batch that is not the next one: the channel started over, or the engine's relay lost
   * messages.
   */
  #realign(batch: Batch): void {
    // The batch is older than a reset that this subscription knows of: epochs sort by age.
    if (batch.epoch < this.#epoch) return;
    if (batch.continues === this.#epoch && batch.first === this.#seq + 1) {
      this.#epoch = batch.epoch;
      // What comes from here on is resumed in the new epoch.
      this.#subscriber.open(this.channel, { epoch: batch.epoch, seq: this.#seq });
      return this.deliver(batch);
    }
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
