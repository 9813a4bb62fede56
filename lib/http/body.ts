/**
 * The bodies of requests, as text: each of bounded size and within a time, all of them within a budget of
 * memory.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";
import { turn } from "../base/turn.ts";
import { quote, Refusal, RETRY_AFTER } from "../core/refusal.ts";
import { checkTransfer, contentOf, textOf } from "./content.ts";

/** What bodies are held to. */
export interface BodyLimits {
  /** Bytes of one body. */
  readonly maxBody: number;
  /** Bytes of all bodies that are being read, but for small ones. */
  readonly maxBodies: number;
  /** Milliseconds that one may take. */
  readonly bodyTimeout: number;
}

/** Makes something of a body: of its text and its media type, which is in lower case. */
export type Parser<T> = (text: string, type: string) => T | Promise<T>;

/**
 * Bytes up to which a body is left to the runtime, which is fast where all of it is there already, but
 * cannot be told to stop. A connection costs it as much. Clients that have yet to show a credential may
 * send as much.
 */
export const SMALL = 16 * 1024;
/** Most bytes of a larger body that are read at a time. */
const PIECE = 16 * 1024;
/** Pieces of a body that are read in one turn of the event loop. */
const PIECES = 64;

/** A body that is being read. */
interface Reading {
  /** When that began, by the wheel's coarse time. */
  readonly since: number;
  /** It has taken too long. */
  end(): void;
}

/**
 * Reads bodies. All of them have the same time, so that one look at the oldest does for all: a timer for
 * each would cost a twentieth of a publish.
 */
export class BodyReader implements Timed {
  readonly #wheel: TimerWheel;
  readonly #limits: BodyLimits;
  /** Those that are under way, in the order in which they began. */
  readonly #readings = new Set<Reading>();
  #timing = false;
  /** Bytes of large bodies that are there, but not complete. */
  #held = 0;

  /** Belongs to the timer wheel. */
  due = 0;

  /** A reader that takes its time from `wheel`. */
  constructor(wheel: TimerWheel, limits: BodyLimits) {
    this.#wheel = wheel;
    this.#limits = limits;
  }

