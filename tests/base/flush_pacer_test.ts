import { assertEquals } from "@std/assert";
import { Pacer } from "../../lib/base/flush_pacer.ts";

/** A pacer whose time stands still, and what it waits for. */
function makePacer() {
  let time = 1000;
  const waits: { ms: number; run: () => void }[] = [];
  const pacer = new Pacer({
    now: () => time,
    wait: (run, ms) => void waits.push({ run, ms }),
  });
  return {
    pacer,
    waits,
    pass: (ms: number) => void (time += ms),
    /** Flushes something that takes `ms`; resolves when it is written. */
    async flush(messages: number, ms: number) {
      await new Promise<void>((resolve) =>
        pacer.schedule(() => {
          time += ms;
          resolve();
          return messages;
        })
      );
      await turn();
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

Deno.test("pacer: what is pending leaves after what is ready", async () => {
  const { pacer, waits } = makePacer();
  const done: string[] = [];
  pacer.schedule(() => done.push("flush"));
  await Promise.resolve().then(() => done.push("ready"));
  await turn();
  assertEquals(done, ["ready", "flush"]);
  assertEquals(waits, []);
});

for (
  const [what, messages, ms, pause] of [
    ["many messages for a long time", 10, 6, 3],
    ["just enough of both", 4, 4, 2],
    ["many messages for a very long time", 10, 100, 4],
    ["many messages for a short time", 10, 3.9, undefined],
    ["few messages for a long time", 3.9, 100, undefined],
  ] as const
) {
  Deno.test(`pacer: after ${what}, the next flush waits ${pause ?? 0} ms`, async () => {
    const { flush, pacer, waits } = makePacer();
    await flush(messages, ms);
    const next = Promise.withResolvers<void>();
    pacer.schedule(() => {
      next.resolve();
      return 0;
    });
    assertEquals(waits.map(({ ms }) => ms), pause === undefined ? [] : [pause]);
    waits[0]?.run();
    await next.promise;
  });
}

Deno.test("pacer: a publisher that comes after the pause does not wait", async () => {
  const { flush, pass, waits } = makePacer();
  await flush(10, 6);
  pass(3);
  await flush(1, 0);
  assertEquals(waits, []);
});

Deno.test("pacer: a publisher that comes near the end of the pause waits for the rest of it", async () => {
  const { flush, pacer, pass, waits } = makePacer();
  await flush(10, 6);
  pass(2.5);
  const next = Promise.withResolvers<void>();
  pacer.schedule(() => {
    next.resolve();
    return 0;
  });
  assertEquals(waits.map(({ ms }) => ms), [0.5]);
  waits[0].run();
  await next.promise;
});

Deno.test("pacer: what comes while a long flush is written waits for its end and the pause", async () => {
  const { pacer, pass, waits } = makePacer();
  const done: string[] = [];
  pacer.schedule(() => {
    done.push("first");
    queueMicrotask(() => pacer.schedule(() => done.push("second")));
    pass(8);
    return 10;
  });
  await turn();
  await turn();
  assertEquals(done, ["first"]);
  assertEquals(waits.map(({ ms }) => ms), [4]);
  waits[0].run();
  await turn();
  assertEquals(done, ["first", "second"]);
});

Deno.test("pacer: a flush that schedules the next one is followed by it in the next turn, however long it took", async () => {
  const { pacer, pass, waits } = makePacer();
  const done: string[] = [];
  pacer.schedule(() => {
    pacer.schedule(() => done.push("second"));
    done.push("first");
    pass(8);
    return 10;
  });
  await turn();
  assertEquals(done, ["first"]);
  await turn();
  assertEquals([done, waits], [["first", "second"], []]);
});
