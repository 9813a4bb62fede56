/**
 * The cost of a publish as channels grow: single requests and batches, each message to a channel
 * picked at random.
 *
 * @module
 */
import { openAll, Requester, within } from "./lib/connection.ts";
import type { Server } from "./lib/servers.ts";
import { Trial } from "./lib/trial.ts";
import { dataOf, post, requestTemplate } from "./lib/wire.ts";
import type { Options, Sample, Workload } from "./lib/workload.ts";

const COUNTS = [1_000_000, 1, 1000, 100_000];
/** Messages in a batch. */
const BATCH = 100;
/** Messages in a request that makes channels. */
const FILL = 1000;
/** How long making the channels may take, in milliseconds. */
const FILL_MS = 120_000;
/**
 * One message a channel is kept: so each publish evicts one, however many channels there are, and
 * so the comparison is about the number of channels, not about the growth of their histories.
 */
const FLAGS = ["--max-channels", "2000000", "--max-memory", "16GiB", "--history", "1"];
/** Eight digits, to be written in place. */
const ZEROS = "00000000";
const LINE = `{"name":"${ZEROS}","data":"${dataOf(0).replace(ZEROS, "0000-000")}"}\n`;

/** `deno task bench channels` */
export const channels: Workload = {
  name: "channels",
  about: "time of one publish with 1,000,000 channels, 1, 1,000 and 100,000",
  options: { connections: 32, seconds: 1.5, most: 1_000_000 },
  cases: (options) => [{
    name: "random",
    units: { request: "us a publish request", batched: "us a message in a batch" },
    contestants: COUNTS.filter((count) => count <= options.most).map((count) => ({
      name: `${count.toLocaleString("en")} channel${count > 1 ? "s" : ""}`,
      // Told apart by a limit that is not met: each number of channels has a server of its own.
      spec: { kind: "river", flags: [...FLAGS, "--max-ids", String(count)] },
      prepare: (server) => fill(server, count),
      async run(server) {
        const single = await random(server, count, 1, options);
        const batched = await random(server, count, BATCH, options);
        return {
          values: { request: single.values.time, batched: batched.values.time },
          load: (single.load + batched.load) / 2,
          server: (single.server + batched.server) / 2,
        };
      },
    })),
  }],
};

/** Publishes once to every channel. */
function fill({ port }: Server, count: number): Promise<void> {
  return Trial.run(async (trial) => {
    const size = Math.min(FILL, count);
    const template = requestTemplate(post("/publish", "application/x-ndjson", LINE.repeat(size)));
    const done = Promise.withResolvers<void>();
    let made = 0;
    const [requester] = trial.keep([
      await Requester.open(port, () => made < count ? next() : done.resolve(), trial.fail),
    ]);
    next();
    await trial.watch(within(done.promise, `${count} channels were there`, FILL_MS));

    function next(): void {
      for (let i = 0; i < size; i++) template.set(i, made++);
      requester.send(template.bytes);
    }
  });
}

/** Publishes to channels picked at random, and measures microseconds per message. */
function random(
  server: Server,
  count: number,
  batch: number,
  { connections, seconds }: Options,
): Promise<Sample> {
  return Trial.run(async (trial) => {
    const text = batch === 1
      ? post(`/publish?name=${ZEROS}`, "text/plain", dataOf(0).replace(ZEROS, "0000-000"))
      : post("/publish", "application/x-ndjson", LINE.repeat(batch));
    let answers = 0;
    let dice = 1;
    const senders = await openAll(connections, async () => {
      const template = requestTemplate(text);
      const send = () => {
        for (let i = 0; i < batch; i++) {
          dice = (Math.imul(dice, 1664525) + 1013904223) >>> 0;
          template.set(i, Math.floor(dice / 2 ** 32 * count));
        }
        requester.send(template.bytes);
      };
      const requester = await Requester.open(server.port, () => {
        answers++;
        send();
      }, trial.fail);
      return { send, close: () => requester.close() };
    });
    for (const { send } of trial.keep(senders)) send();
    const { values, ...busy } = await trial.rate(server, {
      metric: "rate",
      seconds: seconds / 2,
      count: () => answers * batch,
    });
    return { values: { time: 1e6 / values.rate }, ...busy };
  });
}
