/**
 * The bodies of requests, as text: each of bounded size and within a time, all of them within a budget of
 * memory.
 *
 * @module
 */
import { quote } from "./cursor.ts";
import { HttpError, RETRY_AFTER } from "./http_error.ts";
import type { Timed, TimerWheel } from "./timer_wheel.ts";

/** What bodies are held to. */
export interface BodyLimits {
  /** Bytes of one body. */
  readonly maxBody: number;
  /** Bytes of all bodies that are being read, but for small ones. */
  readonly maxBodies: number;
  /** Milliseconds that one may take. */
  readonly bodyTimeout: number;
}

/**
 * Bytes up to which a body is left to the runtime, which is fast where all of it is there already, but
 * cannot be told to stop. A connection costs it as much.
 */
const SMALL = 16 * 1024;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenientUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

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
   * comes through here. Rejects with an `HttpError` of 400 if the body is no UTF-8 or breaks off, 408 if it
   * takes too long, 413 if it is too large, 503 if there is no room for it.
   *
   * @throws {HttpError} 400 if its length is none, 413 if that is too large.
   */
  read<T>(request: Request, parse: (text: string) => T): Promise<T> {
    const { maxBody, bodyTimeout } = this.#limits;
    const length = lengthOf(request.headers);
    if (length !== undefined && length > maxBody) throw tooLarge(maxBody);
    const body = length !== undefined && length <= SMALL ? undefined : request.body?.getReader();
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
      (body === undefined ? request.bytes() : this.#collect(body)).then((bytes) => {
        if (!this.#readings.delete(reading)) return;
        try {
          resolve(parse(decode(bytes)));
        } catch (error) {
          reject(error);
        }
      }, (error) => {
        if (!this.#readings.delete(reading)) return;
        // If the client is gone nobody reads this, but it is counted as a refusal, not as our error.
        const brokenOff = new HttpError(400, "body_incomplete", "The body ended before its end");
        reject(error instanceof HttpError ? error : brokenOff);
      });
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

  async #collect(body: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array> {
    const { maxBody, maxBodies } = this.#limits;
    const chunks: Uint8Array[] = [];
    let length = 0;
    try {
      for (let next = await body.read(); !next.done; next = await body.read()) {
        const { value } = next;
        length += value.length;
        this.#held += value.length;
        if (length > maxBody) throw tooLarge(maxBody);
        if (this.#held > maxBodies) throw noRoom(maxBodies);
        chunks.push(value);
      }
    } catch (error) {
      body.cancel().catch(() => {});
      throw error;
    } finally {
      this.#held -= length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }
}

/** What `Content-Length` says; undefined where there is none. */
function lengthOf(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  if (length === null) return undefined;
  // The runtime lets two equal lengths pass, as one with a comma.
  if (/^[0-9]+$/.test(length)) return Number(length);
  throw new HttpError(400, "bad_length", `Content-Length ${quote(length)} is no length`, {
    connection: "close",
  });
}

/** The runtime's lenient decoder is up to ten times faster, and says where the strict one is needed. */
function decode(bytes: Uint8Array): string {
  const text = lenientUtf8.decode(bytes);
  if (!text.includes("\uFFFD")) return text;
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw new HttpError(400, "bad_encoding", "The body is not UTF-8");
  }
}

function tooSlow(ms: number): HttpError {
  return new HttpError(
    408,
    "body_too_slow",
    `The body took more than ${ms / 1000} s (--body-timeout)`,
  );
}

function tooLarge(max: number): HttpError {
  return new HttpError(413, "body_too_large", `The body is larger than ${max} bytes (--max-body)`);
}

function noRoom(max: number): HttpError {
  return new HttpError(
    503,
    "too_many_bodies",
    `More than ${max} bytes of bodies are being read (--max-bodies)`,
    { "retry-after": RETRY_AFTER },
  );
}
