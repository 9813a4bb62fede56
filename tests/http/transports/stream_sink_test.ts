import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gap } from "../../../lib/core/gap.ts";
import { Batch, type Format } from "../../../lib/core/message.ts";
import type { CloseReason } from "../../../lib/core/sink.ts";
import { Subscriber } from "../../../lib/core/subscriber.ts";
import {
  jsonp,
  raw,
  river,
  riverV1,
  sse,
  sseOfMany,
} from "../../../lib/http/transports/formats.ts";
import { CutError, StreamSink } from "../../../lib/http/transports/stream_sink.ts";
import { subscriberContext } from "../../support/recording_sink.ts";
import { sinkSuite, type SinkUnderTest } from "../../support/sink_suite.ts";

function streamSink(
  format: Format,
  { once = false, onGone = () => {}, onEnd = (_unsent: number) => {}, channels = ["c"] } = {},
): StreamSink {
  const positions = new Map(channels.map((channel) => [channel, ""]));
  return new StreamSink(format, { once, onGone, onEnd, positions, retryMs: () => 1234 });
}

/** Takes lines apart as a client of the format would. */
const parsers: Record<string, { format: Format; parse: (text: string) => string[] }> = {
  river: { format: river, parse: (text) => text.split("\n").flatMap(riverLine) },
  "river.v1": { format: riverV1, parse: (text) => text.split("\n").flatMap(riverLine) },
  sse: { format: sse, parse: events },
  "sse of many": { format: sseOfMany(new Map([["c", "e-0"], ["d", "e-0"]])), parse: events },
  jsonp: {
    format: jsonp("cb"),
    parse: (text) => {
      const lines: string[] = [];
      new Function("cb", text)((line: unknown) => lines.push(JSON.stringify(line)));
      return lines.flatMap(riverLine);
    },
  },
};

function riverLine(line: string): string[] {
  if (line === "") return [];
  const [kind, { data }] = JSON.parse(line);
  if (kind === "open") return [];
  return [kind === "msg" ? data : kind];
}

function events(text: string): string[] {
  return text.split("\n\n").flatMap((event) => {
    const data = /^data: ([^\n]*)$/m.exec(event)?.[1];
    if (/^event: gap$/m.test(event)) return ["gap"];
    return data === undefined ? [] : [data];
  });
}

for (const [name, { format, parse }] of Object.entries(parsers)) {
  sinkSuite(`StreamSink (${name})`, () => {
    const sink = streamSink(format);
    const reader = sink.body.getReader();
    let text = "";
    const decoder = new TextDecoder();
    const read = (async () => {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += decoder.decode(value, { stream: true });
      }
    })().catch(() => {});
    return Promise.resolve<SinkUnderTest>({
      sink,
      received: () => read.then(() => parse(text)),
      leave: () => reader.cancel(),
      async [Symbol.asyncDispose]() {
        sink.close("gone");
        await read;
      },
    });
  });
}

const message = (data: string) =>
  new Batch([{ channel: "c", epoch: "e", seq: 1, data, bytes: data.length, time: 0 }]);

Deno.test("StreamSink.write() tells whether the format has words for a gap", async () => {
  for (
    const [format, words] of [[river, true], [sse, true], [jsonp("f"), true], [raw, false]] as const
  ) {
    const sink = streamSink(format);
    assertEquals(sink.write(new Gap("c", 1, 0, "e", "restart")) > 0, words);
    assertEquals(sink.started, words);
    assert(sink.write(message("")), "an empty message is one");
    await sink.body.cancel();
  }
});

Deno.test("StreamSink.backlog() counts what nobody reads, to the byte", async () => {
  const sink = streamSink(raw);
  for (let n = 1; n <= 5; n++) sink.write(message("x".repeat(n * 10 - 1)));
  assertEquals(sink.backlog(), 150);
  assertEquals([sink.exceeds(149), sink.exceeds(150)], [true, false]);
  const reader = sink.body.getReader();
  await reader.read();
  await reader.read();
  assertEquals(sink.backlog(), 120);
  sink.write(message("123456789"));
  assertEquals(sink.backlog(), 130);
  while (sink.backlog() > 0) await reader.read();
  sink.write(message("123"));
  assertEquals(sink.backlog(), 4);
  await reader.cancel();
});

