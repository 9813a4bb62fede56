import { assert, assertEquals } from "@std/assert";
import type { Cursor } from "../../lib/core/cursor.ts";
import type { Replay } from "../../lib/core/engine.ts";
import { Gap } from "../../lib/core/gap.ts";
import { Batch, type Message } from "../../lib/core/message.ts";
import type { CloseReason } from "../../lib/core/sink.ts";
import {
  Subscriber,
  type SubscriberContext,
  type SubscriberOptions,
} from "../../lib/core/subscriber.ts";
import { type Feed, Subscription } from "../../lib/core/subscription.ts";
import { RecordingSink, stoppedWheel, subscriberContext } from "../support/recording_sink.ts";

function messages(first: number, last: number, epoch = "e", channel = "c"): Message[] {
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const seq = first + i;
    return { channel, epoch, seq, data: `m${seq}`, bytes: 2, time: 0 };
  });
}

/** A channel that answers from a list, `piece` messages at a time. */
class ListFeed implements Feed {
  readonly name: string;
  kept: Message[] = [];
  epoch = "e";
  head = 0;
  piece = Infinity;
  asked: (Cursor | undefined)[] = [];
  left = false;

  constructor(name = "c") {
    this.name = name;
  }

  keep(kept: Message[], head = kept.at(-1)?.seq ?? 0): void {
    this.kept = kept;
    this.head = head;
  }

  since(cursor: Cursor | undefined): Replay {
    this.asked.push(cursor);
    const { epoch, head } = this;
    if (cursor === undefined) return { epoch, head, messages: [] };
    const seq = cursor.epoch === undefined || cursor.epoch === epoch ? cursor.seq : 0;
    const messages = this.kept.filter((message) => message.seq > seq).slice(0, this.piece);
    return { epoch, head, messages };
  }

  leave(): void {
    this.left = true;
  }
}

/** A subscriber with one subscription that has not caught up yet. */
function subscribe(
  feed: Feed,
  cursor?: Cursor,
  { once, ...options }: Partial<SubscriberContext> & SubscriberOptions & { once?: boolean } = {},
) {
  const sink = new RecordingSink({ once });
  const subscriber = new Subscriber(sink, subscriberContext(options), options);
  const subscription = new Subscription(subscriber, feed, cursor);
  subscriber.add(subscription);
  return { sink, subscriber, subscription };
}

Deno.test("Subscription without a position starts at the head", () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 5));
  const { sink, subscription } = subscribe(feed);
  subscription.catchUp();
  assert(subscription.live);
  subscription.deliver(new Batch(messages(6, 7)));
  assertEquals(sink.events[0], { kind: "open", channel: "c", cursor: "e-5" });
  assertEquals(sink.seqs, [6, 7]);
  assertEquals(sink.gaps, []);
});

Deno.test("Subscription replays piece by piece, then goes live", () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 7));
  feed.piece = 2;
  const { sink, subscription } = subscribe(feed, { epoch: "e", seq: 2 });
  subscription.catchUp();
  subscription.deliver(new Batch(messages(8, 8)));
  assertEquals(sink.events[0], { kind: "open", channel: "c", cursor: "e-2" });
  assertEquals(sink.seqs, [3, 4, 5, 6, 7, 8]);
  assertEquals(sink.gaps, []);
});

const gapCases: {
  name: string;
  cursor: Cursor;
  gap: [from: number, to: number, reason: string];
  opened: string;
  then: number[];
}[] = [
  {
    name: "evicted",
    cursor: { epoch: "e", seq: 3 },
    gap: [4, 5, "evicted"],
    opened: "e-3",
    then: [6, 7, 8],
  },
  {
    name: "evicted, with a bare seq",
    cursor: { seq: 0 },
    gap: [1, 5, "evicted"],
    opened: "e-0",
    then: [6, 7, 8],
  },
  {
    name: "restart",
    cursor: { epoch: "old", seq: 40 },
    gap: [41, 5, "restart"],
    opened: "old-40",
    then: [6, 7, 8],
  },
  {
    name: "ahead",
    cursor: { seq: 57 },
    gap: [58, 8, "ahead"],
    opened: "e-57",
    then: [],
  },
];

for (const { name, cursor, gap, opened, then } of gapCases) {
  Deno.test(`Subscription announces a gap before the first message: ${name}`, () => {
    const feed = new ListFeed();
    feed.keep(messages(6, 8));
    const { sink, subscription } = subscribe(feed, cursor);
    subscription.catchUp();
    assertEquals(sink.events[0], { kind: "open", channel: "c", cursor: opened });
    const [{ channel, from, to, epoch, reason }] = sink.gaps;
    assertEquals([channel, epoch], ["c", "e"]);
    assertEquals([from, to, reason], gap);
    assertEquals(sink.events[1].kind, "gap");
    assertEquals(sink.seqs, then);
    subscription.deliver(new Batch(messages(9, 9)));
    assertEquals(sink.seqs, [...then, 9]);
  });
}

