/**
 * Publishes messages to many channels, whose names are numbers of eight digits.
 *
 * @module
 */
import { Requester, within } from "./connection.ts";
import type { Server } from "./servers.ts";
import { Trial } from "./trial.ts";
import { dataOf, post, requestTemplate } from "./wire.ts";

/** Messages per request. */
const LINES = 1000;
/** Time limit for all of them, in milliseconds. */
const FILL_MS = 120_000;

/** Eight digits. The number of a channel is written over them. */
export const ZEROS = "00000000";
/** Data without eight zeros in a row, so that only the name is written over. */
export const DATA_OF_ANY: string = dataOf(0).replace(ZEROS, "0000-000");
/** A line of NDJSON for any channel. */
export const LINE_OF_ANY: string = `${JSON.stringify({ name: ZEROS, data: DATA_OF_ANY })}\n`;

/** Publishes to every channel in turn. By default, once to each. */
export function fill({ port }: Server, channels: number, messages = channels): Promise<void> {
  return Trial.run(async (trial) => {
    const size = Math.min(LINES, messages);
    const template = requestTemplate(
      post("/publish", "application/x-ndjson", LINE_OF_ANY.repeat(size)),
    );
    const done = Promise.withResolvers<void>();
    let made = 0;
    const [requester] = trial.keep([
      await Requester.open(port, () => made < messages ? next() : done.resolve(), trial.fail),
    ]);
    next();
    await trial.watch(within(done.promise, `${messages} messages`, FILL_MS));

    function next(): void {
      for (let i = 0; i < size; i++) template.set(i, made++ % channels);
      requester.send(template.bytes);
    }
  });
}
