/**
 * An engine that cannot do its work for a while: its disk is full, or it is still starting.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { type Engine, EngineUnavailableError } from "../../lib/core/engine.ts";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { metric, serveHere } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";

/** Makes methods of an engine unavailable, at once or later, until the result is disposed of. */
function unavailable(
  engine: Engine,
  methods: (keyof Engine)[],
  late: boolean,
  code?: string,
): Disposable {
  const fail = () => {
    const error = new EngineUnavailableError("The disk is full, and nothing was published", code);
    if (late) return Promise.reject(error);
    throw error;
  };
  for (const method of methods) {
    Object.defineProperty(engine, method, { value: fail, configurable: true });
  }
  return {
    [Symbol.dispose]() {
      for (const method of methods) Reflect.deleteProperty(engine, method);
    },
  };
}

const REQUESTS: [method: keyof Engine, path: string, init?: RequestInit][] = [
  ["publish", "/publish?name=x&data=a"],
  ["publish", "/publish?name=x", { method: "POST", body: "a" }],
  ["publishAll", "/publish?name=x&name=y&data=a"],
  ["watch", "/subscribe?name=x"],
  ["since", "/subscribe?name=x&seq=0&keep=0&format=raw"],
  ["since", "/subscribe?name=x&timeout=60"],
  ["info", "/channels/x"],
  ["list", "/channels"],
  ["reset", "/channels/x", { method: "DELETE" }],
];

for (const late of [false, true]) {
  for (const [method, path, init] of REQUESTS) {
    const when = late ? "later" : "at once";
    Deno.test(`${init?.method ?? "GET"} ${path} gets 503 with Retry-After when ${method}() is unavailable ${when}`, async () => {
      await using server = await serveHere();
      await publish(server, "x", "a");
      {
        using _away = unavailable(server.engine, [method], late);
        const answer = await ask(server.url + path, init);
        assertEquals([answer.status, errorCode(answer)], [503, "engine_unavailable"]);
        assertMatch(answer.headers.get("retry-after") ?? "", /^[12]$/);
      }
      assertEquals([server.errors, server.hub.size], [[], 0]);
      assertEquals((await publish(server, "x", "b")).seq, 2);
    });
  }

  Deno.test(`subscribers stay, sockets are told, and an EventSource comes back (${late ? "later" : "at once"})`, async () => {
    await using server = await serveHere();
    await using stream = await subscribe(server, "name=x");
    await using lines = await openSocket(server, "name=x", "river.v1");
    await lines.line();
    const plain = await openPlain(server, "x");
    const joining = await openSocket(server, "", "river.v1");
    {
      using _away = unavailable(server.engine, ["publish", "watch"], late, "storage_full");
      lines.send('["pub", {"channel": "x", "data": "a", "id": "1"}]');
      assertEquals(JSON.parse(await lines.line())[1].code, "storage_full");
      // A client takes an error line for the end of its subscription, so it must come back instead.
      joining.send('["sub", {"channel": "y"}]');
      assertEquals((await joining.closed).code, 1013);
      plain.send("a");
      assertEquals(await plain.closed.then(({ code, reason }) => [code, reason]), [
        1013,
        "storage_full: try again later",
      ]);
      const fresh = await openSocket(server, "name=z");
      assertEquals((await fresh.closed).code, 1013);
      const headers = { accept: "text/event-stream" };
      const { status, text } = await ask(`${server.url}/subscribe?name=z`, { headers });
      assertEquals(status, 200);
      assertMatch(text, /^retry: [0-9]+\n\n$/);
    }
    assertEquals(await metric(server, 'river_refusals_total{status="503",code="storage_full"}'), 4);
    await publish(server, "x", "alive");
    assertEquals([await stream.next(), await lines.line()], Array(2).fill(msg("x", 1, "alive")));
    assertEquals(server.errors, []);
  });
}