  /**
   * Gives the body to `parse` and resolves with what that makes of it: one promise for all, as every POST
   * comes through here. Rejects with an `Refusal` of 400 if the body is not in the encoding that it says or
   * breaks off, 408 if it takes too long, 413 if it is too large, 503 if there is no room for it.
   *
   * @param stranger What a client gets that sends more than `SMALL` bytes, if it has yet to show a credential.
   * @throws {Refusal} 400 if its length is not a number, 413 if that is too large, 415 if it cannot be read.
   */
  read<T>(request: Request, parse: Parser<T>, stranger?: Refusal): Promise<T> {
    const { maxBody, bodyTimeout } = this.#limits;
    const { headers } = request;
    const { type, charset } = contentOf(headers);
    const length = lengthOf(headers);
    if (length === undefined) checkTransfer(headers);
    const most = stranger === undefined ? maxBody : Math.min(maxBody, SMALL);
    const refuse = () => stranger ?? tooLarge(maxBody);
    if (length !== undefined && length > most) throw refuse();
    const small = length !== undefined && length <= SMALL;
    const body = small ? undefined : readerOf(request);
    return new Promise((resolve, reject) => {
      const reading = {
        since: this.#wheel.now,
        end() {
          // Lets go of what is there. The runtime ends the connection after the body's last byte.
          body?.cancel().catch(() => {});
          reject(tooSlow(bodyTimeout));
        },
      };
      this.#readings.add(reading);
      if (!this.#timing) this.#setTimer(bodyTimeout);
      const take = (bytes: Uint8Array) => {
        if (!this.#readings.delete(reading)) return;
        try {
          const parsed = parse(textOf(bytes, charset), type);
          resolve(parsed);
          return parsed;
        } catch (error) {
          reject(error);
        }
      };
      const fail = (error: unknown) => {
        if (!this.#readings.delete(reading)) return;
        // If the client is gone nobody reads this, but it is counted as a refusal, not as our error.
        const brokenOff = new Refusal(400, "body_incomplete", "The body was cut short");
        reject(error instanceof Refusal ? error : brokenOff);
      };
      if (small) request.bytes().then((bytes) => void take(bytes), fail);
      else this.#collect(body ?? request, most, length, refuse, take).catch(fail);
    });
  }

  onDue(): void {
    this.#timing = false;
    for (const reading of this.#readings) {
      const left = reading.since + this.#limits.bodyTimeout - this.#wheel.now;
      if (left > 0) return this.#setTimer(left);
      this.#readings.delete(reading);
      reading.end();
    }
  }

  #setTimer(ms: number): void {
    this.#timing = true;
    this.#wheel.set(this, ms);
  }

  /**
   * Reads a body into one buffer, which counts as held until `take` is done with it. The runtime fills a
   * buffer of ours, as each piece that it hands out otherwise keeps 64 KiB of memory, even if it has one
   * byte; a small one, as it keeps that until the client goes.
   *
   * @param body The request itself, if the runtime has its body already.
   * @param most Bytes that the body may have.
   * @param expected Bytes that it will have, if that is known.
   */
  async #collect(
    body: ReadableStreamBYOBReader | Request,
    most: number,
    expected: number | undefined,
    refuse: () => Refusal,
    take: (bytes: Uint8Array) => unknown,
  ): Promise<void> {
    const { maxBodies } = this.#limits;
    const largest = expected ?? most;
    let bytes = new Uint8Array(0);
    let length = 0;
    let held = 0;
    const hold = (larger: Uint8Array<ArrayBuffer>) => {
      bytes = larger;
      this.#held += bytes.length - held;
      held = bytes.length;
      if (this.#held > maxBodies) throw noRoom(maxBodies);
    };
    try {
      if (body instanceof Request) {
        hold(await body.bytes());
        length = bytes.length;
        if (length > most) throw refuse();
      } else {
        let piece = await body.read(new Uint8Array(PIECE));
        for (let pieces = 1; !piece.done; pieces++) {
          const { value } = piece;
          const needed = length + value.length;
          if (needed > most) throw refuse();
          if (needed > bytes.length) {
            const room = Math.min(Math.max(needed * 2, PIECE), largest);
            hold(new Uint8Array(bytes.buffer.transfer(room)));
          }
          bytes.set(value, length);
          length = needed;
          if (pieces % PIECES === 0) await turn();
          piece = await body.read(new Uint8Array(value.buffer));
        }
      }
      await take(bytes.subarray(0, length));
    } catch (error) {
      if (!(body instanceof Request)) body.cancel().catch(() => {});
      throw error;
    } finally {
      this.#held -= held;
    }
  }
}

/**
 * Reads a body into buffers of ours. Undefined for a body that the runtime has already, which it does not
 * hand out that way.
 */
function readerOf({ body }: Request): ReadableStreamBYOBReader | undefined {
  try {
    return body?.getReader({ mode: "byob" });
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** What `Content-Length` says; undefined where there is none. */
function lengthOf(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  if (length === null) return undefined;
  // The runtime lets two equal lengths pass, as one with a comma.
  if (/^[0-9]+$/.test(length)) return Number(length);
  throw new Refusal(
    400,
    "bad_length",
    `Bad header "Content-Length": expected a number, got ${quote(length)}`,
    {
      connection: "close",
    },
  );
}

function tooSlow(ms: number): Refusal {
  return new Refusal(
    408,
    "body_too_slow",
    `The body took more than ${ms / 1000} s (--body-timeout)`,
  );
}

function tooLarge(max: number): Refusal {
  return new Refusal(413, "body_too_large", `The body is larger than ${max} bytes (--max-body)`);
}

function noRoom(max: number): Refusal {
  return new Refusal(
    503,
    "too_many_bodies",
    `More than ${max} bytes of bodies are being read (--max-bodies)`,
    { "retry-after": RETRY_AFTER },
  );
}
