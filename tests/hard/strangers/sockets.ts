/**
 * What strangers send over WebSockets: frames, lines of `river.v1`, and all that never ends.
 *
 * @module
 */
import { encodeFrame, type FrameParts, OP } from "../../support/frames.ts";
import { publish } from "../../support/http.ts";
import type { ServerProcess } from "../../support/server.ts";
import { bytesOf, ENDED, type Input, LOCKED, OPEN, type Row } from "./harness.ts";

/** Just under `--max-body`. */
const SIZE = 1_048_000;
const PLAIN = { query: "name=a" };
const V1 = "river.v1";
const LINES = { query: "", protocol: V1 };

/** The same frame as often as fits into the size. */
function frames(parts: FrameParts, size = SIZE): Uint8Array<ArrayBuffer> {
  const frame = encodeFrame(parts);
  const count = Math.floor(size / frame.length);
  const bytes = new Uint8Array(frame.length * count);
  for (let i = 0; i < count; i++) bytes.set(frame, i * frame.length);
  return bytes;
}

/** Sends many small frames on one socket; a plain one has a channel of its own. */
function many(parts: FrameParts, protocol?: string): (n: number) => Input {
  const bytes = frames(parts);
  return (n) => ({ bytes, socket: { query: `name=own${n}`, protocol } });
}

/** Sends one frame of `river.v1`. */
function oneFrame(text: string, socket: Input["socket"] = LINES): Input {
  return { bytes: encodeFrame({ op: OP.text, payload: text }), socket };
}

/** A text of lines from `make`, of at most the size of a frame. */
function linesOf(make: (i: number) => string, size = SIZE): string {
  const all: string[] = [];
  for (let i = 0, length = 0; length < size - 1000; i++) {
    all.push(make(i));
    length += all[i].length + 1;
  }
  return all.join("\n");
}

function command(kind: string, fields: Record<string, unknown>): string {
  return JSON.stringify([kind, fields]);
}

/** What an honest client sends in a frame of this size: a few large messages. */
const honest = (): Input =>
  oneFrame(linesOf((i) => command("pub", { channel: "a", data: "x".repeat(1000), id: String(i) })));

/** What an honest client of a plain socket sends: as many bytes in large messages. */
const honestPlain = (): Input => ({
  bytes: frames({ op: OP.text, payload: "x".repeat(1000) }),
  socket: PLAIN,
});

/**
 * One frame of lines, and the ends that are right: an absurd frame may be refused. The runtime may answer
 * the ping behind it before river closes the socket.
 */
const lines: [name: string, text: string, expected: number[]][] = [
  ["nothing but line ends", "\n".repeat(SIZE), [OPEN, 1008]],
  ["blank lines", " \n".repeat(SIZE / 2), [OPEN, 1008]],
  ["lines of one character", "x\n".repeat(SIZE / 2), [OPEN, 1008]],
  ["empty arrays", "[]\n".repeat(SIZE / 3), [OPEN, 1008]],
  ["999 lines that are wrong, and line ends", "x\n".repeat(999) + "\n".repeat(SIZE - 2000), [
    OPEN,
    1008,
  ]],
  ["a wrong line between good ones", linesOf((i) => i % 2 ? "x" : command("unsub", {})), [
    OPEN,
    1008,
  ]],
  ["one long wrong line", "x".repeat(SIZE), [OPEN, 1008]],
  ["999 wrong lines of a thousand bytes", `${"x".repeat(1000)}\n`.repeat(999), [OPEN, 1008]],
  ["999 wrong lines of emoji", `${"😀".repeat(250)}\n`.repeat(999), [OPEN, 1008]],
  ["arrays in arrays", `["pub",${"[".repeat(500_000)}${"]".repeat(500_000)}]`, [OPEN, 1008]],
  ["brackets that do not close", "[".repeat(SIZE), [OPEN, 1008]],
  [
    "empty arrays in a command",
    `["pub",{"channel":"a","data":"","x":[${"[],".repeat(340_000)}0]}]`,
    [
      OPEN,
      1008,
    ],
  ],
  [
    "numbers as strings that collide",
    `["pub",{"channel":"a","data":"","x":[${
      Array.from({ length: 80_000 }, (_, i) => `"${65_536 * (i + 1)}"`).join(",")
    }]}]`,
    [OPEN, 1008],
  ],
  [
    "members whose names collide",
    `["pub",{"channel":"a","data":"",${
      Array.from({ length: 70_000 }, (_, i) => `"${131_072 * (i + 1)}":0`).join(",")
    }}]`,
    [OPEN, 1008],
  ],
  [
    "a number of a million digits",
    `["pub",{"channel":"a","data":"","x":${"1".repeat(1_000_000)}}]`,
    [
      OPEN,
      1008,
    ],
  ],
  ["a position of a million digits", `["sub",{"channel":"a","seq":"${"1".repeat(1_000_000)}"}]`, [
    OPEN,
    1008,
  ]],
  ["a channel of escapes", `["sub",{"channel":"${"\\u0041".repeat(170_000)}"}]`, [OPEN, 1008]],
  ["an id of a megabyte", command("pub", { channel: "a", data: "", id: "x".repeat(1_000_000) }), [
    OPEN,
    1008,
    1009,
  ]],
  [
    "999 ids of a thousand bytes",
    linesOf(() => command("pub", { channel: "a", data: "", id: "x".repeat(1000) })),
    [OPEN, 1008],
  ],
  ["empty messages", linesOf(() => command("pub", { channel: "a", data: "" })), [OPEN, 1008, 1013]],
  [
    "empty messages with ids",
    linesOf((i) => command("pub", { channel: "a", data: "", id: `${i}` })),
    [OPEN, 1008, 1013, 3008],
  ],
  [
    "one channel again and again",
    linesOf((i) => command(i % 2 ? "unsub" : "sub", { channel: "a" })),
    [OPEN, 1008, 3008],
  ],
  [
    "other channels again and again",
    linesOf((i) => command(i % 2 ? "unsub" : "sub", { channel: `a${i >> 1}` })),
    [OPEN, 1008, 3008],
  ],
  [
    "a channel that is there already",
    linesOf(() => command("sub", { channel: "a" })),
    [OPEN, 1008],
  ],
  [
    "128 channels, joined and left in the wrong order",
    linesOf((i) => command(i % 256 < 128 ? "sub" : "unsub", { channel: `a${i % 128}` })),
    [OPEN, 1008, 3008],
  ],
];

