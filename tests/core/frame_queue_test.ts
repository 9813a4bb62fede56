import { assertEquals } from "@std/assert";
import { FrameQueue } from "../../lib/core/frame_queue.ts";

Deno.test("FrameQueue.count() tells the frames of the last writes that hold what is unsent", () => {
  const queue = new FrameQueue();
  assertEquals(queue.count(0), 0);
  queue.push(1, 100);
  queue.push(64, 640);
  queue.push(2, 50);
  assertEquals([790, 691, 690, 51, 50, 1].map((unsent) => queue.count(unsent)), [
    67,
    67,
    66,
    66,
    2,
    2,
  ]);
  assertEquals(queue.count(0), 0);
});

Deno.test("FrameQueue.count() stays right over thousands of writes that are never all sent", () => {
  const queue = new FrameQueue();
  queue.push(1, 10);
  for (let i = 0; i < 10_000; i++) {
    queue.push(1 + i % 3, 10 + i % 7);
    assertEquals(queue.count(10 + i % 7), 1 + i % 3);
  }
});
