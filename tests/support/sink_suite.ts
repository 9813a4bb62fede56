/**
 * What every sink must do, whatever it writes to: the rules of `Sink`, one test each.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Gap } from "../../lib/core/gap.ts";
import { Batch, type Message } from "../../lib/core/message.ts";
import { CLOSE_REASONS, type Sink } from "../../lib/core/sink.ts";

/** A sink with a client at its other end. */
export interface SinkUnderTest extends AsyncDisposable {
  readonly sink: Sink;
  /** What the client got, once the sink was closed: the data of messages, `gap`, nothing else. */
  received(): Promise<string[]>;
  /** The client goes away; resolves when the sink can know. */
  leave(): Promise<void>;
}

const batch = (...data: string[]) =>
  new Batch(data.map((data, i): Message => ({
    channel: "c",
    epoch: "e",
    seq: i + 1,
    data,
    bytes: data.length,
    time: 0,
  })));

/** Registers the suite for one kind of sink. */
export function sinkSuite(name: string, make: () => Promise<SinkUnderTest>): void {
  Deno.test(`${name} sends frames whole and in order`, async () => {
    await using test = await make();
    const { sink } = test;
    sink.open("c", { epoch: "e", seq: 0 });
    sink.write(new Gap("c", 1, 0, "e", "restart"));
    sink.write(batch("a", "b"));
    sink.write(batch("x".repeat(100_000)));
    sink.write(batch("é\u2028"));
    sink.close("done");
    const received = await test.received();
    assertEquals(received.map((data) => data.length), [3, 1, 1, 100_000, 2]);
    assertEquals(received.with(3, ""), ["gap", "a", "b", "", "é\u2028"]);
  });

  Deno.test(`${name} tells how much there was to send in messages`, async () => {
    await using test = await make();
    const { sink } = test;
    sink.open("c", { epoch: "e", seq: 0 });
    const [one, three] = [sink.write(batch("a")), sink.write(batch("b", "", "c"))];
    assert(one > 0 && three > one, `${one}, then ${three}`);
    sink.close("done");
    assertEquals(await test.received(), ["a", "b", "", "c"]);
  });

  Deno.test(`${name} sends heartbeats that are not messages`, async () => {
    await using test = await make();
    const { sink } = test;
    sink.open("c", { epoch: "e", seq: 0 });
    sink.heartbeat();
    sink.write(batch("a"));
    sink.heartbeat();
    sink.close("done");
    assertEquals(await test.received(), ["a"]);
  });

  Deno.test(`${name} is closed once, for whatever reason, and takes calls afterwards`, async () => {
    for (const reason of CLOSE_REASONS) {
      await using test = await make();
      const { sink } = test;
      sink.open("c", { epoch: "e", seq: 0 });
      sink.close(reason);
      for (const again of CLOSE_REASONS) sink.close(again);
      sink.open("d", { epoch: "e", seq: 0 });
      sink.write(batch("late"));
      sink.heartbeat();
      assert(!sink.exceeds(0), reason);
      assertEquals(await test.received(), [], reason);
    }
  });

  Deno.test(`${name} has nothing unsent once its client has taken everything`, async () => {
    await using test = await make();
    const { sink } = test;
    sink.open("c", { epoch: "e", seq: 0 });
    for (let i = 0; i < 100; i++) {
      sink.write(batch("x".repeat(1000)));
      // A frame of a socket costs more than its text.
      assert(!sink.exceeds(300_000));
    }
    while (sink.exceeds(0)) await new Promise((resolve) => setTimeout(resolve, 1));
    sink.close("done");
    assertEquals((await test.received()).length, 100);
  });

  Deno.test(`${name} takes calls when its client has gone`, async () => {
    await using test = await make();
    const { sink } = test;
    sink.open("c", { epoch: "e", seq: 0 });
    await test.leave();
    for (let i = 0; i < 10; i++) {
      sink.write(batch("x"));
      sink.heartbeat();
      assert(!sink.exceeds(100_000));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    sink.close("gone");
  });
}
