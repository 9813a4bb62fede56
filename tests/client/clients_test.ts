import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { EventSource } from "eventsource";
import { WebSocket as NpmWebSocket } from "ws";
import { curl } from "../support/curl.ts";
import { msg, publish, subscribe } from "../support/http.ts";
import { CuttingProxy } from "../support/proxies.ts";
import { serveHere } from "../support/server.ts";
import { type SocketLike, SocketReader } from "../support/sockets.ts";
import { until } from "../support/until.ts";

/** What of the package `ws`, which carries no types, is used here. */
interface NpmSocket extends SocketLike {
  once(event: "ping", listener: () => void): void;
}

const NpmSocket: new (url: string, protocols?: string[]) => NpmSocket = NpmWebSocket;

interface Event {
  readonly type: string;
  readonly data: string;
  readonly id: string;
}

/** An EventSource that keeps its events, and the position it asked for each time it connected. */
class Listener implements Disposable {
  readonly events: Event[] = [];
  readonly asked: (string | null)[] = [];
  /** Resolves with the first bytes. */
  readonly told = Promise.withResolvers<void>();
  readonly #source: EventSource;

  constructor(url: string) {
    this.#source = new EventSource(url, {
      fetch: async (url, init) => {
        this.asked.push(new Headers(init.headers).get("last-event-id"));
        const response = await fetch(url, init);
        const told = new TransformStream<Uint8Array, Uint8Array>({
          transform: (chunk, controller) => {
            controller.enqueue(chunk);
            this.told.resolve();
          },
        });
        return new Response(response.body!.pipeThrough(told), response);
      },
    });
    for (const type of ["message", "gap"]) {
      this.#source.addEventListener(type, ({ data, lastEventId: id }: MessageEvent) => {
        this.events.push({ type, data, id });
      });
    }
  }

  /** What was said, without the positions. */
  get data(): string[] {
    return this.events.map(({ data }) => data);
  }

  [Symbol.dispose]() {
    this.#source.close();
  }
}

function numbered(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => `m${first + i}`);
}

Deno.test("EventSource that is cut before its first event misses nothing", async () => {
  await using server = await serveHere();
  await using proxy = new CuttingProxy(server);
  const { epoch } = await publish(server, "x", "before");
  using listener = new Listener(`${proxy.url}/subscribe?name=x&name=y`);
  await listener.told.promise;
  proxy.cut();
  await until(() => server.hub.subscribers("x") === 0);
  await publish(server, "x", "missed");
  await publish(server, "y", "missed too");
  await until(() => listener.events.length >= 2, 10_000);
  assertEquals(listener.data, ["missed", "missed too"]);
  assertEquals(listener.asked, [null, `${epoch}-1,${epoch}-0`]);
});

Deno.test("EventSource reconnects after a cut with its position, and misses nothing", async () => {
  await using server = await serveHere();
  await using proxy = new CuttingProxy(server);
  using listener = new Listener(`${proxy.url}/subscribe?name=x`);
  await until(() => server.hub.subscribers("x") === 1);
  let epoch = "";
  for (const data of numbered(1, 5)) ({ epoch } = await publish(server, "x", data));
  await until(() => listener.events.length === 5);
  proxy.cut();
  await until(() => server.hub.subscribers("x") === 0);
  for (const data of numbered(6, 10)) {
    assertEquals((await publish(server, "x", data)).subscribers, 0);
  }
  await until(() => server.hub.subscribers("x") === 1, 10_000);
  for (const data of numbered(11, 15)) await publish(server, "x", data);
  await until(() => listener.events.length >= 15);
  assertEquals(listener.data, numbered(1, 15));
  assertEquals(
    listener.events.map(({ id }) => id),
    numbered(1, 15).map((m) => `${epoch}-${m.slice(1)}`),
  );
  assertEquals(listener.asked, [null, `${epoch}-5`]);
});

Deno.test("EventSource of two channels resumes both, and is told what was lost", async () => {
  await using server = await serveHere("--history", "2");
  await using proxy = new CuttingProxy(server);
  using listener = new Listener(`${proxy.url}/subscribe?name=a&name=b`);
  await until(() => server.hub.subscribers("b") === 1);
  const { epoch } = await publish(server, "a", "a1");
  await publish(server, "b", "b1");
  await until(() => listener.events.length === 2);
  proxy.cut();
  await until(() => server.hub.size === 0);
  for (const data of ["a2", "a3", "a4"]) await publish(server, "a", data);
  await publish(server, "b", "b2");
  await until(() => listener.events.length >= 6, 10_000);
  const gap = `{"channel": "a", "from": 2, "to": 2, "epoch": "${epoch}", "reason": "evicted"}`;
  assertEquals(listener.data, ["a1", "b1", gap, "a3", "a4", "b2"]);
  assertEquals(listener.events[2], { type: "gap", data: gap, id: `${epoch}-2,${epoch}-1` });
  assertEquals(listener.events[5].id, `${epoch}-4,${epoch}-2`);
  assertEquals(listener.asked, [null, `${epoch}-1,${epoch}-1`]);
});

