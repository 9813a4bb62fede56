/**
 * Something of ours breaks. The client that asked gets 500 or is closed. Everybody else is served.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Engine } from "../../lib/core/engine.ts";
import {
  LineSocketSink,
  PlainSocketSink,
  SocketSink,
} from "../../lib/http/transports/socket_sink.ts";
import { StreamSink } from "../../lib/http/transports/stream_sink.ts";
import { ask, errorCode, LineReader, msg, publish, subscribe } from "../support/http.ts";
import { RawConnection, requestHead } from "../support/raw.ts";
import { MAIN, RUN, serveHere, spawnServer } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const BROKEN = new Error("broken on purpose");

const CALLS: [method: keyof Engine, request: string, init?: RequestInit][] = [
  ["publish", "/publish?name=x&data=a"],
  ["publish", "/publish", { method: "POST", body: new URLSearchParams({ name: "x", data: "a" }) }],
  ["publishAll", "/publish?name=x&name=y&data=a"],
  ["since", "/subscribe?name=x"],
  ["since", "/subscribe?name=x&seq=0"],
  ["since", "/subscribe?name=x&keep=0"],
  ["since", "/subscribe?name=x&timeout=60"],
  ["watch", "/subscribe?name=x"],
  ["watch", "/subscribe?name=y&name=x&format=sse"],
  ["info", "/channels/x"],
  ["list", "/channels"],
  ["reset", "/channels/x", { method: "DELETE" }],
  ["usage", "/metrics"],
];

for (const late of [false, true]) {
  for (const [method, request, init] of CALLS) {
    if (late && method === "usage") continue;
    const when = late ? "later" : "at once";
    Deno.test(`${init?.method ?? "GET"} ${request} gets 500 when the engine's ${method}() fails ${when}`, async () => {
      await using server = await serveHere();
      const fail = late ? () => Promise.reject(BROKEN) : () => {
        throw BROKEN;
      };
      Object.defineProperty(server.engine, method, { value: fail, configurable: true });
      const answer = await ask(server.url + request, init);
      assertEquals([answer.status, errorCode(answer)], [500, "internal_error"]);
      assert(!answer.text.includes(BROKEN.message), "it tells strangers what broke");
      Reflect.deleteProperty(server.engine, method);
      assertEquals([server.errors, server.hub.size], [[BROKEN], 0]);
      await using lines = await subscribe(server, "name=x");
      const { seq } = await publish(server, "x", "alive");
      assertEquals(await lines.next(), msg("x", seq, "alive"));
    });
  }
}

Deno.test("a socket whose engine fails is told or closed, and the others go on", async () => {
  await using server = await serveHere();
  await using stream = await subscribe(server, "name=x");
  const plain = await openPlain(server, "x");
  await using lines = await openSocket(server, "name=x", "river.v1");
  await lines.line();
  Object.defineProperty(server.engine, "publish", {
    value: () => Promise.reject(BROKEN),
    configurable: true,
  });
  plain.send("a");
  assertEquals((await plain.closed).code, 1011);
  lines.send('["pub", {"channel": "x", "data": "a", "id": "1"}]');
  assertEquals(JSON.parse(await lines.line())[1].code, "internal_error");
  Reflect.deleteProperty(server.engine, "publish");
  await publish(server, "x", "alive");
  assertEquals([await stream.next(), await lines.line()], Array(2).fill(msg("x", 1, "alive")));
  assertEquals(server.errors, [BROKEN, BROKEN]);
});

/** Makes a method throw the next time it is called; resolves then. */
function breakOnce(prototype: object, method: string): Promise<void> {
  const whole = Object.getOwnPropertyDescriptor(prototype, method)!;
  return new Promise((resolve) =>
    Object.defineProperty(prototype, method, {
      configurable: true,
      value() {
        Object.defineProperty(prototype, method, whole);
        resolve();
        throw BROKEN;
      },
    })
  );
}

const SINKS: [what: string, sink: { prototype: { write: unknown } }][] = [
  ["a stream", StreamSink],
  ["a river.v1 socket", LineSocketSink],
  ["a plain socket", PlainSocketSink],
];

