/**
 * npm's clients for WebSockets, plain and `river.v1`, each through the same day: it is cut, history is
 * overrun, the server is replaced.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { publish } from "../support/http.ts";
import { CuttingProxy } from "../support/proxies.ts";
import { Log, publishNow } from "../support/river_client.ts";
import { serveHere } from "../support/server.ts";
import { SOCKET_CLIENTS } from "../support/socket_clients.ts";
import { until } from "../support/until.ts";

/** What a line says. */
interface Fields {
  readonly seq: number;
  readonly data: string;
  readonly epoch: string;
  readonly to: number;
  readonly cursor: string;
  readonly reason: string;
}

/** The longest wait for a client to come back, in milliseconds. */
const BACK_MS = 30_000;

/** Takes a client through its day, and gives the messages and the reasons of gaps that it was told. */
async function dayOf(client: string, protocol: string | undefined): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await serveHere("--history", "5"));
  const proxy = stack.use(new CuttingProxy(server));
  const heard = new Log<string>();

  // As docs/protocol.md says: a plain socket asks for its position with a seq that is too high.
  let position = protocol === undefined ? "999999999999" : "";
  let epoch = "";
  const tell = (frame: string) => {
    for (const line of frame.split("\n").filter((line) => line !== "")) {
      const [kind, fields]: [string, Fields] = JSON.parse(line);
      if (kind === "open") position = fields.cursor;
      if (kind === "gap") position = `${fields.epoch}-${fields.to}`;
      if (kind === "msg") position = `${epoch}-${fields.seq}`;
      epoch = position.split("-")[0];
      if (kind === "msg" || kind === "gap") heard.push(fields.data ?? fields.reason);
    }
  };
  const base = `${proxy.url.replace("http", "ws")}/websocket?name=x`;
  const socket = SOCKET_CLIENTS[client](
    () => position === "" ? base : `${base}&seq=${position}`,
    protocol === undefined ? [] : [protocol],
    tell,
  );
  stack.defer(() => socket.close());
  const joined = (count: number) => until(() => server.hub.subscribers("x") === count, BACK_MS);
  const hears = (text: string) => heard.until((all) => all.at(-1) === text, BACK_MS);
  /** What `act` does happens while the client is away. */
  const away = async (act: () => unknown) => {
    await joined(1);
    proxy.refusing = true;
    proxy.cut();
    await joined(0);
    await act();
    proxy.refusing = false;
  };

  await joined(1);
  if (protocol === undefined) await hears("ahead");
  const text = "sent";
  socket.send(
    protocol === undefined ? text : JSON.stringify(["pub", { channel: "x", data: text }]),
  );
  await hears(text);
  for (const data of ["one", "two"]) await publish(server, "x", data);
  await hears("two");

  await away(() => publish(server, "x", "missed"));
  await hears("missed");

  await away(() => publishNow(server, "x", 6));
  await hears("5");

  await joined(1);
  const { refused } = proxy;
  proxy.refusing = true;
  await server.drain();
  await until(() => proxy.refused > refused, BACK_MS);
  const next = stack.use(await serveHere());
  await publish(next, "x", "again");
  proxy.repoint(next);
  proxy.refusing = false;
  await hears("again");
  assertEquals(server.errors.concat(next.errors), []);
  return heard.items;
}

Deno.test({
  name: "npm's clients for WebSockets miss nothing that river still has",
  // Some of their timers run on for seconds after they are closed.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: forEachClient,
});

async function forEachClient(t: Deno.TestContext): Promise<void> {
  const days = Object.keys(SOCKET_CLIENTS).flatMap((client) =>
    [undefined, "river.v1"].map((protocol) => [client, protocol, dayOf(client, protocol)] as const)
  );
  const ended = Promise.allSettled(days.map(([, , day]) => day));
  for (const [client, protocol, day] of days) {
    await t.step({
      name: `${client}, ${protocol ?? "plain"}: a message sent, cuts, a gap, and another server`,
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        assertEquals(await day, [
          ...protocol === undefined ? ["ahead"] : [],
          ...["sent", "one", "two", "missed"],
          ...["evicted", "1", "2", "3", "4", "5"],
          ...["restart", "again"],
        ]);
      },
    });
  }
  await ended;
}
