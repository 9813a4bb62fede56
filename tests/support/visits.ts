/**
 * Clients that come and go.
 *
 * @module
 */
import { ask, publish, subscribe } from "./http.ts";
import { RawConnection, requestHead } from "./raw.ts";
import type { ServerProcess } from "./server.ts";
import { openSocket } from "./sockets.ts";

/** Ways to come and to go, some of them rude. */
export const VISITS: ((server: ServerProcess, channel: string) => Promise<void>)[] = [
  async (server, channel) => {
    await using lines = await subscribe(server, `name=${channel}&seq=0`);
    await publish(server, channel, "a");
    await lines.next();
  },
  async (server, channel) => {
    await using _lines = await subscribe(server, `name=${channel}&format=sse`);
  },
  async (server, channel) => {
    await publish(server, channel, "a");
    await ask(`${server.url}/subscribe?name=${channel}&seq=0&callback=cb`);
  },
  async (server, channel) => {
    await using socket = await openSocket(server, `name=${channel}`);
    socket.send("a");
    await socket.frame();
  },
  async (server, channel) => {
    await using socket = await openSocket(server, `name=${channel}`, "river.v1");
    await socket.line();
  },
  // Gone before the answer.
  async (server, channel) => {
    using connection = await RawConnection.open(server);
    await connection.write(requestHead(`GET /subscribe?name=${channel}&timeout=60 HTTP/1.1`));
  },
  // Gone in the middle of a request.
  async (server) => {
    using connection = await RawConnection.open(server);
    await connection.write("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  },
  async (server) => {
    using connection = await RawConnection.open(server);
    await connection.write("GET /");
  },
];
