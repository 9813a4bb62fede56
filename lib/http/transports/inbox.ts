/**
 * The time of the event loop, shared among sockets. The runtime hands over everything that a client
 * sends without pause before anybody else is served. So the frames of all sockets have a few
 * milliseconds per turn, and the rest of them waits here, a queue per socket.
 *
 * @module
 */
import { afterOthers } from "../../base/turn.ts";

/** The time that all sockets together have in one turn of the event loop, in milliseconds. */
const TURN_MS = 10;
/** Frames or lines of one socket that are carried out before it is the next socket's turn. */
const QUANTUM = 64;
/** The clock is read once per so many frames or lines: it costs as much as a tenth of one. */
const GLANCE = 8;
/** A waiting frame counts for so many bytes more than it has: the runtime takes time for each. */
export const FRAME_BYTES = 1024;
/** All sockets together may have so many times as much waiting as one of them. */
const ALL = 4;
/** A socket with less than this waiting is never refused because of the others, in bytes. */
const SMALL = 64 * FRAME_BYTES;

/** Carries out the frames of one socket. */
export interface InboxOwner {
  /**
   * Carries out a frame from the character `at` on, for as long as `Inboxes.next` allows. MUST NOT
   * throw.
   *
   * @returns Where it stopped; undefined if nothing is left of the frame.
   */
  carryOut(frame: string, at: number): number | undefined;
  /** Called when nothing waits any more. */
  rested(): void;
}

/** The frames of one socket that wait, oldest first. */
export class Inbox {
  readonly #inboxes: Inboxes;
  readonly #owner: InboxOwner;
  #frames: string[] = [];
  /** Index of the oldest frame. */
  #first = 0;
  /** How far the oldest frame is carried out, in characters. */
  #at = 0;
  #bytes = 0;

  /** An empty inbox. `owner` carries out what is added. */
  constructor(inboxes: Inboxes, owner: InboxOwner) {
    this.#inboxes = inboxes;
    this.#owner = owner;
  }

  /** Whether nothing waits. */
  get empty(): boolean {
    return this.#first === this.#frames.length;
  }

  /**
   * Adds a frame that has been carried out up to the character `at`.
   *
   * @returns False if too much waits already. The frame is not added then.
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

  /** Carries out what waits, for as long as `Inboxes.next` allows. */
  work(): void {
    while (!this.empty) {
      const frame = this.#frames[this.#first];
      const stopped = this.#owner.carryOut(frame, this.#at);
      // The owner may have ended the socket, and cleared this.
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

  /** Drops what waits. */
  clear(): void {
    this.#count(-this.#bytes);
    this.#frames = [];
    this.#first = 0;
    this.#at = 0;
  }

  /** Tells the owner that nothing waits any more. */
  rest(): void {
    this.clear();
    this.#owner.rested();
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#inboxes.bytes += bytes;
  }
}

/** The inboxes of all sockets. */
export class Inboxes {
  /** What waits in all of them: a byte per character, and `FRAME_BYTES` per frame. */
  bytes = 0;
  /** What one of them may hold, in the same bytes. */
  readonly maxInbox: number;
  readonly #now: () => number;
  readonly #later: (action: () => void) => void;
  /** Those that are not empty, in the order of their turns. */
  readonly #waiting: Inbox[] = [];
  /** Until when frames are carried out in this turn; undefined before the clock is read. */
  #until: number | undefined;
  /** Whether the clock has been beyond that. */
  #over = false;
  /** Frames or lines until the clock is read. */
  #blind: number;
  readonly #glance: number;
  /** Frames or lines left of the quantum at hand. */
  #left = Infinity;

  /**
   * No inboxes yet.
   *
   * @param options `now` gives milliseconds that never go back; `later` calls back after all that is
   * ready now; `glance` says how many frames or lines pass between two looks at the clock.
   */
  constructor(maxInbox: number, options: {
    now?: () => number;
    later?: (action: () => void) => void;
    glance?: number;
  } = {}) {
    const { now = () => performance.now(), later = afterOthers, glance = GLANCE } = options;
    this.maxInbox = maxInbox;
    this.#now = now;
    this.#later = later;
    this.#glance = glance;
    this.#blind = glance;
  }

  /** Whether there is time for one more frame or line before others have their turn. */
  next(): boolean {
    return !this.#late() && --this.#left >= 0;
  }

  /** Whether an inbox with so many bytes may take another frame. */
  admits(bytes: number): boolean {
    if (bytes > this.maxInbox) return false;
    const most = ALL * this.maxInbox;
    return this.bytes <= most || bytes <= Math.max(SMALL, most / this.#waiting.length);
  }

  /** Gives an inbox its turn, after those that wait already. */
  enqueue(inbox: Inbox): void {
    this.#waiting.push(inbox);
  }

  /** Whether the time of this turn is over. It begins with the first look at the clock. */
  #late(): boolean {
    if (this.#over || --this.#blind > 0) return this.#over;
    this.#blind = this.#glance;
    const now = this.#now();
    if (this.#until === undefined) {
      this.#until = now + TURN_MS;
      this.#later(() => this.#turn());
    }
    this.#over = now >= this.#until;
    return this.#over;
  }

  /** Carries out a quantum of each inbox, in rounds, for as long as there is time. */
  #turn(): void {
    this.#until = undefined;
    this.#over = false;
    const waiting = this.#waiting;
    let count = 0;
    while (count < waiting.length && !this.#late()) {
      const inbox = waiting[count++];
      this.#left = QUANTUM;
      inbox.work();
      if (inbox.empty) inbox.rest();
      else waiting.push(inbox);
    }
    this.#left = Infinity;
    waiting.splice(0, count);
  }
}
