// @ts-check
/**
 * Runs client.js in Node: `node node_client.mjs CLIENT SERVER REFUSING SWALLOWING`, with the addresses
 * of client.js, of a river, and of two proxies before it. One refuses WebSockets. The other swallows
 * what its open connections carry once this has printed `swallow`, and says so on stdin. Prints what
 * happened as JSON.
 */
import process from "node:process";

const [client, server, refusing, swallowing] = process.argv.slice(2);
/** @type {typeof import("../../static/client.js")} */
const { River } = await import(client);

/**
 * Subscribes, and waits until the channel is joined.
 *
 * @param {import("../../static/client.js").River} river
 * @param {string} channel
 * @returns {Promise<{ first: Promise<string> }>} With the first message, which is still to come.
 */
function join(river, channel) {
  return new Promise((resolve) => {
    // A listener that throws stops no other.
    river.subscribe(channel, () => {
      throw new Error("thrown on purpose");
    });
    /** @type {Promise<string>} */
    const first = new Promise((hear) => {
      river.subscribe(channel, ({ data }) => hear(data), { onOpen: () => resolve({ first }) });
    });
  });
}

const transports = /** @type {const} */ (["websocket", "stream", "longpoll"])
  .filter((transport) => transport !== "websocket" || typeof WebSocket === "function");
const heard = [];
for (const transport of transports) {
  const river = new River(server, { transports: [transport] });
  const { first } = await join(river, transport);
  await river.publish(transport, "hello");
  heard.push(await first);
  river.close();
}

const began = performance.now();
const refused = new River(refusing);
await join(refused, "x");
const refusedMs = performance.now() - began;
const instead = refused.status.transport;
refused.close();

const sleeper = new River(swallowing);
const { first } = await join(sleeper, "dead");
console.log("swallow");
await new Promise((resolve) => process.stdin.once("data", resolve));
await new River(server).publish("dead", "missed");
const { now } = Date;
Date.now = () => now() + 30_000;
const afterSleep = await first;

let relative = "";
try {
  new River("/river/");
} catch (error) {
  relative = String(error);
}
const { version } = process;
console.log(
  JSON.stringify({ version, transports, heard, refusedMs, instead, afterSleep, relative }),
);
// A dead socket that is closed would keep Node for half a minute.
process.exit();
