/**
 * The clients of tests/README.md behind each proxy of docs/operate.md. What wraps a browser's
 * EventSource or WebSocket (htmx, Turbo) is left out.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ask, LineReader, publish } from "../support/http.ts";
import { PYTHON } from "../support/python/python.ts";
import { startHaproxy, startNginx } from "../support/reverse_proxy.ts";
import { Log, TestClient, TRANSPORTS } from "../support/river_client.ts";
import { freePort, spawnServer, subscriberCount } from "../support/server.ts";
import { SOCKET_CLIENTS } from "../support/socket_clients.ts";
import { holdClient, type Hosts, SSE_CLIENTS, startHosts } from "../support/sse_clients.ts";
import { until } from "../support/until.ts";

/** How long river is away, in milliseconds. */
const AWAY_MS = 2000;
/** The longest wait for all clients to come back, in milliseconds. */
const BACK_MS = 30_000;

/** The scripts in tests/support/python, and what they are given beside the address. */
const SCRIPTS = [["httpx"], ["aiohttp", "sse"], ["aiohttp", "websocket"], ["websockets"]];

/** A client that listens to the channel `x`. */
interface Client extends AsyncDisposable {
  readonly name: string;
  /** Resolves when it was told this message. */
  hears(data: string): Promise<unknown>;
}

/** Opens every client. */
function openAll(url: string, hosts: Hosts): Promise<Client[]> {
  return Promise.all([
    ...SSE_CLIENTS.map(async (client) => {
      const held = await holdClient(client, url, hosts);
      const hears = (data: string) =>
        held.events.until((all) => all.some((event) => event.data === data));
      return { name: client.name, hears, [Symbol.asyncDispose]: () => held[Symbol.asyncDispose]() };
    }),
    ...Object.keys(SOCKET_CLIENTS).flatMap((name) => [
      openSocket(name, url, []),
      openSocket(name, url, ["river.v1"]),
    ]),
    ...SCRIPTS.map((script) => runPython(script, url)),
    ...TRANSPORTS.map((transport) => {
      const client = new TestClient({ url }, { transports: [transport] });
      const { messages } = client.hear("x");
      return {
        name: `client.js, ${transport}`,
        hears: (data: string) => messages.until((all) => all.some((each) => each.data === data)),
        [Symbol.asyncDispose]: () => Promise.resolve(client[Symbol.dispose]()),
      };
    }),
  ]);
}

/** The data of the messages in some lines. */
function dataOf(lines: string): string[] {
  return lines.split("\n").filter((line) => line.startsWith('["msg"'))
    .map((line) => JSON.parse(line)[1].data);
}

function openSocket(name: string, url: string, protocols: string[]): Client {
  const heard = new Log<string>();
  const address = `${url.replace("http", "ws")}/websocket?name=x`;
  const tell = (frame: string) => dataOf(frame).forEach((data) => heard.push(data));
  const socket = SOCKET_CLIENTS[name](() => address, protocols, tell);
  return {
    name: [name, ...protocols].join(", "),
    hears: (data) => heard.until((all) => all.includes(data)),
    [Symbol.asyncDispose]: () => Promise.resolve(socket.close()),
  };
}

function runPython([name, ...args]: string[], url: string): Client {
  const script = new URL(`../support/python/${name}_client.py`, import.meta.url).pathname;
  const command = new Deno.Command(PYTHON, { args: ["-B", script, url, ...args], stdout: "piped" });
  const python = command.spawn();
  const heard = new Log<string>();
  const read = (async () => {
    const lines = new LineReader(new Response(python.stdout));
    for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
      heard.push(JSON.parse(line)[1]);
    }
  })();
  return {
    name: [`python3-${name}`, ...args].join(", "),
    hears: (data) => heard.until((all) => all.includes(data)),
    async [Symbol.asyncDispose]() {
      python.kill("SIGKILL");
      await Promise.all([read, python.status]);
    },
  };
}

for (const [name, start] of Object.entries({ nginx: startNginx, HAProxy: startHaproxy })) {
  Deno.test({
    name:
      `the clients of npm, of Python and of river come back through ${name} after a restart of two seconds`,
    // The browser and its pages, and timers of sockets, outlive the test.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      await using hosts = await startHosts();
      const port = freePort();
      const flags = ["--origin", hosts.origin];
      let server = await spawnServer(flags, { port });
      await using proxy = await start(server);
      const clients = await openAll(proxy.url, hosts);
      await using stack = new AsyncDisposableStack();
      for (const client of clients) stack.use(client);
      const all = () =>
        until(async () => await subscriberCount(server) === clients.length, BACK_MS);
      try {
        await all();
        await publish(proxy, "x", "before");
        await Promise.all(clients.map((client) => client.hears("before")));
        // Not a clean end: nothing tells them when to come back.
        await server.end("SIGKILL");
        await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
        const events = { headers: { accept: "text/event-stream" } };
        assertEquals((await ask(`${proxy.url}/subscribe?name=x`, events)).text, "retry: 2000\n\n");
        server = await spawnServer(flags, { port });
        // The steps say which of them is missing.
        await all().catch(() => {});
        await publish(server, "x", "back");
        for (const client of clients) {
          await t.step(client.name, async () => void await client.hears("back"));
        }
      } finally {
        await server.end("SIGKILL");
      }
    },
  });
}
