/**
 * Publishing to a channel without readers, over connections that stay open. Single requests: one at
 * a time on each connection. NDJSON requests of many messages: several at a time on each.
 *
 * @module
 */
import { openAll, Requester } from "./lib/connection.ts";
import { type Kind, NAMES, type Server } from "./lib/servers.ts";
import { Trial } from "./lib/trial.ts";
import { dataOf, get, post, requestTemplate } from "./lib/wire.ts";
import type { Contestant, Options, Sample, Workload } from "./lib/workload.ts";

/** The path at which the control answers with a constant. */
const CONSTANT = "/constant";

/** `deno task bench publish` */
export const publish: Workload = {
  name: "publish",
  about: "requests per second with keep-alive, and messages per second in pipelined NDJSON batches",
  options: { connections: 32, batch: 100, pipeline: 4, seconds: 1.5 },
  cases(options) {
    const body = `${JSON.stringify({ name: "bench0", data: dataOf(0) })}\n`.repeat(options.batch);
    const query = `name=bench0&data=${dataOf(0)}`;
    const rate = { requests: "requests/s" };
    const single = (kind: Kind, request: (server: Server) => string): Contestant => ({
      name: NAMES[kind],
      spec: { kind },
      run: (server) => requests(server, request(server), 1, options),
    });
    const batched = (kind: Kind, path: string): Contestant => ({
      name: NAMES[kind],
      spec: { kind },
      async run(server) {
        const request = post(path, "application/x-ndjson", body);
        const { values, ...busy } = await requests(server, request, options.pipeline, options);
        return { values: { messages: values.requests * options.batch }, ...busy };
      },
    });
    const published = ({ dialect }: Server) => dialect.publish("bench0", dataOf(0));
    return [
      {
        name: "GET",
        units: rate,
        contestants: [
          single("river", () => get(`/publish?${query}`)),
          single("bare", () => get(`${CONSTANT}?${query}`)),
        ],
      },
      {
        name: "POST",
        units: rate,
        contestants: [
          single("river", published),
          single("bare", () => post(`${CONSTANT}?name=bench0`, "text/plain", dataOf(0))),
          single("nchan", published),
        ],
      },
      {
        name: "NDJSON",
        units: { messages: "messages/s" },
        contestants: [batched("river", "/publish"), batched("bare", CONSTANT)],
      },
    ];
  },
};

/** Repeats the same request, `depth` at a time on each connection. */
function requests(
  server: Server,
  request: string,
  depth: number,
  { connections, seconds }: Options,
): Promise<Sample> {
  return Trial.run(async (trial) => {
    const { bytes } = requestTemplate(request);
    let answers = 0;
    const requesters = trial.keep(
      await openAll(connections, () =>
        Requester.open(server.port, (requester) => {
          answers++;
          requester.send(bytes);
        }, trial.fail)),
    );
    for (const requester of requesters) {
      for (let i = 0; i < depth; i++) requester.send(bytes);
    }
    return trial.rate(server, { metric: "requests", seconds, count: () => answers });
  });
}
