/**
 * A start with a file of `--data` that fails while it is read ends the process.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { ask, publish } from "../support/http.ts";
import { freePort, MAIN, RUN, spawnServer } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";
import { until } from "../support/until.ts";

/** Starts a server that is to end by itself. Returns its exit code and what it said. */
async function fails(flags: string[]): Promise<{ code: number; text: string }> {
  const args = [...RUN, MAIN, "--port=0", ...flags];
  const process = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "piped" })
    .spawn();
  const timer = setTimeout(() => process.kill("SIGKILL"), 10_000);
  const { code, stderr } = await process.output();
  clearTimeout(timer);
  return { code, text: new TextDecoder().decode(stderr) };
}

Deno.test("a file that is damaged in the middle, although it was closed in order, ends the start", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const flags = ["--data", `${folder}/river.db`];
  const one = await spawnServer(flags);
  for (let i = 0; i < 50; i++) await publish(one, "x", "a".repeat(4000));
  await one.end();
  using file = await Deno.open(`${folder}/river.db`, { write: true });
  await file.seek(100_000, Deno.SeekMode.Start);
  await file.write(new Uint8Array(20_000).fill(255));
  const { code, text } = await fails(flags);
  assertEquals(code, 2, text);
  assertMatch(text, /^river: \S.* \(--data\)$/m);
});

Deno.test("a copy of a file that has no room for new epochs ends the start", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const flags = (maxData: string) => ["--data", `${folder}/river.db`, "--max-data", maxData];
  const one = await spawnServer(flags("64MiB"));
  for (let batch = 0; batch < 50; batch++) {
    const body = Array.from({ length: 1000 }, (_, i) => {
      const name = `a channel with a long name, which takes room ${1000 * batch + i}`;
      return JSON.stringify({ name, data: "a".repeat(400) });
    }).join("\n");
    const headers = { "content-type": "application/x-ndjson" };
    const { status } = await ask(`${one.url}/publish`, { method: "POST", headers, body });
    assertEquals(status, 200);
  }
  await one.end("SIGKILL");
  await Deno.remove(`${folder}/river.db.lock`);
  const { code, text } = await fails(flags("16MiB"));
  assertEquals(code, 2, text);
  assertMatch(text, /^river: \S.* \(--data\)$/m);
});

Deno.test("SIGTERM while a long history is read ends the server, and the next one has all of it", async () => {
  using temp = new TempFolder();
  const port = freePort();
  const flags = ["--data", temp.file(), "--history", "1000000", "--max-memory", "1GiB"];
  const count = 200_000;
  {
    await using server = await spawnServer(flags);
    const headers = { "content-type": "application/x-ndjson" };
    const body = '{"name":"x","data":"a"}\n'.repeat(count / 5);
    for (let i = 0; i < 5; i++) {
      await ask(`${server.url}/publish`, { method: "POST", body, headers });
    }
    await server.end();
  }
  const process = new Deno.Command(Deno.execPath(), {
    args: [...RUN, MAIN, `--port=${port}`, ...flags],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = process.output();
  await until(async () => {
    const answer = await ask(`http://127.0.0.1:${port}/healthz`).catch(() => undefined);
    return answer?.status === 503;
  });
  process.kill("SIGTERM");
  const { code, stdout, stderr } = await output;
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals([code, decode(stdout)], [0, ""]);
  assertMatch(decode(stderr), / info shutting down .*\n.* info ended\n$/);
  await using server = await spawnServer(flags);
  assertEquals((await publish(server, "x", "next")).seq, count + 1);
});
