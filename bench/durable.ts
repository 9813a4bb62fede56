/**
 * History in a file (`--data`): what it costs a publisher, how long a start reads it, and who else a
 * slow disk delays.
 *
 * @module
 */
import { besides } from "./lib/besides.ts";
import { openAll, Requester } from "./lib/connection.ts";
import { fill } from "./lib/fill.ts";
import { cpuSeconds, temporaryDirectory } from "./lib/process.ts";
import { publishing } from "./lib/publishing.ts";
import { type Kind, NAMES, type Server, type ServerSpec, start } from "./lib/servers.ts";
import { quantiles } from "./lib/stats.ts";
import { Trial } from "./lib/trial.ts";
import { dataOf, post, requestTemplate } from "./lib/wire.ts";
import type { Case, Contestant, Options, Sample, Workload } from "./lib/workload.ts";

/** Channels that the publishers share. */
const CHANNELS = 10;
/** Connections for NDJSON, and requests in flight on each. */
const BATCH_CONNECTIONS = 20;
const PIPELINE = 4;
/** Channels that a file with a long history has. */
const RESTORED_CHANNELS = 1000;
/** The names of the contestants in tables. */
export const DURABLE = {
  memory: "memory",
  normal: "--data, normal",
  full: "--data, full",
  slowNormal: "--data, normal, slow disk",
  slowFull: "--data, full, slow disk",
  stopped: "after a stop",
  killed: "after a kill",
  empty: "without a history",
} as const;

const MEMORY: ServerSpec = { kind: "river" };
const NORMAL: ServerSpec = { kind: "river", data: "normal" };
const FULL: ServerSpec = { kind: "river", data: "full" };

/** `deno task bench durable` */
export const durable: Workload = {
  name: "durable",
  about: "history on disk: publishing, a start with a long history, and a slow disk",
  options: { batch: 100, most: 1_000_000, rate: 500, seconds: 1.5 },
  cases: (options) => [
    publishes(20, options),
    publishes(200, options),
    {
      name: "NDJSON",
      units: { messages: "messages/s", perProcessor: "per processor-second" },
      contestants: [
        batches(DURABLE.memory, MEMORY, options),
        batches(DURABLE.normal, NORMAL, options),
        batches(DURABLE.full, FULL, options),
      ],
    },
    {
      name: "restore",
      units: { seconds: "s until ready" },
      contestants: [
        restores(DURABLE.stopped, "SIGTERM", options.most),
        restores(DURABLE.killed, "SIGKILL", options.most),
        restores(DURABLE.empty, "SIGTERM", 0),
      ],
    },
    {
      name: "slow disk",
      units: {
        p50: "ms p50 of receipts",
        p99: "ms p99 of receipts",
        live: "ms p99 of another channel's messages",
        replay: "ms p99 of its history",
      },
      contestants: ([
        [DURABLE.memory, MEMORY],
        [DURABLE.normal, NORMAL],
        [DURABLE.full, FULL],
        [DURABLE.slowNormal, { ...NORMAL, slowDisk: true }],
        [DURABLE.slowFull, { ...FULL, slowDisk: true }],
      ] as const).map(([name, spec]) => ({
        name,
        spec,
        run: (server) => besides(server, options),
      })),
    },
  ],
};

/** One message per request, and one request at a time on each connection. */
function publishes(connections: number, { seconds }: Options): Case {
  const contestant = (name: string, spec: ServerSpec): Contestant => ({
    name,
    spec,
    prepare: async (server) => await publishing[spec.kind]!.prepare?.(server, CHANNELS),
    run: (server) => publish(server, spec.kind, connections, seconds),
  });
  return {
    name: `HTTP, ${connections} connections`,
    units: {
      requests: "publishes/s",
      perProcessor: "per processor-second",
      p50: "ms p50",
      p99: "ms p99",
    },
    contestants: [
      contestant(DURABLE.memory, MEMORY),
      contestant(DURABLE.normal, NORMAL),
      contestant(DURABLE.full, FULL),
      contestant(NAMES.nats, { kind: "nats" }),
    ],
  };
}

function publish(
  server: Server,
  kind: Kind,
  connections: number,
  seconds: number,
): Promise<Sample> {
  const { hello, publish, endOfAnswer } = publishing[kind]!;
  return Trial.run(async (trial) => {
    const times: number[] = [];
    const senders = await openAll(connections, async (connection) => {
      const { bytes } = requestTemplate(publish(connection % CHANNELS, connection));
      let sent = 0;
      const send = () => {
        sent = performance.now();
        requester.send(bytes);
      };
      const requester = await Requester.open(
        server.port,
        () => {
          times.push(performance.now() - sent);
          send();
        },
        trial.fail,
        endOfAnswer,
      );
      if (hello !== undefined) requester.send(new TextEncoder().encode(hello(connection)));
      return { send, close: () => requester.close() };
    });
    for (const { send } of trial.keep(senders)) send();
    const sample = await trial.rate(server, {
      metric: "requests",
      seconds,
      count: () => times.length,
    });
    // Without the time for warming up.
    return withCost(sample, "requests", quantiles(times.slice(-sample.values.requests * seconds)));
  });
}

/** Repeats a request of many lines, a few at a time on each connection. */
function batches(name: string, spec: ServerSpec, { batch, seconds }: Options): Contestant {
  const lines = Array.from(
    { length: batch },
    (_, line) => `${JSON.stringify({ name: `bench${line % CHANNELS}`, data: dataOf(0) })}\n`,
  );
  const { bytes } = requestTemplate(post("/publish", "application/x-ndjson", lines.join("")));
  const run = (server: Server) =>
    Trial.run(async (trial) => {
      let answers = 0;
      const requesters = await openAll(BATCH_CONNECTIONS, () =>
        Requester.open(server.port, (requester) => {
          answers++;
          requester.send(bytes);
        }, trial.fail));
      for (const requester of trial.keep(requesters)) {
        for (let i = 0; i < PIPELINE; i++) {
          requester.send(bytes);
        }
      }
      const sample = await trial.rate(server, {
        metric: "messages",
        seconds,
        count: () =>
          answers * batch,
      });
      return withCost(sample, "messages");
    });
  return { name, spec, run };
}

/** Starts with a file that a server left behind. Measures from the start of the process. */
function restores(name: string, signal: Deno.Signal, messages: number): Contestant {
  const history = Math.max(1, Math.ceil(messages / RESTORED_CHANNELS));
  const limits = ["--history", String(history), "--max-memory", "8GiB", "--max-data", "8GiB"];
  const spec: ServerSpec = {
    kind: "river",
    flags: ["--data", `${temporaryDirectory()}/history`, ...limits],
  };
  return {
    name,
    spec,
    async prepare(server) {
      if (messages > 0) await fill(server, RESTORED_CHANNELS, messages);
      await server.child.stop(signal);
    },
    async run() {
      const started = performance.now();
      // Resolves when the server says that it is ready.
      const { port, child } = await start(spec);
      const response = await fetch(`http://127.0.0.1:${port}/healthz`);
      const seconds = (performance.now() - started) / 1000;
      await response.body?.cancel();
      if (!response.ok) throw new Error(`/healthz answered ${response.status}`);
      const server = cpuSeconds(child.pids) / seconds;
      await child.stop(signal);
      return { values: { seconds }, server, load: 0 };
    },
  };
}

/** Adds how many of them a second of the server's processor time is good for. */
function withCost(sample: Sample, metric: string, more: Record<string, number> = {}): Sample {
  const perProcessor = sample.values[metric] / sample.server;
  return { ...sample, values: { ...sample.values, perProcessor, ...more } };
}
