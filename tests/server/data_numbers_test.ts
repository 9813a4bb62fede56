/**
 * `--data`: numbers go on when no message of a channel is left, and a reset delays no publish.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ask, publish, subscribe } from "../support/http.ts";
import { spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

Deno.test("a watched channel whose messages have all expired goes on with its next number after kill -9", async () => {
  const folder = await Deno.makeTempDir();
  const flags = ["--data", `${folder}/river.db`, "--history-ttl", "500ms"];
  try {
    await using one = await spawnServer(flags);
    await using _subscriber = await subscribe(one, "name=x");
    await publish(one, "x", "a");
    const { seq, epoch } = await publish(one, "x", "b");
    await until(async () =>
      (await ask(`${one.url}/channels/x`)).text.includes('"history":{"messages":0,')
    );
    // The next transaction deletes what has expired.
    await publish(one, "y", "c");
    await one.end("SIGKILL");
    await using other = await spawnServer(flags);
    const next = await publish(other, "x", "d");
    if (next.epoch === epoch) assertEquals(next.seq, seq + 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what is published while a channel is reset is answered at once", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using server = await spawnServer(["--data", `${folder}/river.db`]);
    for (let round = 0; round < 20; round++) {
      await publish(server, "x", "a");
      const start = performance.now();
      await Promise.all([
        ask(`${server.url}/channels/x`, { method: "DELETE" }),
        ...Array.from({ length: 20 }, (_, i) => publish(server, `x${i}`, "b")),
      ]);
      const ms = performance.now() - start;
      assertEquals(ms < 2000, true, `${ms} ms`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
