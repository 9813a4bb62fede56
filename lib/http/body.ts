/**
 * Reads the bodies of requests as text. Each body has a size limit and a time limit, and all of
 * them share a memory budget.
 *
 * @module
 */
import type { Timed, TimerWheel } from "../base/timer_wheel.ts";
import { turn } from "../base/event_loop.ts";
import { quote, Refusal, RETRY_AFTER } from "../core/refusal.ts";
import { checkTransfer, contentOf, textOf } from "./content_type.ts";

/** The limits of bodies. */
export interface BodyLimits {
  /** The most bytes in one body. */
  readonly maxBody: number;
  /** The most bytes of all bodies that are being read, except small ones. */
  readonly maxBodies: number;
  /** The most time that a body may take, in milliseconds. */
  readonly bodyTimeout: number;
}

/** Parses the text of a body. `type` is its media type, in lower case. */
export type Parser<T> = (text: string, type: string) => T | Promise<T>;

/**
 * The largest body that the runtime reads for us, in bytes. That is fast if the body has already
 * arrived, but it cannot be stopped. A connection takes this much memory anyway. A client without a
 * valid credential may not send a larger body.
 */
export const SMALL_BODY = 16 * 1024;
/** The most bytes of a larger body that are read at once. */
const PIECE_BYTES = 16 * 1024;
/** The most pieces of a body that are read per turn of the event loop. */
const PIECES_PER_TURN = 64;

/** A body that is being read. */
interface PendingBody {
  /** When reading began, in milliseconds of the wheel's coarse clock. */
  readonly since: number;
  /** Gives up on the body, because it takes too long. */
  end(): void;
}

/**
 * Reads bodies. All bodies have the same time limit, so one timer for the oldest is enough. A timer
 * per body would cost a twentieth of the time of a publish.
 */
export class BodyReader implements Timed {
  readonly #wheel: TimerWheel;
  readonly #limits: BodyLimits;
  /** Bodies that are being read, in the order in which they began. */
  readonly #pending = new Set<PendingBody>();
  #timing = false;
  /** Bytes of the buffers for large bodies, until each body is parsed. */
  #held = 0;

  /** Only the timer wheel changes it. */
  due = 0;

  /** A reader that uses `wheel` for its time limit. */
  constructor(wheel: TimerWheel, limits: BodyLimits) {
    this.#wheel = wheel;
    this.#limits = limits;
  }

  /**
   * Reads the body of a request and resolves with the result of `parse`. Every POST passes through
   * here, so only one promise is made. It rejects with a `Refusal`: 400 if the body is cut short or
   * not in its declared encoding, 408 if it takes too long, 413 if it is too large, 503 if there is
   * no room for it.
   *
   * @param unauthorized If the client shows no valid credential: the refusal of a body of more than
   * `SMALL_BODY` bytes, or not in its declared encoding.
   * @throws {Refusal} 400 if `Content-Length` is not a number, 413 if it is too large, 415 if the
   * body is compressed or its character encoding is unknown.
   */
  read<T>(request: Request, parse: Parser<T>, unauthorized?: Refusal): Promise<T> {
    const { maxBody, bodyTimeout } = this.#limits;
    const { headers } = request;
    const { type, charset } = contentOf(headers);
    const length = lengthOf(headers);
    if (length === undefined) checkTransfer(headers);
    const most = unauthorized === undefined ? maxBody : Math.min(maxBody, SMALL_BODY);
    const overLimit = () => unauthorized ?? tooLarge(maxBody);
    if (length !== undefined && length > most) throw overLimit();
    const small = length !== undefined && length <= SMALL_BODY;
    const body = small ? undefined : readerOf(request);
    return new Promise((resolve, reject) => {
      const pendingBody = {
        since: this.#wheel.now,
        end() {
          // This frees the bytes that have arrived. The runtime ends the connection after the last
          // byte of the body.
          body?.cancel().catch(() => {});
          reject(tooSlow(bodyTimeout));
        },
      };
      this.#pending.add(pendingBody);
      if (!this.#timing) this.#setTimer(bodyTimeout);
      const take = (bytes: Uint8Array) => {
        if (!this.#pending.delete(pendingBody)) return;
        let text: string;
        try {
          text = textOf(bytes, charset);
        } catch (error) {
          return reject(unauthorized ?? error);
        }
        try {
          const parsed = parse(text, type);
          resolve(parsed);
          return parsed;
        } catch (error) {
          reject(error);
        }
      };
      const fail = (error: unknown) => {
        if (!this.#pending.delete(pendingBody)) return;
        // The client is gone and reads no answer. But the metrics must count a refusal, not a fault
        // of river.
        const brokenOff = new Refusal(400, "body_incomplete", "The body was cut short");
        reject(error instanceof Refusal ? error : brokenOff);
      };
      if (small) request.bytes().then((bytes) => void take(bytes), fail);
      else this.#collect(body ?? request, most, length, overLimit, take).catch(fail);
    });
  }

  onDue(): void {
    this.#timing = false;
    for (const pendingBody of this.#pending) {
      const left = pendingBody.since + this.#limits.bodyTimeout - this.#wheel.now;
      if (left > 0) return this.#setTimer(left);
      this.#pending.delete(pendingBody);
      pendingBody.end();
    }
  }

  #setTimer(ms: number): void {
    this.#timing = true;
    this.#wheel.set(this, ms);
  }

  /**
   * Reads a body into one buffer, which counts as held until `take` is done with it. We give the
   * runtime buffers to fill. Without them, each piece would keep 64 KiB of memory, even if it had
   * one byte. Our buffers are small, because the runtime keeps each until the client leaves.
   *
   * @param body The request itself, if the runtime has already read its body.
   * @param most The most bytes that the body may have.
   * @param expected The number of bytes that the body will have, if known.
   */
  async #collect(
    body: ReadableStreamBYOBReader | Request,
    most: number,
    expected: number | undefined,
    overLimit: () => Refusal,
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
        if (length > most) throw overLimit();
      } else {
        let piece = await body.read(new Uint8Array(PIECE_BYTES));
        for (let pieces = 1; !piece.done; pieces++) {
          const { value } = piece;
          const needed = length + value.length;
          if (needed > most) throw overLimit();
          if (needed > bytes.length) {
            const room = Math.min(Math.max(needed * 2, PIECE_BYTES), largest);
            hold(new Uint8Array(bytes.buffer.transfer(room)));
          }
          bytes.set(value, length);
          length = needed;
          if (pieces % PIECES_PER_TURN === 0) await turn();
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
 * A reader that fills buffers that we give it. Undefined if the runtime has already read the body:
 * it offers no such reader then.
 */
function readerOf({ body }: Request): ReadableStreamBYOBReader | undefined {
  try {
    return body?.getReader({ mode: "byob" });
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** The value of `Content-Length`. Undefined if there is no such header. */
function lengthOf(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  if (length === null) return undefined;
  // The runtime accepts two equal headers and joins their values with a comma.
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