Deno.test("Subscription at the head is told of no gap", () => {
  const feed = new ListFeed();
  feed.keep([], 8);
  const { sink, subscription } = subscribe(feed, { epoch: "e", seq: 8 });
  subscription.catchUp();
  assertEquals(sink.events.map(({ kind }) => kind), ["open"]);
});

Deno.test("Subscription waits for its sink, and says so if history has run away meanwhile", () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 10));
  feed.piece = 2;
  const waiting: Subscriber[] = [];
  const { sink, subscriber, subscription } = subscribe(feed, { seq: 0 }, {
    maxQueue: 50,
    whenRoom: (subscriber) => waiting.push(subscriber),
  });
  sink.clogged = true;
  subscription.catchUp();
  assertEquals(sink.seqs, [1, 2]);
  assertEquals(waiting, [subscriber]);
  assert(!subscriber.hasRoom && !subscription.live);
  subscription.deliver(new Batch(messages(11, 11)));
  feed.keep(messages(6, 11));
  sink.unclog();
  assert(subscriber.hasRoom);
  subscriber.resume();
  assertEquals(sink.gaps.map(({ from, to, reason }) => [from, to, reason]), [[3, 5, "slow"]]);
  assertEquals(sink.seqs, [1, 2, 6, 7, 8, 9, 10, 11]);
});

/** A subscriber of several channels with history, all of it waiting for a clogged sink. */
function behindOn(
  feeds: ListFeed[],
  options: Partial<SubscriberContext> & { once?: boolean } = {},
) {
  const { sink, subscriber, subscription } = subscribe(feeds[0], { seq: 0 }, options);
  const others = feeds.slice(1).map((feed) => new Subscription(subscriber, feed, { seq: 0 }));
  for (const other of others) subscriber.add(other);
  sink.clogged = true;
  for (const each of [subscription, ...others]) each.catchUp();
  return { sink, subscriber };
}

function feedsOf(count: number, length: number): ListFeed[] {
  return Array.from({ length: count }, (_, i) => {
    const feed = new ListFeed(`c${i}`);
    feed.keep(messages(1, length, "e", feed.name));
    feed.piece = 1;
    return feed;
  });
}

for (const once of [false, true]) {
  Deno.test(`Subscriber gets more histories than fit its queue in turn${once ? ", all in one answer" : ""}`, () => {
    const { sink, subscriber } = behindOn(feedsOf(20, 3), { once, maxQueue: 1000 });
    let rounds = 0;
    while (sink.seqs.length < 60) {
      assertEquals(sink.closed, undefined);
      assert(++rounds < 60, "it gets nothing more");
      sink.unclog();
      sink.clogged = true;
      subscriber.resume();
      assert(!sink.exceeds(500), "half of the queue is left for live messages");
    }
    assert(rounds > 1, "all of it went in at once");
    for (const [i] of Array(20).entries()) {
      const seqs = sink.messages.filter(({ channel }) => channel === `c${i}`).map(({ seq }) => seq);
      assertEquals(seqs, [1, 2, 3]);
    }
    assertEquals(sink.closed, once ? "done" : undefined);
  });
}

Deno.test("Subscriber that is behind on one channel takes no longer turn than on the others", () => {
  const { sink, subscriber } = behindOn(feedsOf(3, 50), { maxQueue: 1000 });
  for (let round = 0; round < 6; round++) {
    sink.unclog();
    sink.clogged = true;
    subscriber.resume();
  }
  const counts = [0, 1, 2].map((i) =>
    sink.messages.filter(({ channel }) => channel === `c${i}`).length
  );
  assert(Math.max(...counts) < 50 && Math.min(...counts) > Math.max(...counts) / 3, `${counts}`);
});

Deno.test("Subscriber that is behind forgets a channel that it leaves", () => {
  const { sink, subscriber } = behindOn(feedsOf(3, 50), { maxQueue: 1000 });
  const before = sink.seqs.length;
  for (const name of ["c1", "c2", "c0"]) assert(subscriber.remove(name));
  sink.unclog();
  subscriber.resume();
  assertEquals(sink.seqs.length, before);
});