Deno.test("StreamSink.exceeds() is right however many small chunks have gone before", async () => {
  const sink = streamSink(raw);
  const reader = sink.body.getReader();
  for (let i = 0; i < 200; i++) {
    sink.write(message("x".repeat(99)));
    assertEquals(sink.exceeds(100), false);
    await reader.read();
  }
  for (let n = 1; n <= 200; n++) {
    sink.write(message("x".repeat(99)));
    assertEquals([sink.exceeds(n * 100 - 1), sink.exceeds(n * 100)], [true, false]);
  }
  await reader.cancel();
});

Deno.test("StreamSink.backlog() stays right over thousands of chunks", async () => {
  const sink = streamSink(raw);
  const reader = sink.body.getReader();
  sink.write(message("xxx"));
  for (let i = 0; i < 5000; i++) {
    sink.write(message("xxx"));
    assertEquals(sink.backlog(), 8);
    await reader.read();
    assertEquals(sink.backlog(), 4);
  }
  await reader.cancel();
});

Deno.test("StreamSink.backlog() is right for chunks of any size, however many have gone before", async () => {
  const sink = streamSink(raw);
  const reader = sink.body.getReader();
  const unsent: number[] = [];
  let written = 0;
  const write = () => {
    const size = 1 + written++ * 37 % 101;
    sink.write(message("x".repeat(size - 1)));
    unsent.push(size);
  };
  for (let i = 0; i < 700; i++) write();
  for (let i = 0; i < 5000; i++) {
    write();
    const { value } = await reader.read();
    assertEquals(value!.length, unsent.shift());
    assertEquals(sink.backlog(), unsent.reduce((sum, size) => sum + size, 0));
  }
  await reader.cancel();
});

Deno.test("StreamSink calls onGone when its client goes away, not when it is closed", async () => {
  let gone = 0;
  const left = streamSink(river, { onGone: () => gone++ });
  await left.body.cancel();
  assertEquals(gone, 1);
  const closed = streamSink(river, { onGone: () => gone++ });
  closed.close("done");
  assertEquals((await closed.body.getReader().read()).done, true);
  assertEquals(gone, 1);
});

Deno.test("StreamSink tells its end once, also when its client leaves after an end that it did not take", async () => {
  const told: string[] = [];
  const sink = streamSink(river, {
    onGone: () => told.push("gone"),
    onEnd: (unsent) => told.push(`end with ${unsent} unsent`),
  });
  sink.write(message("x"));
  const size = sink.backlog();
  sink.close("done");
  await sink.body.cancel();
  assertEquals(told, [`end with ${size} unsent`]);
});

Deno.test("StreamSink.begun() waits for the first bytes, or for the end", async () => {
  const written = streamSink(river);
  let begun = false;
  const first = written.begun().then(() => begun = true);
  await Promise.resolve();
  assert(!begun);
  written.write(message("x"));
  await first;
  assert(written.started);
  const ended = streamSink(river);
  const end = ended.begun();
  ended.close("timeout");
  await end;
  assert(!ended.started);
  await ended.begun();
  await Promise.all([written.body.cancel(), ended.body.cancel()]);
});

Deno.test("StreamSink releases what a slow reader has not taken", async () => {
  const sink = streamSink(river);
  for (let i = 0; i < 10; i++) sink.write(message("x"));
  sink.close("slow");
  assertEquals(sink.backlog(), 0);
  await assertRejects(() => sink.body.getReader().read(), CutError, "slow");
});

Deno.test("StreamSink tells event streams alone when to come back after a shutdown", async () => {
  for (const [format, text] of [[sse, "retry: 1234\n\n"], [river, ""]] as const) {
    const sink = streamSink(format);
    sink.close("shutdown");
    assertEquals(await new Response(sink.body).text(), text);
  }
});

