/**
 * Replay: clients reconnect, take the whole history of their channel, and leave.
 *
 * @module
 */
import { type Connection, Requester, subscribe, within } from "./lib/connection.ts";
import type { Transport } from "./lib/dialect.ts";
import { Checker } from "./lib/scanner.ts";
import { type Kind, NAMES, type Server } from "./lib/servers.ts";
import { Trial } from "./lib/trial.ts";
import { dataOf, requestTemplate } from "./lib/wire.ts";
import type { Contestant, Options, Sample, Workload } from "./lib/workload.ts";

/** Messages that every server keeps per channel. */
const HISTORY = 100;
/** One of this many replays is checked. */
const CHECK_EVERY = 100;

/** `deno task bench catchup` */
export const catchup: Workload = {
  name: "catchup",
  about: "messages replayed per second to clients that reconnect",
  options: { clients: 20, channels: 10, seconds: 1.5 },
  cases(options) {
    const over = (transport: Transport) => (kind: Kind): Contestant => ({
      name: NAMES[kind],
      spec: { kind },
      prepare: (server) => fill(server, options),
      run: (server) => run(server, transport, options),
    });
    const kinds: Kind[] = ["river", "nchan", "bare"];
    const units = { replayed: "messages/s" };
    return [
      { name: "HTTP stream", units, contestants: kinds.map(over("stream")) },
      { name: "SSE", units, contestants: kinds.map(over("sse")) },
    ];
  },
};

function channelAt(index: number): string {
  return `replay${index}`;
}

/** Fills the history of every channel. */
function fill({ port, dialect }: Server, { channels }: Options): Promise<void> {
  return Trial.run(async (trial) => {
    const done = Promise.withResolvers<void>();
    const templates = Array.from(
      { length: channels },
      (_, index) => requestTemplate(dialect.publish(channelAt(index), dataOf(0))),
    );
    let sent = 0;
    const next = () => {
      if (sent === HISTORY * channels) return done.resolve();
      const template = templates[sent % channels];
      template.set(0, Math.floor(sent++ / channels));
      requester.send(template.bytes);
    };
    const requester = await Requester.open(port, next, trial.fail);
    trial.keep([requester]);
    next();
    await trial.watch(within(done.promise, "the histories to be filled"));
  });
}

function run(server: Server, transport: Transport, options: Options): Promise<Sample> {
  return Trial.run(async (trial) => {
    const requests = Array.from(
      { length: options.channels },
      (_, index) =>
        new TextEncoder().encode(server.dialect.subscribe(channelAt(index), transport, true)),
    );
    let [replayed, replays, stopped] = [0, 0, false];
    const clients = Array.from({ length: options.clients }, async () => {
      while (!stopped) {
        const request = requests[replays % options.channels];
        const checker = replays++ % CHECK_EVERY === 0 ? new Checker(server.constant) : undefined;
        await replay(trial, server, transport, request, checker, (some) => replayed += some);
      }
    });
    const all = Promise.all(clients);
    all.catch(trial.fail);
    const { seconds } = options;
    const sample = await trial.rate(server, { metric: "replayed", seconds, count: () => replayed });
    stopped = true;
    await trial.watch(all);
    return sample;
  });
}

/** Subscribes, and leaves when the whole history has arrived. */
async function replay(
  trial: Trial,
  { port, dialect }: Server,
  transport: Transport,
  request: Uint8Array,
  checker: Checker | undefined,
  onMessages: (messages: number) => void,
): Promise<void> {
  const done = Promise.withResolvers<void>();
  let left = HISTORY;
  const connection: Connection = await subscribe({
    port,
    dialect,
    transport,
    request,
    checker,
    fail: trial.fail,
    onMessages(messages) {
      onMessages(messages);
      left -= messages;
      if (left < 0) throw new Error("The server replayed more messages than it keeps");
      if (left === 0) done.resolve();
    },
  });
  try {
    await trial.watch(within(done.promise, "the whole history"));
  } finally {
    connection.close();
  }
  if (checker !== undefined && checker.checked !== HISTORY) {
    throw new Error(`Checked ${checker.checked} of ${HISTORY} replayed messages`);
  }
}
