/**
 * Time from when a message should have been published until each reader has it, at a fixed rate.
 *
 * Times are measured from the schedule and not from the sending, so that a server cannot hide
 * delays by holding up the publisher (coordinated omission).
 *
 * @module
 */
import { openAll, Requester, subscribe } from "./lib/connection.ts";
import type { Transport } from "./lib/dialect.ts";
import { Checker } from "./lib/scanner.ts";
import { type Kind, NAMES, type Server } from "./lib/servers.ts";
import { percentile } from "./lib/stats.ts";
import { Trial } from "./lib/trial.ts";
import { Window } from "./lib/window.ts";
import { dataOf, requestTemplate } from "./lib/wire.ts";
import {
  type Contestant,
  type Options,
  type Sample,
  watchBusy,
  type Workload,
} from "./lib/workload.ts";

/** Messages before the first one that is timed. */
const WARM_UP = 30;

/** `deno task bench latency` */
export const latency: Workload = {
  name: "latency",
  about: "p50, p99 and p99.9 at a fixed rate and fan-out",
  options: { readers: 1000, rate: 100, messages: 300 },
  cases(options) {
    const units = { p50: "ms p50", p99: "ms p99", p999: "ms p99.9" };
    const over = (transport: Transport) => (kind: Kind): Contestant => ({
      name: NAMES[kind],
      spec: { kind },
      run: (server) => run(server, transport, options),
    });
    const kinds: Kind[] = ["river", "nchan", "bare"];
    return [
      { name: "HTTP stream", units, contestants: kinds.map(over("stream")) },
      { name: "SSE", units, contestants: kinds.map(over("sse")) },
      { name: "WebSocket", units, contestants: [...kinds, "ws" as const].map(over("websocket")) },
    ];
  },
};

function run(server: Server, transport: Transport, options: Options): Promise<Sample> {
  return Trial.run(async (trial) => {
    const { readers, rate } = options;
    const { port, dialect } = server;
    const messages = WARM_UP + options.messages;
    const times = new Float64Array((messages - WARM_UP) * readers);
    const window = new Window(messages, readers);
    const received = new Int32Array(readers);
    const checker = new Checker(server.constant);
    const request = new TextEncoder().encode(dialect.subscribe("bench0", transport));
    let started = Infinity;
    let timed = 0;
    trial.keep(
      await openAll(readers, (reader) =>
        subscribe({
          port,
          dialect,
          transport,
          request,
          fail: trial.fail,
          checker: reader === 0 ? checker : undefined,
          onMessages(count) {
            const now = performance.now();
            window.receive(reader, count);
            while (count-- > 0) {
              const message = received[reader]++;
              if (message >= WARM_UP) times[timed++] = now - started - message * 1000 / rate;
            }
          },
        })),
    );
    // Requests are pipelined: each one leaves on time, even if the last one is not answered yet.
    const templates = Array.from(
      { length: messages },
      () => requestTemplate(dialect.publish("bench0", dataOf(0))),
    );
    const publisher = await Requester.open(port, () => {}, trial.fail);
    trial.keep([publisher]);
    const busy = watchBusy(server);
    await trial.pace(rate, messages, (message, due) => {
      if (message === 0) started = due;
      templates[message].set(0, message);
      window.published++;
      publisher.send(templates[message].bytes);
    });
    const { load, server: used } = busy();
    await trial.watch(window.drained());
    if (checker.checked !== messages) {
      throw new Error(`Checked ${checker.checked} of ${messages} messages`);
    }
    times.sort();
    return {
      values: {
        p50: percentile(times, 0.5),
        p99: percentile(times, 0.99),
        p999: percentile(times, 0.999),
      },
      load,
      server: used,
    };
  });
}