/** Many frames. */
const floods: [
  name: string,
  parts: FrameParts,
  protocol: string | undefined,
  expected: number[],
][] = [
  ["messages of a byte", { op: OP.text, payload: "x" }, undefined, [OPEN, 1008, 1013, 3008, ENDED]],
  ["messages without a byte", { op: OP.text }, undefined, [OPEN, 1008, 1013, 3008, ENDED]],
  ["empty frames of river.v1", { op: OP.text }, V1, [OPEN, 1008, 1013, 3008, ENDED]],
  ["wrong frames of river.v1", { op: OP.text, payload: "x" }, V1, [
    OPEN,
    1008,
    1013,
    3008,
    ENDED,
  ]],
  [
    "messages of river.v1",
    { op: OP.text, payload: '["pub",{"channel":"a","data":""}]' },
    V1,
    [OPEN, 1008, 1013, 3008, ENDED],
  ],
  [
    "messages of river.v1 that ask for an ack",
    { op: OP.text, payload: '["pub",{"channel":"a","data":"","id":"1"}]' },
    V1,
    [OPEN, 1008, 1013, 3008, ENDED],
  ],
  ["binary messages", { op: OP.binary, payload: "x" }, undefined, [OPEN, 1003, ENDED]],
  ["pings", { op: OP.ping }, undefined, [OPEN, ENDED]],
  ["pings of 125 bytes", { op: OP.ping, payload: "x".repeat(125) }, undefined, [OPEN, ENDED]],
  ["pongs", { op: OP.pong }, undefined, [OPEN, ENDED]],
  ["pongs of 125 bytes", { op: OP.pong, payload: "x".repeat(125) }, undefined, [OPEN, ENDED]],
  ["frames that break the protocol", { op: OP.text, rsv: 7, payload: "x" }, undefined, [
    OPEN,
    1002,
    ENDED,
  ]],
  ["closes", { op: OP.close }, undefined, [1000, 1005, ENDED, 0]],
];

function fragmented(piece: string): Uint8Array<ArrayBuffer> {
  const more = frames({ op: OP.more, payload: piece, fin: false });
  return bytesOf(
    encodeFrame({ op: OP.text, fin: false }),
    more,
    encodeFrame({ op: OP.more, payload: "x" }),
  );
}

/** Fills a channel's history. */
async function fill(server: ServerProcess): Promise<void> {
  for (let i = 0; i < 100; i++) await publish(server, "a", "x".repeat(60_000));
}

/** All rows about WebSockets. */
export const sockets: Row[] = [
  ...lines.map(([name, text, expected]): Row => {
    const input = oneFrame(text);
    return { name: `a frame of ${name}`, hostile: () => input, honest, expected };
  }),
  ...floods.map(([name, parts, protocol, expected]): Row => ({
    name: `a megabyte of ${name}`,
    hostile: many(parts, protocol),
    honest: honestPlain,
    expected,
    // More would keep the client busy.
    times: 4,
  })),
  ...["", "x"].map((piece): Row => {
    const bytes = fragmented(piece);
    return {
      name: `a message in fragments of ${piece.length} bytes`,
      hostile: () => ({ bytes, socket: PLAIN }),
      honest: honestPlain,
      expected: [OPEN, 1009, ENDED],
    };
  }),
  {
    name: "a frame of new channels",
    hostile: (n) => oneFrame(linesOf((i) => command("pub", { channel: `${n}-${i}`, data: "" }))),
    honest,
    expected: [OPEN, 1008, 1013],
    channels: 30_000,
    times: 1,
  },
  {
    name: "a frame of new channels whose names collide",
    hostile: () =>
      oneFrame(linesOf((i) => command("pub", { channel: `${131_072 * (i + 1)}`, data: "" }))),
    honest,
    expected: [OPEN, 1008, 1013],
    channels: 30_000,
    times: 1,
  },
  {
    name: "a frame that asks for a long history again and again",
    setup: fill,
    hostile: () =>
      oneFrame(linesOf((i) => command(i % 2 ? "unsub" : "sub", { channel: "a", seq: 0 }))),
    honest: () => oneFrame(linesOf((i) => command("pub", { channel: "b", data: "x", id: `${i}` }))),
    expected: [OPEN, 1008, 3008],
    // What a subscriber may have unsent.
    memory: 64 * 2 ** 20,
  },
  {
    name: "a frame of messages that come back to their sender",
    hostile: () =>
      oneFrame(
        linesOf(() => command("pub", { channel: "a", data: "" })),
        { query: "name=a", protocol: "river.v1" },
      ),
    honest,
    expected: [OPEN, 1008, 1013, 3008],
  },
  {
    name: "a megabyte of messages on a socket without a token",
    flags: LOCKED.slice(0, 2),
    hostile: many({ op: OP.text, payload: "x" }),
    honest: honestPlain,
    expected: [OPEN, 1008, ENDED],
  },
];
