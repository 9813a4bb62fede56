import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { parseCursor, parseCursors, printCursor } from "../../lib/core/cursor.ts";

/** Every position that a server may have printed. */
const anyCursor = fc.record({
  epoch: fc.stringMatching(/^[0-9a-z]{1,32}$/),
  seq: fc.maxSafeNat(),
}, { requiredKeys: ["seq"] });

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom(..."0123456789-,az. eE+") }),
);

const EPOCH_32 = "z".repeat(32);

for (
  const [text, cursor] of [
    ["0", { seq: 0 }],
    ["990", { seq: 990 }],
    ["007", { seq: 7 }],
    ["9007199254740991", { seq: Number.MAX_SAFE_INTEGER }],
    ["k3f9x2-0", { epoch: "k3f9x2", seq: 0 }],
    ["0-9007199254740991", { epoch: "0", seq: Number.MAX_SAFE_INTEGER }],
    [`${EPOCH_32}-1`, { epoch: EPOCH_32, seq: 1 }],
  ] as const
) {
  Deno.test(`parseCursor() reads ${text}`, () => assertEquals(parseCursor(text), cursor));
}

Deno.test("parseCursor() refuses a text that is not a position, and shows it", () => {
  const refused = [
    ...["", "abc", "-1", "+1", "1e3", "1.0", "0x1", " 1", "1 ", "1\n", "1\0", "१", "NaN"],
    ...["9007199254740992", "18446744073709551616", "00000000000000001"],
    ...["-", "k3f9x2-", "-k3f9x2-1", "k3f9x2--1", "K3F9X2-1", "a_b-1", "a-b-1", "a-1e3", "é-1"],
    ...[`${EPOCH_32}z-1`, "a-9007199254740992", "1,2", "null", "__proto__-1"],
  ];
  for (const text of refused) {
    const { message } = assertThrows(() => parseCursor(text), RangeError);
    assertEquals(
      message,
      `Cannot parse the position ${JSON.stringify(text)}: ` +
        'expected "990" or "mi9x2k3fq7d0v-990", with a number up to 2^53-1',
    );
  }
});

Deno.test("parseCursor() reads back what printCursor() prints", () => {
  fc.assert(fc.property(anyCursor, (cursor) => {
    assertEquals(parseCursor(printCursor(cursor)), cursor);
  }));
});

Deno.test("printCursor() prints a bare number where the epoch is not known", () => {
  assertEquals(printCursor({ seq: 12 }), "12");
  assertEquals(printCursor({ epoch: "k3f9x2", seq: 12 }), "k3f9x2-12");
});

Deno.test("parseCursors() reads one position a channel, in order", () => {
  assertEquals(parseCursors("k3f9x2-12", 1), [{ epoch: "k3f9x2", seq: 12 }]);
  assertEquals(parseCursors("a-1,2,b-3", 3), [
    { epoch: "a", seq: 1 },
    { seq: 2 },
    { epoch: "b", seq: 3 },
  ]);
});

Deno.test("parseCursors() reads back a list of printed positions", () => {
  fc.assert(fc.property(fc.array(anyCursor, { minLength: 1 }), (cursors) => {
    assertEquals(parseCursors(cursors.map(printCursor).join(","), cursors.length), cursors);
  }));
});

for (
  const [text, count, channels] of [
    ["1,2", 1, "1 channel"],
    ["1", 2, "2 channels"],
    ["1,2,3", 2, "2 channels"],
  ] as const
) {
  Deno.test(`parseCursors() refuses ${text} for ${channels}`, () => {
    const { message } = assertThrows(() => parseCursors(text, count), RangeError);
    assertEquals(
      message,
      `Cannot match the positions "${text}" to ${channels}: expected one per channel, in order`,
    );
  });
}

Deno.test("parseCursors() shows the one position that is malformed", () => {
  for (const [text, shown] of [["1,b-", '"b-"'], [",x", '"x"'], ["1, ", '" "'], ["1, 2", '" 2"']]) {
    const { message } = assertThrows(() => parseCursors(text, 2), RangeError);
    assertEquals(
      message,
      `Cannot parse the position ${shown}: ` +
        'expected "990" or "mi9x2k3fq7d0v-990", with a number up to 2^53-1',
    );
  }
});

Deno.test("parseCursors() takes an empty item of several for no position", () => {
  assertEquals(parseCursors("1,", 2), [{ seq: 1 }, undefined]);
  assertEquals(parseCursors(",a-1,", 3), [undefined, { epoch: "a", seq: 1 }, undefined]);
  assertEquals(parseCursors(",", 2), [undefined, undefined]);
  assertThrows(() => parseCursors("", 1), RangeError, 'Cannot parse the position ""');
  assertThrows(() => parseCursors("", 2), RangeError, "Cannot match");
});

Deno.test("parseCursors() looks no further than one position too many", () => {
  const { message } = assertThrows(() => parseCursors("1,2" + ",junk".repeat(1e5), 1), RangeError);
  assertEquals(
    message,
    `Cannot match the positions "1,2${",junk".repeat(12)},…" to 1 channel: ` +
      "expected one per channel, in order",
  );
});

Deno.test("parseCursors() throws nothing but RangeError, whatever the text", () => {
  fc.assert(fc.property(anyText, fc.integer({ min: 1, max: 3 }), (text, count) => {
    try {
      const cursors = parseCursors(text, count);
      assertEquals(cursors.length, count);
      assert(cursors.every((cursor) => cursor === undefined || Number.isSafeInteger(cursor.seq)));
    } catch (error) {
      assert(error instanceof RangeError, String(error));
    }
  }));
});
