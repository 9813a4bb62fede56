/**
 * What every engine must do, whatever it is made of: the rules of `Engine`, one test each.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  BatchTooLargeError,
  type Engine,
  EngineFullError,
  type Usage,
} from "../../lib/core/engine.ts";
import type { Message } from "../../lib/core/message.ts";
import type { MemoryLimits } from "../../lib/engines/memory.ts";
import { memoryLimits } from "./server.ts";
import { until } from "./until.ts";

/** More than any replay in the suite. */
const ALL = 1e9;

/**
 * Registers the suite for one engine.
 *
 * @param make Makes an engine that is not started, within the limits it honours.
 */
export function engineSuite(name: string, make: (limits: MemoryLimits) => Engine): void {
  function test(
    rule: string,
    body: (engine: Engine, relayed: Message[]) => Promise<void>,
    limits: Partial<MemoryLimits> = {},
  ): void {
    Deno.test(`${name} ${rule}`, async () => {
      const engine = make(memoryLimits(limits));
      const relayed: Message[] = [];
      await engine.start({ deliver: (message) => relayed.push(message), subscribers: () => 7 });
      try {
        await body(engine, relayed);
      } finally {
        await engine.close();
      }
    });
  }

  async function publish(engine: Engine, channel: string, ...data: string[]) {
    return await Promise.all(data.map((text) => engine.publish(channel, text)));
  }

  /** Compares what the engine says of itself, as far as it knows it. */
  async function assertUsage(engine: Engine, expected: Usage): Promise<void> {
    const usage = await engine.usage();
    const known = Object.entries(expected).filter(([key]) =>
      usage[key as keyof Usage] !== undefined
    );
    assertEquals(
      known.map(([key]) => [key, usage[key as keyof Usage]]),
      known,
    );
  }

  const seqs = (messages: readonly { seq: number }[]) => messages.map(({ seq }) => seq);
  const oneTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

  test("numbers each channel from 1 without holes", async (engine) => {
    assertEquals(seqs(await publish(engine, "a", "x", "y", "z")), [1, 2, 3]);
    assertEquals(seqs(await publish(engine, "b", "x")), [1]);
    assertEquals(seqs(await publish(engine, "a", "x")), [4]);
  });

  test(
    "keeps and relays the type of a message, and none where there is none",
    async (engine, relayed) => {
      await engine.watch("a");
      await engine.publish("a", "x", undefined, "alarm");
      await engine.publish("a", "y");
      await engine.publishAll([{ channel: "a", data: "z", type: "news" }, {
        channel: "a",
        data: "z",
      }]);
      await until(() => relayed.length === 4);
      const types = ["alarm", undefined, "news", undefined];
      const { messages } = await engine.since("a", { seq: 0 }, ALL);
      for (const each of [relayed, messages]) {
        assertEquals(each.map(({ type }) => type), types);
        assertEquals(
          each.map((message) => "type" in message),
          types.map((type) => type !== undefined),
        );
      }
    },
  );

  test("is ready once it has started", async (engine) => {
    await publish(engine, "a", "x");
    assertEquals(engine.ready(), undefined);
  });

  test("finds a message as soon as its receipt is there", async (engine) => {
    const { seq, epoch } = await engine.publish("a", "hé\u0000\n");
    const replay = await engine.since("a", { seq: 0 }, ALL);
    assertEquals(replay.head, seq);
    assertEquals(replay.epoch, epoch);
    const [{ channel, data, bytes, time, ...message }] = replay.messages;
    assertEquals([channel, message.epoch, message.seq], ["a", epoch, seq]);
    assertEquals([data, bytes], ["hé\u0000\n", 5]);
    assert(Number.isFinite(time));
  });

  test("relays a watched channel only, once and in order", async (engine, relayed) => {
    await publish(engine, "a", "before");
    await engine.watch("a");
    const receipts = await publish(engine, "a", "1", "2", "3");
    await publish(engine, "b", "other");
    await until(() => relayed.length >= 3);
    await engine.unwatch("a");
    await publish(engine, "a", "after");
    await engine.since("a", undefined, ALL);
    assertEquals(relayed.map(({ data }) => data), ["1", "2", "3"]);
    assertEquals(seqs(relayed), [2, 3, 4]);
    assertEquals(receipts.map(({ subscribers }) => subscribers), [7, 7, 7]);
  });

  test("answers a repeated id with the first receipt, a channel at a time", async (engine) => {
    const first = await engine.publish("a", "x", "id");
    assertEquals(await engine.publish("a", "y", "id"), first);
    assertEquals((await engine.publish("a", "z")).seq, 2);
    assertEquals((await engine.publish("b", "x", "id")).seq, 1);
  });

  test("gives the head alone without a cursor", async (engine) => {
    const [, { epoch }] = await publish(engine, "a", "x", "y");
    assertEquals(await engine.since("a", undefined, ALL), { epoch, head: 2, messages: [] });
  });

  test("gives what came after a cursor, with or without its epoch", async (engine) => {
    const [{ epoch }] = await publish(engine, "a", "1", "2", "3", "4");
    assertEquals(seqs((await engine.since("a", { seq: 2 }, ALL)).messages), [3, 4]);
    assertEquals(seqs((await engine.since("a", { epoch, seq: 3 }, ALL)).messages), [4]);
    assertEquals(seqs((await engine.since("a", { seq: 4 }, ALL)).messages), []);
    assertEquals(seqs((await engine.since("a", { seq: 99 }, ALL)).messages), []);
  });

  test("gives everything it has to a cursor of another epoch", async (engine) => {
    await publish(engine, "a", "1", "2", "3");
    const { messages } = await engine.since("a", { epoch: "other", seq: 2 }, ALL);
    assertEquals(seqs(messages), [1, 2, 3]);
  });

  test("keeps no more than its history, the last ones", async (engine) => {
    await publish(engine, "a", ...oneTo(5).map(String));
    const { head, messages } = await engine.since("a", { seq: 0 }, ALL);
    assertEquals(head, 5);
    assertEquals(seqs(messages), [3, 4, 5]);
  }, { history: 3 });

  test("numbers and relays with no history at all", async (engine, relayed) => {
    await engine.watch("a");
    assertEquals(seqs(await publish(engine, "a", "1", "2")), [1, 2]);
    await until(() => relayed.length === 2);
    const { head, messages } = await engine.since("a", { seq: 0 }, ALL);
    assertEquals([head, messages.length], [2, 0]);
  }, { history: 0 });

  test("splits a long replay without leaving anything out", async (engine) => {
    await publish(engine, "a", ...oneTo(20).map((n) => "x".repeat(n * 50)));
    const seen: number[] = [];
    for (let seq = 0, pieces = 0; seq < 20; pieces++) {
      const { messages } = await engine.since("a", { seq }, 1000);
      assert(messages.length > 0, "at least one");
      assert(pieces < 20, "it goes on");
      const bytes = messages.reduce((sum, message) => sum + message.bytes, 0);
      assert(messages.length === 1 || bytes <= 1000, `${bytes} bytes`);
      seen.push(...seqs(messages));
      seq = seen.at(-1)!;
    }
    assertEquals(seen, oneTo(20));
  });

  test("keeps epoch and seq of a watched channel", async (engine) => {
    await engine.watch("a");
    const { epoch } = await engine.since("a", undefined, ALL);
    const receipt = await engine.publish("a", "x");
    assertEquals([receipt.epoch, receipt.seq], [epoch, 1]);
  });

  test("describes a channel, and knows what it does not know", async (engine) => {
    assertEquals(await engine.info("a"), undefined);
    const [, { epoch }] = await publish(engine, "a", "é", "yy");
    const history = { messages: 2, bytes: 4, oldest: 1 };
    assertEquals(await engine.info("a"), {
      channel: "a",
      seq: 2,
      epoch,
      subscribers: 0,
      history,
    });
    await assertUsage(engine, {
      published: 2,
      publishedBytes: 4,
      channels: 1,
      onlyWatched: 0,
      messages: 2,
      bytes: 4,
    });
    const { held = 5 } = await engine.usage();
    assert(held > 4, `${held} bytes held`);
  });

  test("says how many subscribers a channel has", async (engine) => {
    await engine.watch("a");
    await publish(engine, "b", "x");
    // The hub of a server tells every change.
    engine.count?.("a", 7);
    const { channels } = await engine.list("", 10);
    assertEquals(channels.map(({ channel, subscribers }) => [channel, subscribers]), [
      ["a", 7],
      ["b", 0],
    ]);
    assertEquals((await engine.info("a"))?.subscribers, 7);
    await engine.unwatch("a");
    assertEquals(await engine.info("a"), undefined);
  });

  test("starts a channel over when it is reset", async (engine) => {
    const [{ epoch }] = await publish(engine, "a", "x", "y");
    const info = await engine.reset("a");
    assertEquals(await engine.reset("unknown"), undefined);
    const replay = await engine.since("a", { epoch, seq: 1 }, ALL);
    assertEquals([replay.head, replay.messages.length], [0, 0]);
    assertEquals(info?.epoch, replay.epoch);
    assertEquals(info?.history, { messages: 0, bytes: 0, oldest: null });
    assert(replay.epoch > epoch, `${replay.epoch} sorts after ${epoch}`);
    assertMatch(replay.epoch, /^[0-9a-z]{1,32}$/);
    const receipt = await engine.publish("a", "z");
    assertEquals([receipt.seq, receipt.epoch], [1, replay.epoch]);
  });

  test("lists channels by prefix, page by page, each once", async (engine) => {
    const names = oneTo(25).map((n) => `room.${n}`);
    for (const name of names) await publish(engine, name, "x");
    await publish(engine, "other", "x");
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const { channels, next } = await engine.list("room.", 10, after);
      assert(channels.length <= 10);
      seen.push(...channels.map(({ channel }) => channel));
      after = next ?? undefined;
    } while (after !== undefined);
    assertEquals(seen.toSorted(), names.toSorted());
    await assertRejects(() => engine.list("", 10, "x"), RangeError, "Cannot continue the list");
  });

  test("refuses one channel too many and leaves the others as they were", async (engine) => {
    await publish(engine, "a", "x");
    await publish(engine, "b", "x");
    await assertRejects(async () => await engine.publish("c", "x", "id"), EngineFullError);
    assertEquals(await engine.info("c"), undefined);
    assertEquals((await engine.publish("a", "y")).seq, 2);
    await assertUsage(engine, { published: 3 });
    await engine.watch("b");
  }, { maxChannels: 2 });

  test(
    "lets names that are only watched keep no publisher out, nor the other way round",
    async (engine, relayed) => {
      for (const name of ["a", "b"]) await engine.watch(name);
      await assertRejects(async () => await engine.watch("c"), EngineFullError);
      await assertUsage(engine, { onlyWatched: 2 });
      assertEquals((await engine.publish("c", "x")).seq, 1);
      assertEquals((await engine.publish("a", "x")).seq, 1);
      await assertRejects(async () => await engine.publish("b", "x"), EngineFullError);
      await assertRejects(async () => await engine.publish("d", "x"), EngineFullError);
      await until(() => relayed.length > 0);
      assertEquals(relayed.map(({ channel }) => channel), ["a"]);
      // One more that is only watched takes the place of the one that has messages now.
      await engine.watch("e");
      await engine.watch("c");
      await engine.unwatch("b");
      assertEquals(await engine.info("b"), undefined);
      assertEquals((await engine.publish("c", "y")).seq, 2);
    },
    { maxChannels: 2 },
  );

  test(
    "publishes several messages in order, a repeated id among them once",
    async (engine, relayed) => {
      await engine.watch("a");
      const receipts = await engine.publishAll([
        { channel: "a", data: "1" },
        { channel: "b", data: "1", id: "i" },
        { channel: "a", data: "2", id: "i" },
        { channel: "b", data: "2", id: "i" },
      ]);
      const of = receipts.map(({ channel, seq, subscribers }) => [channel, seq, subscribers]);
      assertEquals(of, [["a", 1, 7], ["b", 1, 0], ["a", 2, 7], ["b", 1, 0]]);
      const { messages } = await engine.since("a", { seq: 0 }, ALL);
      assertEquals(messages.map(({ data }) => data), ["1", "2"]);
      await until(() => relayed.length === 2);
      assertEquals(relayed.map(({ data }) => data), ["1", "2"]);
    },
  );

  test("publishes all of a batch or none, however many come in the same turn", async (engine) => {
    await publish(engine, "known", "x");
    const batches = oneTo(4).map((batch) =>
      oneTo(6).map((n) => ({ channel: n === 1 ? "known" : `${batch}.${n}`, data: "x" }))
    );
    const outcomes = await Promise.all(batches.map(async (batch) => {
      try {
        return (await engine.publishAll(batch)).length;
      } catch (error) {
        assert(error instanceof EngineFullError, String(error));
        return 0;
      }
    }));
    assertEquals(outcomes, [6, 6, 0, 0]);
    await assertUsage(engine, { published: 13 });
    assertEquals((await engine.info("known"))?.seq, 3);
    const unknown = [...batches[2], ...batches[3]].slice(1, 6).map(({ channel }) => channel);
    for (const name of unknown) assertEquals(await engine.info(name), undefined);
  }, { maxChannels: 12 });

  test(
    "fails no publish when memory is full, whatever the other channels are like",
    async (engine, relayed) => {
      const data = "x".repeat(60_000);
      for (const name of ["idle", "reset"]) await engine.watch(name);
      for (const name of ["reset", "gone", "left"]) await publish(engine, name, "x");
      for (const name of ["reset", "gone"]) await engine.reset(name);
      for (const seq of oneTo(30)) assertEquals((await engine.publish("b", data)).seq, seq);
      const { head, messages } = await engine.since("b", { seq: 0 }, ALL);
      assertEquals([head, messages.at(-1)?.seq], [30, 30]);
      assert(messages.length < 30 && messages[0].seq === 31 - messages.length, "all but the first");
      assertEquals((await engine.since("left", { seq: 0 }, ALL)).messages, []);
      for (const name of ["idle", "reset"]) assertEquals((await engine.publish(name, "x")).seq, 1);
      await until(() => relayed.length === 3);
    },
    { maxMemory: 1_048_576 },
  );

  test(
    "refuses a batch that would take more than its share of memory, and keeps what is there",
    async (engine) => {
      await publish(engine, "a", "x");
      const batch = oneTo(20).map((n) => ({ channel: `c${n}`, data: "y".repeat(n * 1000) }));
      await assertRejects(async () => await engine.publishAll(batch), BatchTooLargeError);
      await assertUsage(engine, { published: 1 });
      assertEquals((await engine.since("a", { seq: 0 }, ALL)).messages.length, 1);
      assertEquals((await engine.publishAll(batch.slice(0, 5))).length, 5);
    },
    { maxMemory: 100_000 },
  );

  test("keeps names apart that objects trip over", async (engine) => {
    for (const name of ["__proto__", "constructor", "toString", " ", "\u{1f30a}"]) {
      assertEquals((await engine.publish(name, name)).seq, 1, name);
      assertEquals((await engine.since(name, { seq: 0 }, ALL)).messages[0].data, name);
    }
  });
}
