import { assertEquals } from "@std/assert";
import fc from "fast-check";
import v8 from "node:v8";
import vm from "node:vm";
import type { Message } from "../../lib/core/message.ts";
import { Holdings, MESSAGE_OVERHEAD, SharedText } from "../../lib/engines/cost.ts";
import { History, type KeptMessage } from "../../lib/engines/history.ts";

/** A message accepted `seq` milliseconds after the epoch unless `time` says when. */
function messageOf(seq: number, bytes = 1, time = seq): KeptMessage {
  const cost = bytes + MESSAGE_OVERHEAD;
  return { channel: "x", epoch: "e", seq, data: "d".repeat(bytes), bytes, time, cost };
}

/** A history that counts what it keeps, by itself unless others are counted with it. */
class Counted extends History {
  readonly holdings: Holdings;

  constructor(holdings = new Holdings()) {
    super();
    this.holdings = holdings;
  }

  override push(message: KeptMessage, most = Infinity): void {
    super.push(message, most, this.holdings);
  }

  override trim(count: number, time: number): void {
    super.trim(count, time, this.holdings);
  }
}

/** A history of messages with these sizes, the first with seq `first`. */
function historyOf(sizes: number[], first = 1): Counted {
  const history = new Counted();
  sizes.forEach((bytes, i) => history.push(messageOf(first + i, bytes)));
  return history;
}

function seqs(messages: readonly Message[]): number[] {
  return messages.map(({ seq }) => seq);
}

function stateOf(history: Counted) {
  const { length, bytes, oldest, holdings } = history;
  assertEquals([holdings.messages, holdings.bytes], [length, bytes]);
  return {
    length,
    bytes,
    held: holdings.held,
    oldest: oldest?.seq,
    kept: seqs(history.after(0, Infinity)),
  };
}

const EMPTY = { length: 0, bytes: 0, held: 0, oldest: undefined, kept: [] };

Deno.test("History is empty at first", () => {
  assertEquals(stateOf(new Counted()), EMPTY);
});

Deno.test("History.push() counts messages, bytes of data and the overhead of each", () => {
  assertEquals(stateOf(historyOf([3, 0, 5], 7)), {
    length: 3,
    bytes: 8,
    held: 8 + 3 * MESSAGE_OVERHEAD,
    oldest: 7,
    kept: [7, 8, 9],
  });
});

Deno.test("History.push() forgets the oldest beyond the most that may be kept", () => {
  const history = historyOf([3, 4]);
  history.push(messageOf(3, 5), 2);
  assertEquals(stateOf(history), {
    length: 2,
    bytes: 9,
    held: 9 + 2 * MESSAGE_OVERHEAD,
    oldest: 2,
    kept: [2, 3],
  });
  history.push(messageOf(4, 6), 1);
  assertEquals(stateOf(history).kept, [4]);
  history.push(messageOf(5), 0);
  assertEquals(stateOf(history), EMPTY);
  history.push(messageOf(6), 1);
  assertEquals(stateOf(history).kept, [6]);
});

Deno.test("History keeps its numbers straight as its list grows and shrinks", () => {
  const history = new Counted();
  for (let seq = 1; seq <= 2000; seq++) {
    const most = seq < 500 ? 40 : seq < 1000 ? 400 : 3;
    history.push(messageOf(seq), most);
    const oldest = seq < 500 ? seq - 39 : seq < 1000 ? Math.max(460, seq - 399) : seq - 2;
    assertEquals(history.oldest?.seq, Math.max(1, oldest));
    assertEquals(seqs(history.after(seq - 2, Infinity)), seq === 1 ? [1] : [seq - 1, seq]);
  }
  assertEquals(history.bytes, 3);
});

Deno.test("History starts over with other numbers when it was emptied", () => {
  const history = historyOf([1, 1, 1], 2 ** 40);
  history.trim(0, 0);
  assertEquals(stateOf(history), EMPTY);
  history.push(messageOf(1));
  assertEquals(seqs(history.after(0, Infinity)), [1]);
});

Deno.test("History counts a text that several histories share once, as long as one of them has it", () => {
  const holdings = new Holdings();
  const shared = new SharedText(1000);
  const message = { ...messageOf(1, 1000), cost: MESSAGE_OVERHEAD, shared };
  const histories = [new Counted(holdings), new Counted(holdings), new Counted(holdings)];
  for (const history of histories) history.push(message);
  assertEquals(holdings.held, 1000 + 3 * MESSAGE_OVERHEAD);
  histories[0].trim(0, 0);
  histories[2].push(messageOf(2, 5), 1);
  assertEquals(holdings.held, 1005 + 2 * MESSAGE_OVERHEAD);
  histories[1].trim(1, 1);
  assertEquals(holdings.held, 5 + MESSAGE_OVERHEAD);
});

Deno.test("History.trim() of a history without messages does nothing", () => {
  const history = new Counted();
  for (const count of [-1, 0, 1]) history.trim(count, Infinity);
  assertEquals(stateOf(history), EMPTY);
  history.push(messageOf(1));
  history.trim(-1, -Infinity);
  assertEquals(stateOf(history), EMPTY);
});

Deno.test("History releases the messages that it forgets", () => {
  v8.setFlagsFromString("--expose-gc");
  const gc: () => void = vm.runInNewContext("gc");
  const history = new Counted();
  const forgotten = Array.from({ length: 20 }, (_, i) => {
    const message = messageOf(i + 1);
    history.push(message);
    return new WeakRef(message);
  });
  history.trim(2, 0);
  return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    gc();
    const kept = forgotten.map((ref) => ref.deref()?.seq).filter((seq) => seq !== undefined);
    assertEquals(kept, seqs(history.after(0, Infinity)));
  });
});

