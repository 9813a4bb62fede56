/**
 * Memory per idle connection, by transport.
 *
 * @module
 */
import { openAll, sleep, subscribe } from "./lib/connection.ts";
import type { Transport } from "./lib/dialect.ts";
import { residentBytes } from "./lib/process.ts";
import { type Kind, NAMES, type Server } from "./lib/servers.ts";
import { Trial } from "./lib/trial.ts";
import {
  type Contestant,
  type Options,
  type Sample,
  watchBusy,
  type Workload,
} from "./lib/workload.ts";

/** Connections opened and closed before the first reading, so that buffers and code exist. */
const WARM_UP = 50;
/** Time for memory to settle, in milliseconds. */
const SETTLE_MS = 500;

const NAMED: [string, Transport, Kind[]][] = [
  ["HTTP stream", "stream", ["river", "bare", "nchan"]],
  ["SSE", "sse", ["river", "bare", "nchan"]],
  ["WebSocket, plain", "websocket", ["river", "bare", "nchan", "ws"]],
  ["WebSocket, river.v1", "river.v1", ["river", "bare"]],
];

/** `deno task bench idle` */
export const idle: Workload = {
  name: "idle",
  about: "memory per waiting connection, by transport",
  options: { connections: 2000 },
  cases: (options) =>
    NAMED.map(([name, transport, kinds]) => ({
      name,
      units: { memory: "KiB per connection" },
      contestants: kinds.map((kind): Contestant => ({
        name: NAMES[kind],
        spec: { kind },
        fresh: true,
        run: (server) => run(server, transport, options),
      })),
    })),
};

function run(server: Server, transport: Transport, { connections }: Options): Promise<Sample> {
  return Trial.run(async (trial) => {
    const { port, dialect, child } = server;
    const request = new TextEncoder().encode(dialect.subscribe("bench0", transport));
    const open = (count: number) =>
      openAll(
        count,
        () => subscribe({ port, dialect, transport, request, onMessages() {}, fail: trial.fail }),
      );
    for (const connection of await open(WARM_UP)) connection.close();
    await sleep(SETTLE_MS);
    const before = residentBytes(child.pids);
    const busy = watchBusy(server);
    trial.keep(await trial.watch(open(connections)));
    await trial.watch(sleep(SETTLE_MS));
    const memory = (residentBytes(child.pids) - before) / connections / 1024;
    return { values: { memory }, ...busy() };
  });
}
