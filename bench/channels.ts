/**
 * The cost of a publish as the number of channels grows, in single requests and in batches. Each
 * message goes to a channel picked at random.
 *
 * @module
 */
import { openAll, Requester } from "./lib/connection.ts";
import { DATA_OF_ANY, fill, LINE_OF_ANY, ZEROS } from "./lib/fill.ts";
import type { Server } from "./lib/servers.ts";
import { Trial } from "./lib/trial.ts";
import { post, requestTemplate } from "./lib/wire.ts";
import type { Options, Sample, Workload } from "./lib/workload.ts";

const COUNTS = [1_000_000, 1, 1000, 100_000];
/** Messages per batch. */
const BATCH = 100;
/**
 * Each channel keeps one message, so every publish evicts one, however many channels there are. The
 * comparison is then about the number of channels, not about the growth of their histories.
 */
const FLAGS = ["--max-channels", "2000000", "--max-memory", "16GiB", "--history", "1"];

/** `deno task bench channels` */
export const channels: Workload = {
  name: "channels",
  about: "time per publish with 1, 1,000, 100,000 and 1,000,000 channels",
  options: { connections: 32, seconds: 1.5, most: 1_000_000 },
  cases: (options) => [{
    name: "random",
    units: { request: "us per publish request", batched: "us per message in a batch" },
    contestants: COUNTS.filter((count) => count <= options.most).map((count) => ({
      name: `${count.toLocaleString("en")} channel${count > 1 ? "s" : ""}`,
      // The last limit is never reached. It gives each number of channels its own server.
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

/** Publishes to channels picked at random. Measures microseconds per message. */
function random(
  server: Server,
  count: number,
  batch: number,
  { connections, seconds }: Options,
): Promise<Sample> {
  return Trial.run(async (trial) => {
    const text = batch === 1
      ? post(`/publish?name=${ZEROS}`, "text/plain", DATA_OF_ANY)
      : post("/publish", "application/x-ndjson", LINE_OF_ANY.repeat(batch));
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
