/**
 * The bytes that the load sends, built before it starts.
 *
 * The data of each message is `PP-NNNNNNNN-xxx~`: its publisher, its number, padding, and a mark
 * that occurs nowhere else. So a reader can count messages by their marks, whatever a server puts
 * around them.
 *
 * @module
 */

/** Ends the data of every message, and occurs nowhere else. */
export const MARK: number = "~".charCodeAt(0);
/** Characters of data in a message. */
export const DATA_LENGTH = 100;

const DIGITS = 8;
const MASK = [0x52, 0x69, 0x76, 0x65];
const ascii = new TextEncoder();

/** The data of message `number` of a publisher. */
export function dataOf(publisher: number, number = 0): string {
  const head = `${String(publisher).padStart(2, "0")}-${String(number).padStart(DIGITS, "0")}-`;
  return head + "x".repeat(DATA_LENGTH - head.length - 1) + String.fromCharCode(MARK);
}

/** Bytes that hold numbers of eight digits, which can be changed in place. */
export class Template {
  /** The bytes to send. */
  readonly bytes: Uint8Array;
  readonly #at: number[] = [];
  readonly #masks: number[];

  /**
   * Makes every run of eight zeros the place of a number.
   *
   * @param parts Requests or frames: where the payload of each starts, and whether it is masked.
   */
  constructor(parts: { bytes: Uint8Array; masked: boolean; payload: number }[]) {
    this.#masks = [];
    const total = parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.bytes = new Uint8Array(total);
    let start = 0;
    for (const { bytes, masked, payload } of parts) {
      this.bytes.set(bytes, start);
      for (let at = payload, zeros = 0; at < bytes.length; at++) {
        zeros = bytes[at] === 48 ? zeros + 1 : 0;
        if (zeros < DIGITS) continue;
        this.#at.push(start + at - DIGITS + 1);
        this.#masks.push(masked ? (at - DIGITS + 1 - payload) % 4 : -1);
        zeros = 0;
      }
      if (masked) mask(this.bytes.subarray(start + payload, start + bytes.length));
      start += bytes.length;
    }
  }

  /** How many numbers there are. */
  get numbers(): number {
    return this.#at.length;
  }

  /** Writes a number at place `index`. */
  set(index: number, number: number): void {
    const at = this.#at[index];
    const phase = this.#masks[index];
    for (let digit = DIGITS - 1; digit >= 0; digit--) {
      const byte = 48 + number % 10;
      this.bytes[at + digit] = phase < 0 ? byte : byte ^ MASK[(phase + digit) % 4];
      number = Math.floor(number / 10);
    }
  }
}

/** A template of one or more HTTP requests. */
export function requestTemplate(...requests: string[]): Template {
  return new Template(
    requests.map((request) => ({ bytes: ascii.encode(request), masked: false, payload: 0 })),
  );
}

/** A template of masked text frames, one per payload. */
export function frameTemplate(...payloads: string[]): Template {
  return new Template(payloads.map((payload) => {
    const { length } = payload;
    const head = length < 126
      ? [0x81, 0x80 | length]
      : length < 65536
      ? [0x81, 0xfe, length >> 8, length & 255]
      : [
        0x81,
        0xff,
        0,
        0,
        0,
        0,
        length >>> 24,
        length >> 16 & 255,
        length >> 8 & 255,
        length & 255,
      ];
    const bytes = new Uint8Array(head.length + 4 + length);
    bytes.set(head);
    bytes.set(MASK, head.length);
    ascii.encodeInto(payload, bytes.subarray(head.length + 4));
    return { bytes, masked: true, payload: head.length + 4 };
  }));
}

/** A GET request. */
export function get(path: string, headers: string[] = []): string {
  return [`GET ${path} HTTP/1.1`, "Host: 127.0.0.1", ...headers, "", ""].join("\r\n");
}

/** A POST request. */
export function post(path: string, type: string, body: string): string {
  return [
    `POST ${path} HTTP/1.1`,
    "Host: 127.0.0.1",
    `Content-Type: ${type}`,
    `Content-Length: ${body.length}`,
    "",
    body,
  ].join("\r\n");
}

/** A request for a WebSocket. */
export function upgrade(path: string, protocol?: string): string {
  return get(path, [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: cml2ZXItYmVuY2gtMDAwMQ==",
    ...protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`],
  ]);
}

function mask(bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] ^= MASK[i % 4];
}