Deno.test("Subscriber asks a late engine for one history at a time, and gets all of them", async () => {
  let asked = 0;
  let most = 0;
  const feeds = feedsOf(5, 4);
  const late = (feed: ListFeed): Feed => ({
    name: feed.name,
    async since(cursor) {
      most = Math.max(most, ++asked);
      await new Promise((resolve) => setTimeout(resolve, 1));
      asked--;
      return feed.since(cursor);
    },
    leave() {},
  });
  const sink = new RecordingSink({ once: true });
  const done = Promise.withResolvers<void>();
  const subscriber = new Subscriber(sink, subscriberContext({ onClose: () => done.resolve() }));
  const subscriptions = feeds.map((feed) => new Subscription(subscriber, late(feed), { seq: 0 }));
  for (const subscription of subscriptions) subscriber.add(subscription);
  await Promise.all(subscriptions.map((subscription) => subscription.catchUp()));
  await done.promise;
  assertEquals([sink.seqs.length, most, sink.closed], [20, 1, "done"]);
});

Deno.test("Subscription keeps what is published while it waits for an answer", async () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 2));
  const answer = Promise.withResolvers<Replay>();
  const late: Feed = { name: "c", since: () => answer.promise, leave() {} };
  const { sink, subscription } = subscribe(late, { seq: 1 });
  const done = subscription.catchUp();
  subscription.deliver(new Batch(messages(2, 3)));
  subscription.deliver(new Batch(messages(4, 4)));
  answer.resolve(feed.since({ seq: 1 }));
  await done;
  subscription.deliver(new Batch(messages(5, 5)));
  assertEquals(sink.seqs, [2, 3, 4, 5]);
});

Deno.test("Subscription that has all it wants sends nothing more of what it kept", async () => {
  const answer = Promise.withResolvers<Replay>();
  const late: Feed = { name: "c", since: () => answer.promise, leave() {} };
  const { sink, subscription } = subscribe(late, { seq: 0 }, { once: true });
  const done = subscription.catchUp();
  subscription.deliver(new Batch(messages(1, 2)));
  subscription.deliver(new Batch(messages(3, 3)));
  answer.resolve({ epoch: "e", head: 0, messages: [] });
  await done;
  assertEquals(sink.seqs, [1, 2]);
  assertEquals(sink.events.at(-1), { kind: "close", reason: "done" });
});

Deno.test("Subscription skips what it has, and fetches what the relay left out", () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 2));
  const { sink, subscription } = subscribe(feed, { seq: 0 });
  subscription.catchUp();
  subscription.deliver(new Batch(messages(1, 2)));
  subscription.deliver(new Batch(messages(2, 3)));
  feed.keep(messages(1, 6));
  subscription.deliver(new Batch(messages(6, 6)));
  assertEquals(sink.seqs, [1, 2, 3, 4, 5, 6]);
  assertEquals(sink.gaps, []);
});

for (const resumes of [true, false]) {
  Deno.test(`Subscription ${resumes ? "with" : "without"} a position is told ${resumes ? "that what the relay left out was evicted" : "of no gap when the relay leaves something out"}`, () => {
    const feed = new ListFeed();
    feed.keep(messages(1, 2));
    const { sink, subscription } = subscribe(feed, resumes ? { seq: 0 } : undefined);
    subscription.catchUp();
    feed.keep(messages(5, 6));
    subscription.deliver(new Batch(messages(6, 6)));
    assertEquals(sink.seqs, resumes ? [1, 2, 5, 6] : [5, 6]);
    assertEquals(
      sink.gaps.map(({ from, to, reason }) => [from, to, reason]),
      resumes ? [[3, 4, "evicted"]] : [],
    );
  });
}

for (const resumes of [true, false]) {
  Deno.test(`Subscription ${resumes ? "with" : "without"} a position follows a reset`, () => {
    const feed = new ListFeed();
    feed.keep(messages(1, 2));
    const { sink, subscription } = subscribe(feed, resumes ? { seq: 2 } : undefined);
    subscription.catchUp();
    subscription.deliver(new Batch(messages(1, 2, "f")));
    assertEquals(sink.messages.map(({ epoch, seq }) => `${epoch}-${seq}`), ["f-1", "f-2"]);
    assertEquals(
      sink.gaps.map(({ from, to, epoch, reason }) => [from, to, epoch, reason]),
      resumes ? [[3, 0, "f", "restart"]] : [],
    );
  });
}

Deno.test("Subscriber ends after its limit, in the middle of a batch", () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 2));
  const { sink, subscriber, subscription } = subscribe(feed, { seq: 0 }, { limit: 4 });
  subscription.catchUp();
  subscription.deliver(new Batch(messages(3, 9)));
  assertEquals(sink.seqs, [1, 2, 3, 4]);
  assertEquals([sink.closed, subscriber.closed, feed.left], ["done", "done", true]);
});

