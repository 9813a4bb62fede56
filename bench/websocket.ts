/**
 * WebSockets that publish and read back: every connection publishes to one channel and receives the
 * messages of all.
 *
 * @module
 */
import { type Connection, openAll, subscribe } from "./lib/connection.ts";
import type { Transport } from "./lib/dialect.ts";
import { Checker } from "./lib/scanner.ts";
import { type Kind, NAMES, type Server } from "./lib/servers.ts";
import { Trial } from "./lib/trial.ts";
import { Window } from "./lib/window.ts";
import { dataOf, frameTemplate, type Template } from "./lib/wire.ts";
import type { Contestant, Options, Sample, Workload } from "./lib/workload.ts";

/** `deno task bench websocket` */
export const websocket: Workload = {
  name: "websocket",
  about: "messages per second when every connection publishes and reads the messages of all",
  options: { connections: 5, batch: 32, window: 640, seconds: 1.5 },
  cases(options) {
    const over = (transport: Transport) => (kind: Kind, name = NAMES[kind]): Contestant => ({
      name,
      spec: { kind },
      run: (server) => run(server, transport, options),
    });
    const [plain, lines] = [over("websocket"), over("river.v1")];
    return [{
      name: "read back",
      units: { deliveries: "deliveries/s" },
      contestants: [
        lines("river", "river, river.v1"),
        plain("river", "river, plain"),
        plain("ws"),
        lines("bare", "bare Deno, many lines per frame"),
        plain("bare", "bare Deno, plain"),
      ],
    }];
  },
};

/**
 * A connection and its batches, sent in turn. A batch is free again when all its messages are back.
 */
interface Client {
  connection: Connection;
  readonly templates: Template[];
  number: number;
}

function run(server: Server, transport: Transport, options: Options): Promise<Sample> {
  return Trial.run(async (trial) => {
    const { connections, batch, seconds } = options;
    const { port, dialect } = server;
    const window = new Window(options.window, connections);
    const checker = new Checker(server.constant);
    const request = new TextEncoder().encode(dialect.subscribe("bench0", transport));
    let clients: Client[] = [];
    let [turn, stopped] = [0, false];
    clients = await openAll(connections, async (index) => {
      const connection = await subscribe({
        port,
        dialect,
        transport,
        request,
        fail: trial.fail,
        checker: index === 0 ? checker : undefined,
        onMessages(messages) {
          if (window.receive(index, messages)) publish();
        },
      });
      const data = Array.from({ length: batch }, () => dataOf(index));
      const templates = Array.from(
        { length: Math.ceil(options.window / batch) + 1 },
        () => frameTemplate(...dialect.frames("bench0", transport, data)),
      );
      return { connection, templates, number: 0 };
    });
    trial.keep(clients.map(({ connection }) => connection));
    publish();
    const sample = await trial.rate(server, {
      metric: "deliveries",
      seconds,
      count: () => window.delivered,
    });
    stopped = true;
    await trial.watch(window.drained());
    if (checker.checked !== window.published) {
      throw new Error(`Checked ${checker.checked} of ${window.published} messages`);
    }
    return sample;

    function publish(): void {
      while (!stopped && window.room >= batch) {
        const client = clients[turn++ % connections];
        const template = client.templates[client.number / batch % client.templates.length];
        for (let i = 0; i < batch; i++) template.set(i, client.number++);
        window.published += batch;
        client.connection.write(template.bytes);
      }
    }
  });
}
