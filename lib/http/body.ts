/**
 * Reads the bodies of requests as text. Each has a largest size and a time limit, and all of them
 * share a budget of memory.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";
import { turn } from "../base/event_loop.ts";
import { quote, Refusal, RETRY_AFTER } from "../core/refusal.ts";
import { checkTransfer, contentOf, textOf } from "./content.ts";

/** The limits of bodies. */
export interface BodyLimits {
  /** Most bytes of one body. */
  readonly maxBody: number;
  /** Most bytes of all bodies that are being read, small ones excepted. */
  readonly maxBodies: number;
  /** Longest time that a body may take, in milliseconds. */
  readonly bodyTimeout: number;
}

/** Parses the text of a body. `type` is its media type, in lower case. */
export type Parser<T> = (text: string, type: string) => T | Promise<T>;

/**
 * A body of at most so many bytes is read by the runtime: that is fast if it has arrived already,
 * but it cannot be stopped. A connection takes as much memory anyway. Clients without a valid
 * credential may send at most as much.
 */
export const SMALL_BODY = 16 * 1024;
/** Most bytes of a larger body that are read at once. */
const PIECE = 16 * 1024;
/** Pieces of a body that are read per turn of the event loop. */
const PIECES = 64;

/** A body that is being read. */
interface Reading {
  /** When it began, by the coarse time of the wheel. */
  readonly since: number;
  /** Ends it, because it takes too long. */
  end(): void;
}

/**
 * Reads bodies. All have the same time limit, so it is enough to watch the oldest. A timer for each
 * would cost a twentieth of a publish.
 */
export class BodyReader implements Timed {
  readonly #wheel: TimerWheel;
  readonly #limits: BodyLimits;
  /** Bodies that are being read, in the order in which they began. */
  readonly #readings = new Set<Reading>();
  #timing = false;
  /** Bytes that have arrived of large bodies, until each is parsed. */
  #held = 0;

  /** Belongs to the timer wheel. */
  due = 0;

  /** A reader that is timed by `wheel`. */
  constructor(wheel: TimerWheel, limits: BodyLimits) {
    this.#wheel = wheel;
    this.#limits = limits;
  }

  /**
   * Reads the body, and resolves with the result of `parse`. It makes a single promise, because
   * every POST comes through here. Rejects with a `Refusal`: 400 if the body is cut short or not in
   * the encoding that it declares, 408 if it takes too long, 413 if it is too large, 503 if there
   * is no room for it.
   *
   * @param stranger The refusal for more than `SMALL_BODY` bytes, if the client shows no valid
   * credential.
   * @throws {Refusal} 400 if its length is not a number, 413 if that is too large, 415 if it cannot
   * be read.
   */
  read<T>(request: Request, parse: Parser<T>, stranger?: Refusal): Promise<T> {
    const { maxBody, bodyTimeout } = this.#limits;
    const { headers } = request;
    const { type, charset } = contentOf(headers);
    const length = lengthOf(headers);
    if (length === undefined) checkTransfer(headers);
    const most = stranger === undefined ? maxBody : Math.min(maxBody, SMALL_BODY);
    const refuse = () => stranger ?? tooLarge(maxBody);
    if (length !== undefined && length > most) throw refuse();
    const small = length !== undefined && length <= SMALL_BODY;
    const body = small ? undefined : readerOf(request);
    return new Promise((resolve, reject) => {
      const reading = {
        since: this.#wheel.now,
        end() {
          // Releases the bytes that have arrived. The runtime ends the connection after the last
          // one.
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
        // If the client is gone, nobody reads this. But it counts as a refusal, not as a fault of
        // river.
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
   * Reads a body into one buffer, which counts as held until `take` is done with it. The runtime
   * fills buffers of ours: otherwise each piece keeps 64 KiB of memory, even if it has one byte.
   * They are small, because the runtime keeps each until the client goes.
   *
   * @param body The request itself, if the runtime has its body already.
   * @param most Most bytes that the body may have.
   * @param expected Bytes that it will have, if known.
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
 * A reader that fills buffers of ours. Undefined if the runtime has read the body already: it
 * cannot read such a body that way.
 */
function readerOf({ body }: Request): ReadableStreamBYOBReader | undefined {
  try {
    return body?.getReader({ mode: "byob" });
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** The value of `Content-Length`. Undefined if there is none. */
function lengthOf(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  if (length === null) return undefined;
  // The runtime accepts two equal lengths, and joins them with a comma.
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