Deno.test("Subscriber that wants one answer gets all that it is behind, and ends", () => {
  const feed = new ListFeed();
  feed.keep(messages(1, 7));
  feed.piece = 2;
  const { sink, subscription } = subscribe(feed, { seq: 2 }, { once: true });
  subscription.catchUp();
  assertEquals(sink.seqs, [3, 4, 5, 6, 7]);
  assertEquals(sink.closed, "done");
});

Deno.test("Subscriber that wants one answer waits for a push, and gets all of the push", () => {
  const feed = new ListFeed();
  const { sink, subscription } = subscribe(feed, { seq: 0 }, { once: true });
  subscription.catchUp();
  assertEquals(sink.closed, undefined);
  subscription.deliver(new Batch(messages(1, 3)));
  assertEquals(sink.seqs, [1, 2, 3]);
  assertEquals(sink.closed, "done");
});

Deno.test("Subscriber that wants one answer is told of a gap at once", () => {
  const feed = new ListFeed();
  feed.keep([], 3);
  const { sink, subscription } = subscribe(feed, { seq: 9 }, { once: true });
  subscription.catchUp();
  assertEquals(sink.events.map(({ kind }) => kind), ["open", "gap", "close"]);
});

Deno.test("Subscriber that wants one answer waits on when its sink has no words for a gap", () => {
  const feed = new ListFeed();
  feed.keep([], 3);
  const { sink, subscription } = subscribe(feed, { seq: 9 }, { once: true });
  const write = sink.write.bind(sink);
  sink.write = (frame) => frame instanceof Gap ? write(frame) * 0 : write(frame);
  subscription.catchUp();
  assertEquals(sink.events.map(({ kind }) => kind), ["open", "gap"]);
  subscription.deliver(new Batch(messages(4, 4)));
  assertEquals(sink.events.map(({ kind }) => kind), ["open", "gap", "message", "close"]);
});

Deno.test("Subscriber that wants one answer waits for all of its channels to catch up", () => {
  const [a, b] = [new ListFeed("a"), new ListFeed("b")];
  a.keep(messages(1, 2, "e", "a"));
  b.keep(messages(1, 2, "e", "b"));
  const { sink, subscriber, subscription } = subscribe(a, { seq: 0 }, { once: true });
  const other = new Subscription(subscriber, b, { seq: 1 });
  subscriber.add(other);
  subscription.catchUp();
  assertEquals(sink.closed, undefined);
  other.catchUp();
  assertEquals(sink.messages.map(({ channel, seq }) => channel + seq), ["a1", "a2", "b2"]);
  assertEquals(sink.closed, "done");
});

Deno.test("Subscriber is cut when too much is unsent as the next message comes", () => {
  const feed = new ListFeed();
  const { sink, subscription } = subscribe(feed, undefined, { maxQueue: 100 });
  subscription.catchUp();
  sink.clogged = true;
  let seq = 0;
  while (!sink.exceeds(100)) subscription.deliver(new Batch(messages(++seq, seq)));
  assertEquals(sink.closed, undefined);
  subscription.deliver(new Batch(messages(seq + 1, seq + 1)));
  assertEquals(sink.closed, "slow");
  assertEquals(sink.seqs.length, seq);
  assert(feed.left);
});

Deno.test("Subscriber sends a heartbeat after silence only", () => {
  const { wheel, pass } = stoppedWheel();
  const feed = new ListFeed();
  const { sink, subscription } = subscribe(feed, undefined, { wheel, heartbeat: 1000 });
  subscription.catchUp();
  pass(900);
  subscription.deliver(new Batch(messages(1, 1)));
  pass(900);
  assertEquals(sink.events.at(-1)!.kind, "message");
  pass(200);
  assertEquals(sink.events.at(-1)!.kind, "heartbeat");
  pass(1100);
  assertEquals(sink.events.filter(({ kind }) => kind === "heartbeat").length, 2);
});

Deno.test("Subscriber ends when its time is over, however busy it is", () => {
  const { wheel, pass } = stoppedWheel();
  const feed = new ListFeed();
  const reasons: CloseReason[] = [];
  const { sink, subscriber, subscription } = subscribe(feed, undefined, {
    wheel,
    heartbeat: 1000,
    lifetime: 2500,
    onClose: (_subscriber, reason) => reasons.push(reason),
  });
  subscription.catchUp();
  for (let seq = 1; seq <= 24; seq++) {
    pass(100);
    subscription.deliver(new Batch(messages(seq, seq)));
  }
  assertEquals(sink.closed, undefined);
  pass(200);
  assertEquals(sink.closed, "timeout");
  subscriber.close("gone");
  assertEquals(reasons, ["timeout"]);
  assertEquals(sink.events.filter(({ kind }) => kind === "close").length, 1);
});

