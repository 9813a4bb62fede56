/**
 * A control that shows the most that the runtime can do. It takes the same requests as river, and
 * writes constant bytes to all clients with the same query. It numbers, encodes and keeps nothing,
 * and parses nothing except the lines from WebSockets.
 *
 * The same pacer as in river decides when it flushes.
 *
 * @module
 */
import { Pacer } from "../../lib/base/flush_pacer.ts";
import { dataOf } from "../lib/wire.ts";

/** Most messages per flush. */
const MOST = 512;
/** Messages replayed to a client that gives a position. */
const REPLAYED = 100;
const LINE = `["msg", {"channel": "bench0", "seq": 1000, "data": "${dataOf(0)}"}]`;
const EVENT = `id: mi9x2k3f-1000\ndata: ${dataOf(0)}\n\n`;
const RECEIPT = '{"channel":"bench0","seq":1000,"epoch":"mi9x2k3f","subscribers":0}\n';

const utf8 = new TextEncoder();
const streams = { river: repeat(LINE + "\n"), sse: repeat(EVENT) };
/** Frames of one line, two lines and so on. */
const texts: string[] = [];
for (let text = LINE; texts.length < MOST; text += `\n${LINE}`) texts.push(text);

type Controller = ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

/** All clients with the same query. */
class Room {
  readonly streams = { river: new Set<Controller>(), sse: new Set<Controller>() };
  readonly lineSockets = new Set<WebSocket>();
  readonly plainSockets = new Set<WebSocket>();
  #pending = 0;

  publish(messages: number): void {
    if (this.#pending === 0) enqueue(this);
    this.#pending += messages;
  }

  /** Writes all pending messages, and returns how many there were. */
  flush(): number {
    const pending = Math.min(MOST, this.#pending);
    this.#pending -= pending;
    if (this.#pending > 0) enqueue(this);
    for (const format of ["river", "sse"] as const) {
      const { bytes, size } = streams[format];
      const burst = bytes.subarray(0, pending * size);
      for (const controller of this.streams[format]) controller.enqueue(burst);
    }
    const text = texts[pending - 1];
    for (const socket of this.lineSockets) socket.send(text);
    for (const socket of this.plainSockets) {
      for (let i = 0; i < pending; i++) socket.send(LINE);
    }
    return pending;
  }
}

const pacer = new Pacer();
let dirty: Room[] = [];

/** Adds a room to the next flush. */
function enqueue(room: Room): void {
  if (dirty.push(room) === 1) pacer.schedule(flush);
}

function flush(): number {
  const flushed = dirty;
  dirty = [];
  return flushed.reduce((messages, room) => messages + room.flush(), 0) / flushed.length;
}

const rooms = new Map<string, Room>();

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`listening on http://127.0.0.1:${port}/`),
}, (request) => {
  const { url } = request;
  const start = url.indexOf("/", 8);
  const query = url.slice(url.indexOf("?") + 1);
  switch (url[start + 1]) {
    case "c": // constant
      return request.method === "POST" ? request.text().then(receipt) : receipt();
    case "p": // publish
      return request.text().then(() => {
        roomOf(query).publish(1);
        return receipt();
      });
    case "w": // websocket
      return openSocket(request, roomOf(query));
    default: // subscribe
      return openStream(query);
  }
});

function receipt(): Response {
  return new Response(RECEIPT, { headers: { "content-type": "application/json" } });
}

function openStream(query: string): Response {
  const format = query.endsWith("&format=sse") ? "sse" : "river";
  const members = roomOf(format === "sse" ? query.slice(0, -11) : query).streams[format];
  let mine: Controller;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      members.add(mine = controller);
      if (query.includes("&seq=")) {
        const { bytes, size } = streams[format];
        controller.enqueue(bytes.subarray(0, REPLAYED * size));
      }
    },
    cancel: () => void members.delete(mine),
  });
  return new Response(body, { headers: { "content-type": "text/plain;charset=UTF-8" } });
}

function openSocket(request: Request, room: Room): Response {
  const lines = request.headers.has("sec-websocket-protocol");
  const { socket, response } = Deno.upgradeWebSocket(request, {
    // As in river: the runtime pings, and its timer costs memory.
    idleTimeout: 25,
    protocol: lines ? "river.v1" : undefined,
  });
  const members = lines ? room.lineSockets : room.plainSockets;
  socket.onopen = () => members.add(socket);
  socket.onclose = () => members.delete(socket);
  socket.onmessage = ({ data }) => room.publish(lines ? linesOf(data) : 1);
  return response;
}

/** Parses the lines, as any reader must, but only counts them. */
function linesOf(text: string): number {
  let lines = 0;
  for (const line of text.split("\n")) lines += JSON.parse(line).length / 2;
  return lines;
}

function roomOf(query: string): Room {
  let room = rooms.get(query);
  if (room === undefined) rooms.set(query, room = new Room());
  return room;
}

function repeat(text: string) {
  return { bytes: utf8.encode(text.repeat(MOST)), size: text.length };
}
