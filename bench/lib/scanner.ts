/**
 * Finds messages in the bytes from a server, and reads as few of the bytes as possible.
 *
 * @module
 */
import { DATA_LENGTH, MARK } from "./wire.ts";

/** Scans the bytes of one connection after the head of the response. */
export interface Scanner {
  /** Scans `bytes` from `start` up to `length`. Returns how many messages end there. */
  scan(bytes: Uint8Array, length: number, start?: number): number;
}

/**
 * Counts the marks in an HTTP body. Chunk headers hold no mark and only add bytes, so it ignores
 * them.
 */
export class StreamScanner implements Scanner {
  readonly #stride: number;
  #skip = DATA_LENGTH - 1;

  /**
   * Begins at the start of a body.
   *
   * @param overhead The server puts at least this many bytes between the data of two messages.
   */
  constructor(overhead: number) {
    this.#stride = DATA_LENGTH + overhead;
  }

  scan(bytes: Uint8Array, length: number, start = 0): number {
    let messages = 0;
    let at = start + this.#skip;
    while (at < length) {
      if (bytes[at] === MARK) {
        messages++;
        at += this.#stride;
      } else at++;
    }
    this.#skip = at - length;
    return messages;
  }
}

/** Counts the marks in the payloads of WebSocket frames. */
export class FrameScanner implements Scanner {
  readonly #stride: number;
  readonly #onPayload: ((bytes: Uint8Array) => void) | undefined;
  /** The pieces of a frame's head that have arrived. */
  readonly #head: number[] = [];
  /** Bytes of the payload that have not arrived yet. */
  #left = 0;
  #skip = 0;

  /**
   * Begins at the start of a frame.
   *
   * @param overhead The server puts at least this many bytes between the data of two messages in
   * one frame.
   * @param onPayload Takes the payload, piece by piece.
   */
  constructor(overhead: number, onPayload?: (bytes: Uint8Array) => void) {
    this.#stride = DATA_LENGTH + overhead;
    this.#onPayload = onPayload;
  }

  scan(bytes: Uint8Array, length: number, start = 0): number {
    let messages = 0;
    let at = start;
    while (at < length) {
      if (this.#left === 0) {
        at = this.#readHead(bytes, at, length);
        continue;
      }
      const end = Math.min(length, at + this.#left);
      this.#onPayload?.(bytes.subarray(at, end));
      this.#left -= end - at;
      at += this.#skip;
      while (at < end) {
        if (bytes[at] === MARK) {
          messages++;
          at += this.#stride;
        } else at++;
      }
      this.#skip = at - end;
      at = end;
    }
    return messages;
  }

  /** Reads the head of a frame, as far as it has arrived. Returns where the payload starts. */
  #readHead(bytes: Uint8Array, at: number, length: number): number {
    const head = this.#head;
    if (head.length === 0 && at + 4 <= length && bytes[at + 1] < 127) {
      const short = bytes[at + 1] < 126;
      this.#begin(bytes[at], short ? bytes[at + 1] : bytes[at + 2] << 8 | bytes[at + 3]);
      return at + (short ? 2 : 4);
    }
    while (at < length) {
      head.push(bytes[at++]);
      const size = head[1] === 127 ? 10 : head[1] === 126 ? 4 : 2;
      if (head.length < size) continue;
      const tail = head.slice(2);
      this.#begin(head[0], size === 2 ? head[1] : tail.reduce((sum, byte) => sum * 256 + byte, 0));
      head.length = 0;
      break;
    }
    return at;
  }

  #begin(first: number, length: number): void {
    if ((first & 15) === 8) throw new Error("The server closed a WebSocket");
    this.#left = length;
    // The data of a message comes before its mark.
    this.#skip = DATA_LENGTH - 1;
  }
}

/** Checks everything that one reader receives: whole data, and each publisher's order. */
export class Checker {
  readonly #decoder = new TextDecoder();
  readonly #numbers = new Map<string, number>();
  readonly #constant: boolean;
  #text = "";
  #seq: number | undefined;
  /** Messages that passed the checks. */
  checked = 0;

  /**
   * Begins at the first message.
   *
   * @param constant Whether the server sends the same message all the time.
   */
  constructor(constant: boolean) {
    this.#constant = constant;
  }

  /** Takes a piece of the payload. */
  take(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    const end = this.#text.lastIndexOf(String.fromCharCode(MARK)) + 1;
    for (const part of this.#text.slice(0, end).split(/(?<=~)/)) this.#check(part);
    this.#text = this.#text.slice(end);
  }

  #check(text: string): void {
    if (text === "") return;
    const data = text.slice(-DATA_LENGTH);
    const parts = /^(\d\d)-(\d{8})-x+~$/.exec(data);
    if (parts === null) throw new Error(`Wrong content: ${JSON.stringify(text)}`);
    this.checked++;
    if (this.#constant) return;
    this.#inOrder(parts[1], Number(parts[2]));
    const seq = /"seq": (\d+), "data": "$/.exec(text.slice(0, -DATA_LENGTH));
    if (seq === null) return;
    const number = Number(seq[1]);
    if (this.#seq !== undefined && number !== this.#seq + 1) {
      throw new Error(`Wrong order: seq ${number} after ${this.#seq}`);
    }
    this.#seq = number;
  }

  #inOrder(publisher: string, number: number): void {
    const last = this.#numbers.get(publisher);
    if (last !== undefined && number !== last + 1) {
      throw new Error(`Wrong order: publisher ${publisher} sent ${number} after ${last}`);
    }
    this.#numbers.set(publisher, number);
  }
}

/** Removes the chunk headers from an HTTP body. Slow, so only for checked readers. */
export class Dechunker {
  readonly #take: (bytes: Uint8Array) => void;
  #line = "";
  #left = 0;

  /**
   * Begins at the start of a body.
   *
   * @param take Takes the body, piece by piece.
   */
  constructor(take: (bytes: Uint8Array) => void) {
    this.#take = take;
  }

  /** Takes a piece of the chunked body. */
  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 2) {
        const end = Math.min(bytes.length, at + this.#left - 2);
        this.#take(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
      } else if (this.#left > 0) {
        // The line break after a chunk.
        this.#left--;
        at++;
      } else {
        this.#line += String.fromCharCode(bytes[at++]);
        if (!this.#line.endsWith("\r\n")) continue;
        const size = parseInt(this.#line, 16);
        this.#line = "";
        this.#left = size + 2;
      }
    }
  }
}