Deno.test("Subscriber that takes none of its history is cut in the end", () => {
  const { wheel, pass } = stoppedWheel();
  const feed = new ListFeed();
  feed.keep(messages(1, 9));
  feed.piece = 3;
  const { sink, subscription } = subscribe(feed, { seq: 0 }, {
    wheel,
    heartbeat: 1000,
    maxQueue: 100,
  });
  sink.clogged = true;
  subscription.catchUp();
  pass(900);
  assertEquals(sink.closed, undefined);
  pass(200);
  assertEquals(sink.closed, "slow");
});

Deno.test("Subscriber that is live gets its heartbeat, whatever is unsent within the limit", () => {
  const { wheel, pass } = stoppedWheel();
  const feed = new ListFeed();
  const { sink, subscription } = subscribe(feed, undefined, { wheel, heartbeat: 1000 });
  subscription.catchUp();
  sink.clogged = true;
  const data = "x".repeat(400_000);
  subscription.deliver(new Batch([{ ...messages(1, 1)[0], data, bytes: data.length }]));
  pass(1100);
  assertEquals([sink.closed, sink.events.at(-1)!.kind], [undefined, "heartbeat"]);
});

for (const how of ["by its client", "by a heartbeat that fails", "as its time is over"]) {
  Deno.test(`Subscriber that was closed ${how} is never due again`, () => {
    const { wheel, pass } = stoppedWheel();
    const { sink, subscriber } = subscribe(new ListFeed(), undefined, {
      wheel,
      heartbeat: 1000,
      lifetime: how.endsWith("over") ? 1500 : Infinity,
      report: () => {},
    });
    let due = 0;
    const onDue = subscriber.onDue.bind(subscriber);
    subscriber.onDue = () => {
      due++;
      onDue();
    };
    if (how.includes("fails")) {
      sink.heartbeat = () => {
        throw new Error("broken");
      };
    }
    pass(500);
    if (how.includes("client")) subscriber.close("gone");
    for (let i = 0; i < 20 && subscriber.closed === undefined; i++) pass(100);
    assert(subscriber.closed !== undefined);
    due = 0;
    for (let i = 0; i < 600; i++) pass(100);
    assertEquals(due, 0);
  });
}

Deno.test("Subscriber survives a sink that throws, and everybody learns of it", () => {
  for (const broken of ["open", "write", "heartbeat", "close"] as const) {
    const { wheel, pass } = stoppedWheel();
    const errors: unknown[] = [];
    const reasons: CloseReason[] = [];
    const feed = new ListFeed();
    const { sink, subscriber, subscription } = subscribe(feed, undefined, {
      wheel,
      heartbeat: 1000,
      report: (error) => errors.push(error),
      onClose: (_subscriber, reason) => reasons.push(reason),
    });
    sink[broken] = () => {
      throw new Error(broken);
    };
    subscription.catchUp();
    subscription.deliver(new Batch(messages(1, 1)));
    pass(1100);
    subscriber.close("done");
    assertEquals(errors.map(String), [`Error: ${broken}`]);
    assertEquals(reasons, [broken === "close" ? "done" : "error"]);
    assert(feed.left, broken);
  }
});

Deno.test("Subscriber is closed by a feed that fails, now or later", async () => {
  for (
    const since of [() => Promise.reject(new Error("x")), () => {
      throw new Error("x");
    }]
  ) {
    const errors: unknown[] = [];
    const feed: Feed = { name: "c", since, leave() {} };
    const { sink, subscription } = subscribe(feed, undefined, {
      report: (error) => errors.push(error),
    });
    await subscription.catchUp();
    assertEquals(sink.closed, "error");
    assertEquals(errors.map(String), ["Error: x"]);
  }
});

Deno.test("Subscriber.remove() leaves one channel and stays in the others", () => {
  const [a, b] = [new ListFeed("a"), new ListFeed("b")];
  const { subscriber } = subscribe(a);
  subscriber.add(new Subscription(subscriber, b));
  assertEquals([subscriber.remove("a"), subscriber.remove("a")], [true, false]);
  assertEquals([a.left, b.left, subscriber.size], [true, false, 1]);
  assertEquals(subscriber.find("b")?.channel, "b");
});
