import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../lib/core/message.ts";
import type { Sink } from "../../../lib/core/sink.ts";
import {
  LineSocketSink,
  PlainSocketSink,
  RawSocketSink,
  type SocketSink,
} from "../../../lib/http/transports/socket_sink.ts";
import { sinkSuite, type SinkUnderTest } from "../../support/sink_suite.ts";
import { until } from "../../support/until.ts";

/** A sink on a real socket, and the frames that its client got. */
async function socketSink(
  make: (socket: WebSocket) => SocketSink,
): Promise<SinkUnderTest & { frames: string[]; closed: Promise<CloseEvent> }> {
  const opened = Promise.withResolvers<SocketSink>();
  const serverClosed = Promise.withResolvers<void>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    socket.onopen = () => opened.resolve(make(socket));
    socket.onclose = () => serverClosed.resolve();
    socket.onerror = () => {};
    return response;
  });
  const client = new WebSocket(`ws://127.0.0.1:${server.addr.port}/`);
  const frames: string[] = [];
  client.onmessage = ({ data }) => frames.push(data);
  const closed = new Promise<CloseEvent>((resolve) => client.onclose = resolve);
  const sink = await opened.promise;
  async function leave(): Promise<void> {
    client.close();
    await serverClosed.promise;
  }
  return {
    sink,
    frames,
    closed,
    leave,
    async received() {
      await closed;
      return frames.flatMap((frame) => frame.split("\n")).flatMap((line) => {
        if (line === "") return [];
        const [kind, { data }] = JSON.parse(line);
        return kind === "open" ? [] : [kind === "msg" ? data : kind];
      });
    },
    async [Symbol.asyncDispose]() {
      await leave();
      await server.shutdown();
    },
  };
}

const plain = (socket: WebSocket) => new PlainSocketSink(socket, () => 1234);
const lines = (socket: WebSocket) => new LineSocketSink(socket, () => 1234);

sinkSuite("PlainSocketSink", () => socketSink(plain));
sinkSuite("LineSocketSink", () => socketSink(lines));

Deno.test("SocketSink closes with the code and the words for its reason", async () => {
  const codes = {
    done: [1000, "done"],
    timeout: [1000, "client timeout: reconnect and resume"],
    shutdown: [1001, "shutting down: retry in 1234 ms"],
    slow: [3008, "too slow: reconnect and resume"],
    error: [1011, "internal error"],
  } as const;
  for (const make of [plain, lines]) {
    for (const [reason, expected] of Object.entries(codes)) {
      await using test = await socketSink(make);
      test.sink.close(reason as Parameters<Sink["close"]>[0]);
      const { code, reason: words } = await test.closed;
      assertEquals([code, words], [...expected]);
    }
  }
});

Deno.test("LineSocketSink opens channels and sends its heartbeat as an empty frame", async () => {
  await using test = await socketSink(lines);
  test.sink.open("a", { epoch: "e", seq: 7 });
  test.sink.heartbeat();
  test.sink.close("done");
  await test.closed;
  assertEquals(test.frames, ['["open", {"channel": "a", "cursor": "e-7"}]', ""]);
});

Deno.test("PlainSocketSink counts what each of its frames costs the runtime", async () => {
  await using test = await socketSink(plain);
  const batch = new Batch(Array.from({ length: 64 }, (_, i) => ({
    channel: "c",
    epoch: "e",
    seq: i + 1,
    data: "",
    bytes: 0,
    time: 0,
  })));
  // In one turn nothing leaves.
  for (let i = 0; i < 4; i++) test.sink.write(batch);
  assert(test.sink.exceeds(256 * 1024), "256 frames of 50 bytes count as more than 256 KiB");
  while (test.sink.exceeds(0)) await new Promise((resolve) => setTimeout(resolve, 1));
  // They have left, but the client may not have seen all of them yet.
  await until(() => test.frames.length === 256);
});

Deno.test("RawSocketSink counts what each of its frames costs the runtime, and sends no empty ones", async () => {
  await using test = await socketSink((socket) => new RawSocketSink(socket, () => 1234));
  const messages = (data: string) =>
    new Batch(Array.from({ length: 64 }, (_, i) => ({
      channel: "c",
      epoch: "e",
      seq: i + 1,
      data,
      bytes: 0,
      time: 0,
    })));
  assertEquals(test.sink.write(messages("")), 0);
  assertEquals(test.sink.write(messages("\u00e4")), 64 * (1024 + 2));
  for (let i = 1; i < 4; i++) test.sink.write(messages("\u00e4"));
  assert(test.sink.exceeds(256 * 1024), "256 frames of 2 bytes count as more than 256 KiB");
  while (test.sink.exceeds(0)) await new Promise((resolve) => setTimeout(resolve, 1));
  await until(() => test.frames.length === 256);
  assertEquals(new Set(test.frames), new Set(["\u00e4"]));
});

Deno.test("LineSocketSink counts what each answer and each joined channel costs the runtime", async () => {
  await using test = await socketSink(lines);
  const sink = test.sink as LineSocketSink;
  for (let i = 0; i < 128; i++) assertEquals(sink.send("\u00e4"), 1024 + 2);
  for (let i = 0; i < 128; i++) sink.open(`c${i}`, { epoch: "e", seq: 0 });
  assert(sink.held > 256 * 1024, "256 small frames take more than 256 KiB");
  assert(!sink.exceeds(16 * 1024), "but nobody is cut for being answered in many frames at once");
  while (sink.held > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await until(() => test.frames.length === 256);
});
