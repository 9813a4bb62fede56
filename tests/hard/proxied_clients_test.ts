import { assertEquals } from "@std/assert";
import { ask, publish } from "../support/http.ts";
import { freePort, startHaproxy, startNginx } from "../support/reverse_proxy.ts";
import { spawnServer, subscriberCount } from "../support/server.ts";
import { holdClient, SSE_CLIENTS, startHosts } from "../support/sse_clients.ts";
import { until } from "../support/until.ts";

/** How long river is away, in milliseconds. */
const AWAY_MS = 2000;
/** The longest wait for all clients to come back, in milliseconds. */
const BACK_MS = 30_000;

for (const [name, start] of Object.entries({ nginx: startNginx, HAProxy: startHaproxy })) {
  Deno.test({
    name:
      `npm's clients for event streams come back through ${name} after a restart of two seconds`,
    // The browser and its pipes outlive the test.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      await using hosts = await startHosts();
      const port = freePort();
      const flags = ["--origin", hosts.origin];
      let server = await spawnServer(flags, { port });
      await using proxy = await start(server);
      await using stack = new AsyncDisposableStack();
      const clients = await Promise.all(SSE_CLIENTS.map(async (client) => ({
        name: client.name,
        events: stack.use(await holdClient(client, proxy.url, hosts)).events,
      })));
      const all = (count: number) =>
        until(async () => await subscriberCount(server) === count, BACK_MS);
      try {
        await all(clients.length);
        await publish(proxy, "x", "before");
        await Promise.all(clients.map(({ events }) => events.until((all) => all.length === 1)));
        // Not a clean end: nothing tells them when to come back.
        await server.end("SIGKILL");
        await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
        const events = { headers: { accept: "text/event-stream" } };
        assertEquals((await ask(`${proxy.url}/subscribe?name=x`, events)).text, "retry: 2000\n\n");
        server = await spawnServer(flags, { port });
        // The steps say which of them is missing.
        await all(clients.length).catch(() => {});
        await publish(server, "x", "back");
        for (const { name, events } of clients) {
          await t.step(name, async () => {
            await events.until((all) => all.at(-1)?.data === "back");
          });
        }
      } finally {
        await server.end("SIGKILL");
      }
    },
  });
}