for (
  const { what, count, time, kept } of [
    { what: "nothing within both limits", count: 5, time: 0, kept: [1, 2, 3, 4, 5] },
    { what: "the oldest beyond the count", count: 4, time: 0, kept: [2, 3, 4, 5] },
    { what: "what was accepted at the time or before", count: 5, time: 2, kept: [3, 4, 5] },
    { what: "by whichever limit is tighter", count: 2, time: 1, kept: [4, 5] },
    { what: "everything when none may be kept", count: 0, time: 0, kept: [] },
    { what: "everything when all of it is old", count: 5, time: 5, kept: [] },
  ]
) {
  Deno.test(`History.trim() forgets ${what}`, () => {
    const history = historyOf([1, 1, 1, 1, 1]);
    history.trim(count, time);
    assertEquals(seqs(history.after(0, Infinity)), kept);
    assertEquals(history.bytes, kept.length);
  });
}

Deno.test("History.trim() stops at the first message young enough", () => {
  const history = new Counted();
  [5, 9, 5].forEach((time, i) => history.push(messageOf(i + 1, 1, time)));
  history.trim(3, 5);
  assertEquals(seqs(history.after(0, Infinity)), [2, 3]);
});

Deno.test("History.after() gives what came after a position", () => {
  const history = historyOf([1, 1, 1], 11);
  const wanted: [number, number[]][] = [
    [0, [11, 12, 13]],
    [10, [11, 12, 13]],
    [11, [12, 13]],
    [12, [13]],
    [13, []],
    [14, []],
    [Number.MAX_SAFE_INTEGER, []],
  ];
  for (const [seq, expected] of wanted) {
    assertEquals(seqs(history.after(seq, Infinity)), expected, `after ${seq}`);
  }
});

Deno.test("History.after() gives as many messages as fit into maxBytes", () => {
  const history = historyOf([10, 20, 30]);
  const two = 30 + 2 * MESSAGE_OVERHEAD;
  assertEquals(seqs(history.after(0, two)), [1, 2]);
  assertEquals(seqs(history.after(0, two - 1)), [1]);
  assertEquals(seqs(history.after(0, two + 30 + MESSAGE_OVERHEAD)), [1, 2, 3]);
  assertEquals(seqs(history.after(1, two)), [2]);
});

Deno.test("History.after() gives at least one message even if it is over maxBytes", () => {
  const history = historyOf([1000, 1]);
  assertEquals(seqs(history.after(0, 0)), [1]);
  assertEquals(seqs(history.after(1, 0)), [2]);
  assertEquals(seqs(history.after(2, 0)), []);
});

Deno.test("History.after() gives a list that later changes leave alone", () => {
  const history = historyOf([1, 1]);
  const before = history.after(0, Infinity);
  history.push(messageOf(3), 2);
  assertEquals(seqs(before), [1, 2]);
});

/** The same as History, as plainly as can be. */
class Model {
  kept: KeptMessage[] = [];

  trim(count: number, time: number): void {
    while (this.kept.length > count) this.kept.shift();
    while (this.kept.length > 0 && this.kept[0].time <= time) this.kept.shift();
  }

  after(seq: number, maxBytes: number): Message[] {
    const later = this.kept.filter((message) => message.seq > seq);
    let cost = 0;
    return later.filter(({ bytes }, i) =>
      (cost += bytes + MESSAGE_OVERHEAD) <= maxBytes || i === 0
    );
  }
}

type Step =
  | { do: "push"; count: number; bytes: number; most: number }
  | { do: "trim"; keep: number; age: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("push" as const),
    count: fc.integer({ min: 1, max: 60 }),
    bytes: fc.nat(300),
    most: fc.oneof(fc.nat(100), fc.constant(Infinity)),
  }),
  fc.record({ do: fc.constant("trim" as const), keep: fc.nat(100), age: fc.nat(100) }),
);

Deno.test("History behaves as a plain array does", () => {
  const asked = fc.record({ back: fc.integer({ min: -3, max: 120 }), maxBytes: fc.nat(20_000) });
  fc.assert(fc.property(fc.array(anyStep, { maxLength: 30 }), asked, (steps, asked) => {
    const history = new Counted();
    const model = new Model();
    let seq = 0;
    for (const step of steps) {
      if (step.do === "trim") {
        history.trim(step.keep, seq - step.age);
        model.trim(step.keep, seq - step.age);
      }
      for (let i = 0; step.do === "push" && i < step.count; i++) {
        const message = messageOf(++seq, step.bytes);
        history.push(message, step.most);
        model.kept.push(message);
        model.trim(step.most, -Infinity);
      }
      assertEquals(history.length, model.kept.length);
      assertEquals(history.bytes, model.kept.reduce((sum, { bytes }) => sum + bytes, 0));
      assertEquals(history.holdings.held, model.kept.reduce((sum, { cost }) => sum + cost, 0));
      assertEquals(history.oldest, model.kept[0]);
      assertEquals(history.newest, model.kept.at(-1));
      const after = Math.max(0, seq - asked.back);
      assertEquals(
        seqs(history.after(after, asked.maxBytes)),
        seqs(model.after(after, asked.maxBytes)),
      );
    }
  }));
});
