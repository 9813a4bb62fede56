/**
 * What a message keeps in memory is what it counts for, whatever it came in.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { RawConnection, requestHead } from "../support/raw.ts";
import { memoryOf, type ServerProcess, spawnServer } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";

const MiB = 2 ** 20;
/** Bytes sent beside the data of one message: almost `--max-body`, or a head as large as may be. */
const BODY = 1_000_000;
const HEAD = 60_000;
/** All bytes sent. */
const SENT = 400 * MiB;
/** What garbage that is not yet collected may take of it. */
const NOISE = 100 * MiB;

/** Data long enough for the runtime to make a slice of it rather than a copy. */
const DATA = "0123456789abcdefghijklmnopqrstuvwxyz";
const PADDING = "x".repeat(BODY);
const SPACES = " ".repeat(BODY);

function post(type: string, body: string): string {
  return requestHead("POST /publish HTTP/1.1", {
    "Content-Type": type,
    "Content-Length": String(body.length),
  }) + body;
}

const FORM = "application/x-www-form-urlencoded";

const REQUESTS: [what: string, request: (name: string) => string][] = [
  ["a form with data before", (name) => post(FORM, `name=${name}&data=${DATA}&pad=${PADDING}`)],
  ["a form with data behind", (name) => post(FORM, `pad=${PADDING}&name=${name}&data=${DATA}`)],
  ["a form with escapes", (name) => post(FORM, `pad=${PADDING}&name=${name}&data=${DATA}+%41`)],
  ["JSON", (name) => post("application/json", JSON.stringify({ pad: PADDING, name, data: DATA }))],
  [
    "NDJSON",
    (name) => post("application/x-ndjson", SPACES + JSON.stringify({ name, data: DATA })),
  ],
  [
    "a query",
    (name) =>
      requestHead(`GET /publish?name=${name}&data=${DATA}&pad=${"x".repeat(HEAD)} HTTP/1.1`),
  ],
  [
    "an absolute target",
    (name) =>
      requestHead(`GET http://${"x".repeat(HEAD)}/publish?name=${name}&data=${DATA} HTTP/1.1`),
  ],
];

/** Sends `SENT` bytes of messages; the memory that the server has grown by must not have them. */
async function sendAll(
  server: ServerProcess,
  size: number,
  send: (name: string) => Promise<void>,
): Promise<void> {
  for (let i = 0; i < 20; i++) await send("warming-up-the-server");
  const before = await memoryOf(server, "VmRSS");
  for (let i = 0; i < SENT / size; i++) await send(`a-channel-with-a-name-${i % 100}`);
  const grown = await memoryOf(server, "VmRSS") - before;
  assert(grown < NOISE, `${Math.round(grown / MiB)} MiB more`);
}

for (const [what, request] of REQUESTS) {
  Deno.test(`a message keeps nothing of ${what} but itself`, async () => {
    await using server = await spawnServer();
    using connection = await RawConnection.open(server);
    await sendAll(server, request("").length, async (name) => {
      await connection.write(request(name));
      const { status, text } = await connection.response();
      assertEquals(status, 200, text);
    });
  });
}

Deno.test("a message keeps nothing of a river.v1 frame but itself", async () => {
  await using server = await spawnServer();
  await using socket = await openSocket(server, "", "river.v1");
  await sendAll(server, BODY, async (channel) => {
    socket.send(SPACES + JSON.stringify(["pub", { channel, data: DATA, id: "1" }]));
    assert((await socket.line())!.startsWith('["ack", '));
  });
});
