import { assertEquals } from "@std/assert";
import {
  FRAME_BYTES,
  Inbox,
  Inboxes,
  type InboxOwner,
} from "../../../lib/http/transports/inbox.ts";

/** Inboxes whose clock and turns the test moves on. */
class Bench {
  readonly inboxes: Inboxes;
  /** What was carried out, in order. */
  readonly done: string[] = [];
  /** Sockets whose inboxes became empty, in order. */
  readonly emptied: string[] = [];
  /** How often the clock was read. */
  looks = 0;
  #now = 0;
  #later: (() => void)[] = [];

  constructor(maxInbox: number, clockInterval: number | undefined = 1) {
    this.inboxes = new Inboxes(maxInbox, {
      clockInterval,
      now: () => {
        this.looks++;
        return this.#now;
      },
      later: (action) => this.#later.push(action),
    });
  }

  /** A socket that carries out one character at a time, each in so many milliseconds. */
  socket(name: string, ms = 1): Inbox {
    const owner: InboxOwner = {
      carryOut: (frame, at) => {
        for (; at < frame.length; at++) {
          if (!this.inboxes.next()) return at;
          this.done.push(name + frame[at]);
          this.#now += ms;
        }
      },
      onEmpty: () => void this.emptied.push(name),
    };
    return new Inbox(this.inboxes, owner);
  }

  /** Turns whose end is waited for. */
  get turns(): number {
    return this.#later.length;
  }

  /** Lets a turn of the event loop end; gives what was carried out. */
  turn(): string {
    this.done.length = 0;
    for (const action of this.#later.splice(0)) action();
    return this.done.join(" ");
  }

  /** Uses up the turn that is about to end. */
  spend(): void {
    while (this.inboxes.next()) this.#now++;
  }
}

Deno.test("Inboxes has ten milliseconds in a turn, and again in the next", () => {
  const bench = new Bench(1000);
  const inbox = bench.socket("a");
  bench.spend();
  assertEquals(bench.inboxes.next(), false);
  inbox.add("0123456789ABCDE", 0);
  assertEquals(bench.turn(), "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9");
  assertEquals(bench.inboxes.next(), false);
  assertEquals([inbox.empty, bench.emptied], [false, []]);
  assertEquals(bench.turn(), "aA aB aC aD aE");
  assertEquals([inbox.empty, bench.emptied, bench.inboxes.bytes], [true, ["a"], 0]);
  assertEquals(bench.turn(), "");
  assertEquals(bench.inboxes.next(), true);
});

Deno.test("Inbox counts what waits, and no longer what is carried out", () => {
  const bench = new Bench(100_000);
  const inbox = bench.socket("a");
  bench.spend();
  for (const frame of ["0123", "4567", "89ABCD"]) inbox.add(frame, 0);
  assertEquals(bench.inboxes.bytes, 14 + 3 * FRAME_BYTES);
  bench.turn();
  assertEquals(bench.inboxes.bytes, 6 + FRAME_BYTES);
  bench.turn();
  assertEquals(bench.inboxes.bytes, 0);
});

Deno.test("Inbox continues where a frame was stopped, and keeps the order of frames", () => {
  const bench = new Bench(1_000_000);
  const inbox = bench.socket("");
  bench.spend();
  inbox.add("abcdef", 2);
  for (const frame of ["g", "hij", "k"]) inbox.add(frame, 0);
  assertEquals(bench.turn(), "c d e f g h i j k");
});

Deno.test("Inboxes carries out 64 frames or lines of each socket in turns", () => {
  const bench = new Bench(1_000_000);
  const [a, b] = [bench.socket("a", 0.01), bench.socket("b", 0.01)];
  bench.spend();
  a.add("x".repeat(200), 0);
  b.add("y".repeat(70), 0);
  const [ax, by] = [(n: number) => Array(n).fill("ax"), (n: number) => Array(n).fill("by")];
  const expected = [ax(64), by(64), ax(64), by(6), ax(64), ax(8)].flat();
  assertEquals(bench.turn().split(" "), expected);
  assertEquals(bench.emptied, ["b", "a"]);
});

Deno.test("Inboxes gives those their turn first that have waited longest", () => {
  const bench = new Bench(1_000_000);
  const [a, b] = [bench.socket("a", 10), bench.socket("b", 10)];
  bench.spend();
  a.add("12", 0);
  b.add("12", 0);
  assertEquals([bench.turn(), bench.turn(), bench.turn(), bench.turn()], ["a1", "b1", "a2", "b2"]);
});

Deno.test("Inbox refuses a frame once it has more than the limit, and takes any before", () => {
  const bench = new Bench(2 * FRAME_BYTES);
  const inbox = bench.socket("a");
  bench.spend();
  assertEquals(inbox.add("x".repeat(10 * FRAME_BYTES), 0), true);
  assertEquals(inbox.add("y", 0), false);
  assertEquals(bench.inboxes.bytes, 11 * FRAME_BYTES);
  inbox.clear();
  assertEquals([inbox.empty, bench.inboxes.bytes], [true, 0]);
  for (const expected of [true, true, true, false]) assertEquals(inbox.add("", 0), expected);
});

Deno.test("Inboxes refuses frames of those with most waiting when all have four times the limit", () => {
  const bench = new Bench(1000 * FRAME_BYTES);
  bench.spend();
  const large = Array.from({ length: 5 }, () => bench.socket("large"));
  const small = bench.socket("small");
  const frame = "x".repeat(499 * FRAME_BYTES);
  for (const inbox of large) assertEquals([inbox.add(frame, 0), inbox.add(frame, 0)], [true, true]);
  assertEquals(small.add("x", 0), true);
  assertEquals(large.map((inbox) => inbox.add("x", 0)), Array(5).fill(false));
  assertEquals(small.add("x", 0), true);
});

Deno.test("Inbox that is cleared while it works carries out nothing more", () => {
  const bench = new Bench(1_000_000);
  bench.spend();
  const carried: string[] = [];
  const inbox: Inbox = new Inbox(bench.inboxes, {
    carryOut(frame) {
      carried.push(frame);
      inbox.clear();
      return undefined;
    },
    onEmpty: () => void bench.emptied.push("it"),
  });
  for (const frame of ["a", "b"]) inbox.add(frame, 0);
  bench.turn();
  assertEquals([carried, bench.emptied, bench.inboxes.bytes], [["a"], ["it"], 0]);
});

Deno.test("Inboxes reads the clock once per eight frames or lines, and starts no turn before", () => {
  const bench = new Bench(1_000_000, 8);
  for (let i = 0; i < 7; i++) assertEquals(bench.inboxes.next(), true);
  assertEquals([bench.looks, bench.turns], [0, 0]);
  for (let i = 7; i < 24; i++) assertEquals(bench.inboxes.next(), true);
  assertEquals([bench.looks, bench.turns], [3, 1]);
});
