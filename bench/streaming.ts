/**
 * How many messages a second one server delivers to streaming readers over raw TCP, beside a bare
 * `Deno.serve` that writes the same bytes to the same readers without any channel logic.
 *
 * `deno task bench --readers 200 --messages 2000 --rounds 3`
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";

const { readers, messages, rounds } = parseArgs(Deno.args, {
  string: ["readers", "messages", "rounds"],
}) as Record<string, string | undefined>;
const READERS = Number(readers ?? 200);
const MESSAGES = Number(messages ?? 2000);
const ROUNDS = Number(rounds ?? 3);
/** Messages published at a time, in one request. */
const BURST = 50;
const DATA = "x".repeat(100);
const utf8 = new TextEncoder();

/** Serves `/subscribe` and `/publish` with constant bytes: what the runtime alone can do. */
const BARE = `
const controllers = new Set();
const line = new TextEncoder().encode(
  '["msg", {"channel": "bench", "seq": 1000, "data": "' + "x".repeat(100) + '"}]\\n');
const burst = new Uint8Array(line.length * ${BURST});
for (let i = 0; i < ${BURST}; i++) burst.set(line, i * line.length);
Deno.serve({ port: 0, hostname: "127.0.0.1", onListen({ port }) {
  console.log("listening on http://127.0.0.1:" + port + "/");
} }, async (request) => {
  if (request.method === "POST") {
    await request.text();
    for (const controller of controllers) controller.enqueue(burst);
    return new Response("ok");
  }
  let mine;
  return new Response(new ReadableStream({
    start(controller) { controllers.add(mine = controller); },
    cancel() { controllers.delete(mine); },
  }));
});`;

async function start(args: string[]): Promise<{ port: number; process: Deno.ChildProcess }> {
  const process = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
  const reader = process.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  const port = /:(\d+)\//.exec(new TextDecoder().decode(value));
  if (port === null) throw new Error("the server did not start");
  return { port: Number(port[1]), process };
}

/** Counts newlines until `expected` messages were read; the head's lines are not counted. */
async function count(connection: Deno.Conn, expected: number): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  let found = 0;
  while (found < expected) {
    const length = await connection.read(buffer);
    if (length === null) throw new Error(`ended after ${found} of ${expected} messages`);
    // A message ends with `}]` and a line feed.
    for (let i = 0; i < length; i++) if (buffer[i] === 10 && buffer[i - 1] === 93) found++;
  }
}

async function measure(args: string[]): Promise<number> {
  const { port, process } = await start(args);
  const connections: Deno.Conn[] = [];
  try {
    for (let i = 0; i < READERS; i++) {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await connection.write(
        utf8.encode("GET /subscribe?name=bench HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
      );
      const head = new Uint8Array(1024);
      await connection.read(head);
      connections.push(connection);
    }
    const body = `${JSON.stringify({ name: "bench", data: DATA })}\n`.repeat(BURST);
    const started = performance.now();
    const done = Promise.all(connections.map((connection) => count(connection, MESSAGES)));
    for (let sent = 0; sent < MESSAGES; sent += BURST) {
      const response = await fetch(`http://127.0.0.1:${port}/publish`, {
        method: "POST",
        body,
        headers: { "content-type": "application/x-ndjson" },
      });
      await response.text();
    }
    await done;
    return READERS * MESSAGES / (performance.now() - started) * 1000;
  } finally {
    for (const connection of connections) connection.close();
    process.kill("SIGKILL");
    await process.status;
  }
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

const bare = await Deno.makeTempFile({ suffix: ".js" });
await Deno.writeTextFile(bare, BARE);
const main = new URL("../main.ts", import.meta.url).pathname;
const results: { river: number; bare: number }[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  const result = {
    river: await measure(["run", "-A", main, "--port", "0", "--max-queue", "64MiB"]),
    bare: await measure(["run", "-A", bare]),
  };
  results.push(result);
  const rate = (n: number) => `${(n / 1e6).toFixed(2)} M/s`;
  console.log(
    `round ${round}: river ${rate(result.river)}, bare Deno ${rate(result.bare)}, ratio ${
      (result.river / result.bare).toFixed(2)
    }`,
  );
}
console.log(`median ratio ${median(results.map(({ river, bare }) => river / bare)).toFixed(2)}`);
await Deno.remove(bare);
