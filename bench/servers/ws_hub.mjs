// @ts-check
/**
 * The smallest hub on Node and `ws` that does the same as river with a WebSocket. Each text frame
 * is a message for all sockets with the same address. The hub numbers it and sends it as a river
 * line.
 *
 * @module
 */
import { createServer } from "node:http";
import process from "node:process";
import { WebSocketServer } from "ws";

/** @typedef {{ send(data: Uint8Array, options: { binary: boolean }): void }} Socket */

/** @type {Map<string, { seq: number, sockets: Set<Socket> }>} */
const channels = new Map();

/** @param {string} name */
function channelOf(name) {
  let channel = channels.get(name);
  if (channel === undefined) channels.set(name, channel = { seq: 0, sockets: new Set() });
  return channel;
}

/**
 * @param {string} name
 * @param {string} data
 */
function publish(name, data) {
  const channel = channelOf(name);
  const fields = `"channel": ${JSON.stringify(name)}, "seq": ${++channel.seq}, "data": `;
  const line = new TextEncoder().encode(`["msg", {${fields}${JSON.stringify(data)}}]`);
  for (const socket of channel.sockets) socket.send(line, { binary: false });
  return channel;
}

/** @param {string | undefined} url */
function nameOf(url = "") {
  return url.slice(url.indexOf("=") + 1);
}

const server = createServer((request, response) => {
  let data = "";
  request.setEncoding("utf8").on("data", (/** @type {string} */ text) => data += text);
  request.on("end", () => {
    const name = nameOf(request.url);
    const { seq, sockets } = publish(name, data);
    const receipt = JSON.stringify({ channel: name, seq, subscribers: sockets.size });
    response.writeHead(200, { "content-length": receipt.length });
    response.end(receipt);
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on(
  "connection",
  (
    /** @type {Socket & import("node:events").EventEmitter} */ socket,
    /** @type {import("node:http").IncomingMessage} */ request,
  ) => {
    const name = nameOf(request.url);
    channelOf(name).sockets.add(socket);
    socket.on("message", (data) => publish(name, String(data)));
    socket.on("close", () => channelOf(name).sockets.delete(socket));
  },
);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  process.stdout.write(`listening on http://127.0.0.1:${port}/\n`);
});
