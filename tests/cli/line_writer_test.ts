import { assert, assertEquals } from "@std/assert";
import { LineWriter } from "../../lib/cli/line_writer.ts";

const utf8 = new TextDecoder();
const notice = (lost: number) => `lost ${lost}\n`;

Deno.test("LineWriter writes lines in order, in as many writes as that takes", async () => {
  let text = "";
  const writer = new LineWriter((bytes) => {
    // Only a part of it, as a pipe that is nearly full takes it.
    const part = bytes.subarray(0, 3);
    text += utf8.decode(part);
    return Promise.resolve(part.length);
  }, notice);
  for (const line of ["one\n", "two\n", "three\n"]) writer.write(line);
  await writer.flush(1000);
  assertEquals(text, "one\ntwo\nthree\n");
});

Deno.test("LineWriter waits for no reader, drops what is too much, and says how much that was", async () => {
  let text = "";
  let release = () => {};
  const stalled = new Promise<void>((resolve) => release = resolve);
  const writer = new LineWriter(async (bytes) => {
    await stalled;
    text += utf8.decode(bytes);
    return bytes.length;
  }, notice);
  const line = "x".repeat(1023) + "\n";
  for (let i = 0; i < 1500; i++) writer.write(line);
  await writer.flush(10);
  assertEquals(text, "");
  release();
  await writer.flush(1000);
  const lines = text.trimEnd().split("\n");
  assertEquals(lines.length, 1024 + 1);
  assertEquals(lines.at(-1), "lost 476");
  writer.write("after\n");
  await writer.flush(1000);
  assert(text.endsWith("\nafter\n"));
});

Deno.test("LineWriter survives a full disk, and goes on when there is room", async () => {
  let full = true;
  let text = "";
  const writer = new LineWriter((bytes) => {
    if (full) return Promise.reject(new Error("No space left on device"));
    text += utf8.decode(bytes);
    return Promise.resolve(bytes.length);
  }, notice);
  writer.write("gone\n");
  writer.write("gone, too\n");
  await writer.flush(1000);
  writer.write("and this\n");
  await writer.flush(1000);
  full = false;
  writer.write("kept\n");
  await writer.flush(1000);
  assertEquals(text, "kept\nlost 3\n");
  writer.write("on\n");
  await writer.flush(1000);
  assertEquals(text, "kept\nlost 3\non\n");
});

Deno.test("LineWriter ends a line that a full disk took in part, and counts it as lost", async () => {
  let room = 7;
  let text = "";
  const writer = new LineWriter((bytes) => {
    if (room === 0) return Promise.reject(new Error("No space left on device"));
    const part = bytes.subarray(0, room);
    room -= part.length;
    text += utf8.decode(part);
    return Promise.resolve(part.length);
  }, notice);
  writer.write("whole\n");
  writer.write("half\n");
  await writer.flush(1000);
  assertEquals(text, "whole\nh");
  // Room for the line, but not for the notice.
  room = "\nnext\nlos".length;
  writer.write("next\n");
  await writer.flush(1000);
  room = 100;
  writer.write("last\n");
  await writer.flush(1000);
  assertEquals(text, "whole\nh\nnext\nlos\nlast\nlost 1\n");
});
