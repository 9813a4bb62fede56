/**
 * npm's clients for WebSockets, plain and `river.v1`, each through the same day: it is cut, history is
 * overrun, the server is replaced.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { BACK_MS, ClientStage } from "../support/client_stage.ts";
import { publish } from "../support/http.ts";
import { Log, publishNow } from "../support/river_client.ts";
import { SOCKET_CLIENTS } from "../support/socket_clients.ts";

/** What a line says. */
interface Fields {
  readonly seq: number;
  readonly data: string;
  readonly epoch: string;
  readonly to: number;
  readonly cursor: string;
  readonly reason: string;
}

/** Takes a client through its day, and gives the messages and the reasons of gaps that it was told. */
async function dayOf(client: string, protocol: string | undefined): Promise<string[]> {
  await using stage = await ClientStage.start("--history", "5");
  const { server, proxy } = stage;
  const heard = new Log<string>();

  // As docs/protocol.md says: a plain socket asks for its position with a seq that is too high.
  let position = protocol === undefined ? "999999999999" : "";
  let epoch = "";
  const told = Promise.withResolvers<void>();
  const tell = (frame: string) => {
    told.resolve();
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
  using stack = new DisposableStack();
  const socket = SOCKET_CLIENTS[client](
    () => position === "" ? base : `${base}&seq=${position}`,
    protocol === undefined ? [] : [protocol],
    tell,
  );
  stack.defer(() => socket.close());
  const hears = (text: string) => heard.until((all) => all.at(-1) === text, BACK_MS);

  await told.promise;
  const text = "sent";
  socket.send(
    protocol === undefined ? text : JSON.stringify(["pub", { channel: "x", data: text }]),
  );
  await hears(text);
  for (const data of ["one", "two"]) await publish(server, "x", data);
  await hears("two");

  await stage.cut(() => publish(server, "x", "missed"));
  await hears("missed");

  await stage.cut(() => publishNow(server, "x", 6));
  await hears("5");

  await stage.replace((next) => publish(next, "x", "again"));
  await hears("again");
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