Deno.test("EventSource that was cut before its first message misses nothing", async () => {
  await using server = await serveHere("--heartbeat", "100ms");
  const { epoch } = await publish(server, "x", "before");
  await using proxy = new CuttingProxy(server);
  using listener = new Listener(`${proxy.url}/subscribe?name=x`);
  await until(() => server.hub.subscribers("x") === 1);
  // A heartbeat, which carries the position.
  await new Promise((resolve) => setTimeout(resolve, 500));
  proxy.cut();
  await until(() => server.hub.subscribers("x") === 0);
  await publish(server, "x", "between");
  await until(() => listener.events.length > 0, 10_000);
  await publish(server, "x", "after");
  await until(() => listener.events.length > 1);
  assertEquals(listener.data, ["between", "after"]);
  assertEquals(listener.asked, [null, `${epoch}-1`]);
});

Deno.test("EventSource whose subscription ended before its first message misses nothing", async () => {
  await using server = await serveHere("--client-timeout", "300ms");
  using listener = new Listener(`${server.url}/subscribe?name=a&name=b`);
  await until(() => server.hub.subscribers("b") === 1);
  await until(() => server.hub.size === 0);
  const { epoch } = await publish(server, "a", "a1");
  await publish(server, "b", "b1");
  await until(() => listener.events.length === 2, 10_000);
  assertEquals(listener.data, ["a1", "b1"]);
  assertMatch(listener.asked[1] ?? "", new RegExp(`^${epoch}-0,[0-9a-z]+-0$`));
});

Deno.test("ws, plain: what one socket sends every subscriber gets", async () => {
  await using server = await serveHere();
  const url = `${server.url.replace("http", "ws")}/websocket?name=x&seq=0`;
  await using one = await SocketReader.open(new NpmSocket(url));
  await using two = await SocketReader.open(new NpmSocket(url));
  await using lines = await subscribe(server, "name=x&seq=0");
  one.send("from a socket");
  await until(() => server.engine.usage().messages === 1);
  await publish(server, "x", "from HTTP");
  const expected = [msg("x", 1, "from a socket"), msg("x", 2, "from HTTP")];
  for (const socket of [one, two]) {
    assertEquals([await socket.frame(), await socket.frame()], expected);
  }
  assertEquals(await lines.take(2), expected);
});

Deno.test("ws, river.v1: one socket carries many channels", async () => {
  await using server = await serveHere();
  const url = `${server.url.replace("http", "ws")}/websocket`;
  await using socket = await SocketReader.open(new NpmSocket(url, ["other", "river.v1"]));
  assertEquals(socket.socket.protocol, "river.v1");
  socket.send('["sub", {"channel": "a"}]', '["sub", {"channel": "b", "seq": 0}]');
  for (const channel of ["a", "b"]) {
    assertStringIncludes(await socket.line(), `["open", {"channel": "${channel}", `);
  }
  socket.send(
    '["pub", {"channel": "a", "data": "1", "id": "i"}]',
    "nonsense",
    '["pub", {"channel": "b", "data": "2"}]',
  );
  const lines = await socket.take(4);
  assertEquals(lines[0], '["ack", {"id": "i", "channel": "a", "seq": 1}]');
  assertStringIncludes(lines[1], '["error", {"code": "bad_command", ');
  assertEquals(lines.slice(2), [msg("a", 1, "1"), msg("b", 1, "2")]);
});

Deno.test("ws: a subprotocol that is not spoken here gives a plain socket without one", async () => {
  await using server = await serveHere();
  const url = `${server.url.replace("http", "ws")}/websocket?name=x&seq=0`;
  const answer = await SocketReader.open(new NpmSocket(url, ["other"])).then(
    () => "open",
    (error: Error) => error.message,
  );
  assertEquals(answer, "Server sent no subprotocol");
});

Deno.test("ws, plain: a silent socket is pinged", async () => {
  await using server = await serveHere("--heartbeat", "1s");
  const npm = new NpmSocket(`${server.url.replace("http", "ws")}/websocket?name=x`);
  const pinged = new Promise<void>((resolve) => npm.once("ping", resolve));
  await using socket = await SocketReader.open(npm);
  await pinged;
  socket.send("still here");
  assertEquals(await socket.frame(), msg("x", 1, "still here"));
});

Deno.test("curl long-polls with the position of the answer before", async () => {
  await using server = await serveHere();
  const { epoch } = await publish(server, "x", "m1");
  const poll = (seq: number) =>
    curl("-d", `name=x&keep=0&seq=${epoch}-${seq}`, `${server.url}/subscribe`);
  await using first = poll(0);
  assertEquals(await first.output(), msg("x", 1, "m1") + "\n");
  await using waiting = poll(1);
  await until(() => server.hub.subscribers("x") === 1);
  await publish(server, "x", "m2");
  assertEquals(await waiting.output(), msg("x", 2, "m2") + "\n");
});