for (const [what, sink] of SINKS) {
  Deno.test(`${what} whose sink throws is closed, and the others get everything`, async () => {
    await using server = await serveHere();
    const stream = await subscribe(server, "name=x");
    const lines = await openSocket(server, "name=x", "river.v1");
    await lines.line();
    const plain = await openPlain(server, "x");
    const readers = [
      {
        sink: StreamSink,
        next: () => stream.next(),
        end: stream[Symbol.asyncDispose].bind(stream),
      },
      {
        sink: LineSocketSink,
        next: () => lines.line(),
        end: lines[Symbol.asyncDispose].bind(lines),
      },
      {
        sink: PlainSocketSink,
        next: () => plain.frame(),
        end: plain[Symbol.asyncDispose].bind(plain),
      },
    ];
    void breakOnce(sink.prototype, "write");
    for (const data of ["a", "b"]) await publish(server, "x", data);
    for (const { sink: each, next } of readers) {
      if (each === sink) await assertRejects(next);
      else assertEquals([await next(), await next()], [msg("x", 1, "a"), msg("x", 2, "b")]);
    }
    assertEquals([server.errors, server.hub.size], [[BROKEN], 2]);
    for (const { sink: each, end } of readers) {
      if (each !== sink || each !== StreamSink) await end();
    }
    await until(() => server.hub.size === 0);
  });
}

Deno.test("a stream whose sink throws while its history waits is closed, and the others go on", async () => {
  await using server = await serveHere("--history", "1000", "--max-queue", "64KiB");
  for (let i = 0; i < 200; i++) await publish(server, "x", "a".repeat(60_000));
  using slow = await RawConnection.open(server);
  await slow.write(requestHead("GET /subscribe?name=x&seq=0 HTTP/1.1"));
  await slow.until("\r\n\r\n");
  await breakOnce(StreamSink.prototype, "exceeds");
  assertEquals([server.errors, server.hub.size], [[BROKEN], 0]);
  await using reader = await subscribe(server, "name=y");
  await publish(server, "y", "alive");
  assertEquals(await reader.next(), msg("y", 1, "alive"));
});

Deno.test("a socket at which something throws is closed with 1011, and the others go on", async () => {
  await using server = await serveHere();
  await using other = await openSocket(server, "name=x", "river.v1");
  const lines = await openSocket(server, "name=x", "river.v1");
  await Promise.all([other.line(), lines.line()]);
  void breakOnce(SocketSink.prototype, "send");
  lines.send("nonsense");
  assertEquals((await lines.closed).code, 1011);
  assertEquals([server.errors, server.hub.size], [[BROKEN], 1]);
  await publish(server, "x", "alive");
  assertEquals(await other.line(), msg("x", 1, "alive"));
});

const LOST: [what: string, statement: string][] = [
  ["a rejection that nobody awaits", 'void Promise.reject(new Error("lost"));'],
  ["an error in a timer", 'setTimeout(() => { throw new Error("lost"); });'],
];

for (const [what, statement] of LOST) {
  Deno.test(`${what} is logged, and the process lives`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      // The program as it is, in a process where something else goes wrong at a signal.
      const project = new URL("../../", import.meta.url).href;
      await Deno.writeTextFile(
        file,
        `import { runProgram } from "${project}lib/cli/program.ts";
        import { COMMANDS } from "${project}main.ts";
        Deno.addSignalListener("SIGUSR2", () => { ${statement} });
        await runProgram(COMMANDS, "0.0.0");`,
      );
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const run = ["run", "-A", "--no-check", "--config", config];
      await using server = await spawnServer([], { main: file, run });
      server.process.kill("SIGUSR2");
      assertEquals((await publish(server, "x", "alive")).seq, 1);
      assertEquals((await server.end()).code, 0);
      const log = await server.stderr();
      assert(/ error internal error [^\n]*lost/.test(log), log);
    } finally {
      await Deno.remove(file);
    }
  });
}

Deno.test("a log that cannot be written changes nothing: SIGTERM ends streams cleanly", async () => {
  const shell = ["-c", 'exec "$@" 2>/dev/full', "river", Deno.execPath(), ...RUN, MAIN, "--port=0"];
  const command = new Deno.Command("bash", { args: shell, stdout: "piped" });
  const process = command.spawn();
  await using output = new LineReader(new Response(process.stdout));
  const url = /http:\S+(?=\/)/.exec((await output.next())!)![0];
  await using reader = await subscribe({ url }, "name=x");
  await publish({ url }, "x", "last");
  process.kill("SIGTERM");
  assertEquals(await reader.rest(), `${msg("x", 1, "last")}\n`);
  assertEquals((await process.status).code, 0);
});
