/**
 * npm's clients for event streams, each through the same day: it is cut, history is overrun, the
 * server is replaced.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { mintToken } from "../../lib/access/tokens.ts";
import { BACK_MS, ClientStage } from "../support/client_stage.ts";
import { publish } from "../support/http.ts";
import { publishNow } from "../support/river_client.ts";
import { metric, serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";
import type { SseEvent } from "../support/sse_clients/adapter.ts";
import {
  holdClient,
  type Hosts,
  SSE_CLIENTS,
  type SseClient,
  startHosts,
} from "../support/sse_clients.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const TOKEN = await mintToken(SECRET, {
  publish: [],
  subscribe: ["x"],
  operate: false,
  expires: Infinity,
});

/** How many event streams there have been. */
const CAME = 'river_connections_total{transport="sse"}';

/** What a client was told in its day. */
interface Day {
  /** By the first server, and by the one that replaced it. */
  readonly events: readonly SseEvent[];
  /** The epoch of each server. */
  readonly epochs: readonly string[];
}

/** Takes a client through its day. */
async function dayOf(client: SseClient, hosts: Hosts): Promise<Day> {
  await using stage = await ClientStage.start("--history", "5", "--origin", hosts.origin);
  const { server, proxy } = stage;
  // The first stream ends soon, and in order: of one that is cut, a client may lose the last bytes.
  server.reload({ origins: [hosts.origin], clientTimeout: 300 });
  await using held = await holdClient(client, proxy.url, hosts);
  const { events } = held;
  const hears = (data: string) => events.until((all) => all.at(-1)?.data === data, BACK_MS);

  await stage.here();
  await until(async () => await metric(server, CAME) > 1, BACK_MS);
  server.reload({ origins: [hosts.origin], clientTimeout: 0 });
  await stage.cut(() => publish(server, "x", "missed before the first"));
  await stage.here();
  for (const data of ["one", "two", "three"]) await publish(server, "x", data);
  await hears("three");

  await stage.cut(() => publish(server, "x", "missed"));
  await stage.here();
  const { epoch } = await publish(server, "x", "four");
  await hears("four");

  await stage.cut(() => publishNow(server, "x", 6));
  await hears("5");

  await stage.replace((next) => publish(next, "x", "again"));
  await hears("again");
  return { events: events.items, epochs: [epoch, events.items.at(-1)!.id.split("-")[0]] };
}

/** What a client has to be told, with gaps by their reason. */
function expected({ losesBeforeFirst }: SseClient, [first, second]: readonly string[]): SseEvent[] {
  const message = (data: string, id: string) => ({ type: "message", data, id });
  const early = losesBeforeFirst === undefined
    ? [message("missed before the first", `${first}-1`)]
    : [];
  return [
    ...early,
    ...["one", "two", "three", "missed", "four"].map((data, i) =>
      message(data, `${first}-${i + 2}`)
    ),
    { type: "gap", data: "evicted", id: `${first}-7` },
    ...["1", "2", "3", "4", "5"].map((data, i) => message(data, `${first}-${i + 8}`)),
    { type: "gap", data: "restart", id: `${second}-0` },
    message("again", `${second}-1`),
  ];
}

/** Does something with each client, side by side, as most of their time is waiting. */
async function forEachClient(
  t: Deno.TestContext,
  name: string,
  act: (client: SseClient, hosts: Hosts) => Promise<void>,
): Promise<void> {
  await using hosts = await startHosts();
  const acts = SSE_CLIENTS.map((client) => [client, act(client, hosts)] as const);
  const ended = Promise.allSettled(acts.map(([, act]) => act));
  for (const [client, act] of acts) {
    await t.step({
      name: `${client.name}${name}`,
      sanitizeOps: false,
      sanitizeResources: false,
      fn: () => act,
    });
  }
  await ended;
}

Deno.test("npm's clients for event streams miss nothing that river still has", (t) =>
  forEachClient(t, ": cuts, a gap, and another server", async (client, hosts) => {
    const { events, epochs } = await dayOf(client, hosts);
    const told = events.map((event) =>
      event.type === "gap" ? { ...event, data: JSON.parse(event.data).reason } : event
    );
    assertEquals(told, expected(client, epochs));
  }));

Deno.test("npm's clients for event streams get in with a token", (t) =>
  forEachClient(t, " shows its token", async (client, hosts) => {
    const flags = ["--token-secret", SECRET, "--origin", hosts.origin];
    await using server = await serveHere(...flags);
    publishNow(server, "x", 3);
    await using held = await holdClient(client, server.url, hosts, {
      token: TOKEN,
      query: "seq=0",
    });
    const events = await held.events.until((all) => all.length === 3);
    assertEquals(events.map(({ data }) => data), ["0", "1", "2"]);
  }));
