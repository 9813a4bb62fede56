/**
 * Asks a server for `/healthz` again and again on one connection, in a process of its own, so that nobody
 * else's work delays it: `pinger.ts PORT PID`. It answers each line on stdin with a line of JSON on stdout:
 *
 * - `start`: forgets what was measured.
 * - `stop`: the longest wait since then, in milliseconds. The last ping began after the command came.
 *
 * Time in which the machine ran something else instead of the server or the pinger does not count.
 *
 * @module
 */

/** Between two pings, in milliseconds. */
const PAUSE_MS = 1;

const [port, server] = Deno.args.map(Number);
const request = new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: pinger\r\n\r\n");
const buffer = new Uint8Array(4096);

/** Milliseconds that the main thread of a process was ready to run, but had no processor. */
function starved(pid: number): number {
  try {
    return Number(Deno.readTextFileSync(`/proc/${pid}/schedstat`).split(" ")[1]) / 1e6;
  } catch {
    // A kernel without these figures.
    return 0;
  }
}

/** Milliseconds until the answer. */
async function ping(connection: Deno.TcpConn): Promise<number> {
  const before = starved(server) + starved(Deno.pid);
  const start = performance.now();
  await connection.write(request);
  for (let answer = ""; !answer.endsWith("}\n");) {
    const count = await connection.read(buffer);
    if (count === null) throw new Error("the server has ended the pinger's connection");
    answer += new TextDecoder().decode(buffer.subarray(0, count));
  }
  const wait = performance.now() - start;
  return wait - (starved(server) + starved(Deno.pid) - before);
}

if (import.meta.main) {
  const commands: string[] = [];
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  (async () => {
    for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
      commands.push(...text.split("\n").filter((line) => line !== ""));
    }
    Deno.exit();
  })();
  for (let worst = 0;;) {
    const command = commands.shift();
    worst = Math.max(worst, await ping(connection));
    if (command === "start") worst = 0;
    if (command !== undefined) console.log(JSON.stringify(worst));
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