const AT = { epoch: "e", seq: 7 };
const TOLD = "retry: 1234\n:\nid: e-7\n\n";

/** What comes out of a sink that was joined at `AT` and then lived through this. */
function sent(format: Format, action: (sink: StreamSink) => void): Promise<string> {
  const sink = streamSink(format);
  sink.open("c", AT);
  action(sink);
  sink.close("done");
  return new Response(sink.body).text();
}

Deno.test("StreamSink tells an event stream its position at once, and only then", async () => {
  const alive = (sink: StreamSink) => {
    sink.heartbeat();
    sink.close("timeout");
  };
  assertEquals(await sent(sse, alive), TOLD + ":\n\n");
  assertEquals(await sent(sse, (sink) => sink.close("shutdown")), `${TOLD}retry: 1234\n\n`);
});

Deno.test("StreamSink tells no position in formats whose clients do not remember it", async () => {
  for (const format of [river, raw, jsonp("f")]) {
    const text = await sent(format, (sink) => {
      sink.heartbeat();
      sink.close("shutdown");
    });
    assertEquals(text, "\n");
  }
});

Deno.test("StreamSink tells the positions of several channels once all of them are joined", async () => {
  const sink = streamSink(sseOfMany(new Map([["c", ""], ["d", ""]])), { channels: ["c", "d"] });
  assertEquals(sink.cursor, ",");
  sink.open("d", { epoch: "f", seq: 0 });
  assertEquals(sink.cursor, ",f-0");
  // Live already, while another channel is waited for.
  sink.write(new Gap("d", 1, 3, "f", "slow"));
  sink.open("c", AT);
  sink.heartbeat();
  assertEquals(sink.cursor, "e-7,f-0");
  sink.close("done");
  assertEquals(
    (await new Response(sink.body).text()).match(/^(?:id: .*|:)$/gm),
    ["id: ,f-3", ":", "id: e-7,f-3", ":"],
  );
});

Deno.test("StreamSink writes a river.v1 line for each channel that is joined", async () => {
  const sink = streamSink(riverV1, { channels: ["c", "d"] });
  sink.open("d", { epoch: "f", seq: 0 });
  sink.open("c", AT);
  assert(sink.started);
  sink.heartbeat();
  sink.write(message("x"));
  sink.close("shutdown");
  assertEquals(
    await new Response(sink.body).text(),
    '["open", {"channel": "d", "cursor": "f-0"}]\n["open", {"channel": "c", "cursor": "e-7"}]\n' +
      '\n["msg", {"channel": "c", "seq": 1, "data": "x"}]\n',
  );
});

const CROWD = Array.from({ length: 128 }, (_, i) => `c${i}`);

Deno.test("StreamSink of many channels is cut soon after --max-queue, however large the batch", async () => {
  const maxQueue = 100_000;
  const sink = streamSink(sseOfMany(new Map(CROWD.map((name) => [name, "mi9x2k3f-0"]))), {
    channels: CROWD,
  });
  let reason: CloseReason | undefined;
  const subscriber = new Subscriber(
    sink,
    subscriberContext({ maxQueue, onClose: (_subscriber, why) => reason = why }),
  );
  let most = 0;
  const write = sink.write.bind(sink);
  sink.write = (frame) => {
    const sent = write(frame);
    most = Math.max(most, sink.backlog());
    return sent;
  };
  subscriber.write(
    new Batch(Array.from({ length: 50_000 }, (_, i) => ({
      channel: "c0",
      epoch: "mi9x2k3f",
      seq: i + 1,
      data: "",
      bytes: 0,
      time: 0,
    }))),
  );
  assertEquals(reason, "slow");
  assert(most > maxQueue && most < 1.5 * maxQueue, `${most} bytes were unsent`);
  await assertRejects(() => sink.body.getReader().read(), CutError);
});
