/**
 * HTTP/2 without TLS, which the runtime also takes: floods that need no request to be answered.
 *
 * @module
 */
import { bytesOf, ENDED, type Input, type Row } from "./harness.ts";

/** Just under `--max-body`. */
const SIZE = 1_048_000;
const PREFACE = bytesOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(4, 0, 0, new Uint8Array()));
const DATA = 0, HEADERS = 1, PRIORITY = 2, RESET = 3, SETTINGS = 4, PING = 6, WINDOW = 8, MORE = 9;
const END_STREAM = 1, END_HEADERS = 4;
/** GET, http, / and the authority "a", by the static table. */
const REQUEST = new Uint8Array([0x82, 0x86, 0x84, 0x41, 1, 0x61]);

/** A frame (RFC 9113, 4.1). */
function frame(type: number, flags: number, stream: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(9 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(1, payload.length);
  bytes[3] = type;
  bytes[4] = flags;
  view.setUint32(5, stream);
  bytes.set(payload, 9);
  return bytes;
}

/** What `make` gives, again and again, after the preface. */
function flood(make: (i: number) => Uint8Array[]): Input {
  const frames: Uint8Array[] = [];
  for (let i = 0, length = 0; length < SIZE - 20_000; i++) {
    for (const one of make(i)) {
      frames.push(one);
      length += one.length;
    }
  }
  return { bytes: bytesOf(PREFACE, ...frames), untilEnd: true };
}

const CANCEL = new Uint8Array([0, 0, 0, 8]);
const ONE = new Uint8Array([0, 0, 0, 1]);
const EIGHT = new Uint8Array(8);
const NOTHING = new Uint8Array();

const floods: [name: string, make: (i: number) => Uint8Array[]][] = [
  ["requests that are reset at once", (i) => [
    frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, REQUEST),
    frame(RESET, 0, 2 * i + 1, CANCEL),
  ]],
  ["requests", (i) => [frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, REQUEST)]],
  ["requests without an end", (i) => [frame(HEADERS, END_HEADERS, 2 * i + 1, REQUEST)]],
  ["pings", () => [frame(PING, 0, 0, EIGHT)]],
  ["settings", () => [frame(SETTINGS, 0, 0, NOTHING)]],
  ["priorities", (i) => [frame(PRIORITY, 0, 2 * i + 1, new Uint8Array(5))]],
  ["window updates", () => [frame(WINDOW, 0, 0, ONE)]],
  ["a head that goes on and on", (i) => [
    i === 0 ? frame(HEADERS, 0, 1, REQUEST) : frame(MORE, 0, 1, NOTHING),
  ]],
  ["empty pieces of a body", (i) => [
    i === 0 ? frame(HEADERS, END_HEADERS, 1, REQUEST) : frame(DATA, 0, 1, NOTHING),
  ]],
];

/** All rows about HTTP/2. */
export const http2: Row[] = floods.map(([name, make]) => {
  const input = flood(make);
  return {
    name: `HTTP/2: ${name}`,
    hostile: () => input,
    honest: () =>
      flood((i) =>
        i === 0 ? [frame(HEADERS, END_STREAM | END_HEADERS, 1, REQUEST)] : [
          frame(PING, 1, 0, new Uint8Array(16_000)),
        ]
      ),
    expected: [ENDED],
    times: 8,
  };
});
