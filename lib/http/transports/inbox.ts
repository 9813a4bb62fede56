/**
 * Shares the time of the event loop among sockets. If a client sends without a pause, the runtime
 * delivers all of its frames before it serves anybody else. So the frames of all sockets get a few
 * milliseconds per turn. Frames that exceed this time wait here, in one queue per socket.
 *
 * @module
 */
import { afterOthers } from "../../base/event_loop.ts";

/** The time that all sockets together get in one turn of the event loop, in milliseconds. */
const TURN_MS = 10;
/** How many frames or lines of one socket are carried out before the next socket gets its turn. */
const QUANTUM = 64;
/**
 * How many frames or lines are carried out between two readings of the clock. A reading takes a
 * tenth of the time of a frame or line.
 */
const CLOCK_INTERVAL = 8;
/**
 * The bytes that a waiting frame counts in addition to its own, because even a small frame takes
 * time.
 */
export const FRAME_BYTES = 1024;
/** The limit of all sockets together, as a multiple of the limit of one socket. */
const ALL_SOCKETS_FACTOR = 4;
/** A socket with at most this many bytes waiting is never closed because of other sockets. */
const SMALL_INBOX = 64 * FRAME_BYTES;

/** Carries out the frames of one socket. */
export interface InboxOwner {
  /**
   * Carries out a frame from character `at` on, as long as `Inboxes.next` allows it. MUST NOT
   * throw.
   *
   * @returns The character at which it stopped. Undefined if the frame is finished.
   */
  carryOut(frame: string, at: number): number | undefined;
  /** Called when the inbox has become empty. */
  onEmpty(): void;
}

/** The waiting frames of one socket, oldest first. */
export class Inbox {
  readonly #inboxes: Inboxes;
  readonly #owner: InboxOwner;
  #frames: string[] = [];
  /** Index of the oldest frame. */
  #first = 0;
  /** The character at which the rest of the oldest frame starts. */
  #at = 0;
  #bytes = 0;

  /** An empty inbox. `owner` carries out its frames. */
  constructor(inboxes: Inboxes, owner: InboxOwner) {
    this.#inboxes = inboxes;
    this.#owner = owner;
  }

  /** Whether no frame waits. */
  get empty(): boolean {
    return this.#first === this.#frames.length;
  }

  /**
   * Adds a frame that has been carried out up to the character `at`.
   *
   * @returns False if too much is waiting already. The frame is not added then.
   */
  add(frame: string, at: number): boolean {
    if (!this.#inboxes.admits(this.#bytes)) return false;
    if (this.empty) {
      this.#at = at;
      this.#inboxes.enqueue(this);
    }
    this.#frames.push(frame);
    this.#count(frame.length + FRAME_BYTES);
    return true;
  }

  /** Carries out frames as long as `Inboxes.next` allows it. */
  work(): void {
    while (!this.empty) {
      const frame = this.#frames[this.#first];
      const stopped = this.#owner.carryOut(frame, this.#at);
      // The owner may have ended the socket and cleared this inbox.
      if (this.empty) return;
      if (stopped !== undefined) {
        this.#at = stopped;
        return;
      }
      this.#frames[this.#first++] = "";
      this.#at = 0;
      this.#count(-frame.length - FRAME_BYTES);
    }
  }

  /** Drops all frames. */
  clear(): void {
    this.#count(-this.#bytes);
    this.#frames = [];
    this.#first = 0;
    this.#at = 0;
  }

  /** Tells the owner that the inbox is empty. */
  notifyEmpty(): void {
    this.clear();
    this.#owner.onEmpty();
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#inboxes.bytes += bytes;
  }
}

/** The inboxes of all sockets. */
export class Inboxes {
  /** The bytes that wait in all inboxes: one per character, plus `FRAME_BYTES` per frame. */
  bytes = 0;
  /** An inbox with more than this many bytes takes no more frames. */
  readonly maxInbox: number;
  readonly #now: () => number;
  readonly #later: (action: () => void) => void;
  /** Inboxes that are not empty, in the order of their turns. */
  readonly #waiting: Inbox[] = [];
  /** When the time of this turn is over. Undefined before the first reading of the clock. */
  #until: number | undefined;
  /** Whether the time of this turn is over. */
  #over = false;
  /** Frames or lines until the next reading of the clock. */
  #untilClock: number;
  readonly #clockInterval: number;
  /** Frames or lines that are left of the current quantum. */
  #left = Infinity;

  /**
   * A collection without inboxes.
   *
   * @param options `now` returns milliseconds that never decrease. `later` calls back after all
   * events that are ready now. `clockInterval` is the number of frames or lines between two
   * readings of the clock.
   */
  constructor(maxInbox: number, options: {
    now?: () => number;
    later?: (action: () => void) => void;
    clockInterval?: number;
  } = {}) {
    const { now = () => performance.now(), later = afterOthers, clockInterval = CLOCK_INTERVAL } =
      options;
    this.maxInbox = maxInbox;
    this.#now = now;
    this.#later = later;
    this.#clockInterval = clockInterval;
    this.#untilClock = clockInterval;
  }

  /** Whether there is time for one more frame or line before it is the others' turn. */
  next(): boolean {
    return !this.#late() && --this.#left >= 0;
  }

  /** Whether an inbox in which `bytes` bytes wait may take another frame. */
  admits(bytes: number): boolean {
    if (bytes > this.maxInbox) return false;
    const most = ALL_SOCKETS_FACTOR * this.maxInbox;
    return this.bytes <= most || bytes <= Math.max(SMALL_INBOX, most / this.#waiting.length);
  }

  /** Gives an inbox its turn after all other inboxes. */
  enqueue(inbox: Inbox): void {
    this.#waiting.push(inbox);
  }

  /** Whether the time of this turn is over. It begins with the first reading of the clock. */
  #late(): boolean {
    if (this.#over || --this.#untilClock > 0) return this.#over;
    this.#untilClock = this.#clockInterval;
    const now = this.#now();
    if (this.#until === undefined) {
      this.#until = now + TURN_MS;
      this.#later(() => this.#turn());
    }
    this.#over = now >= this.#until;
    return this.#over;
  }

  /** Carries out one quantum per inbox, round after round, as long as there is time. */
  #turn(): void {
    this.#until = undefined;
    this.#over = false;
    const waiting = this.#waiting;
    let count = 0;
    while (count < waiting.length && !this.#late()) {
      const inbox = waiting[count++];
      this.#left = QUANTUM;
      inbox.work();
      if (inbox.empty) inbox.notifyEmpty();
      else waiting.push(inbox);
    }
    this.#left = Infinity;
    waiting.splice(0, count);
  }
}
