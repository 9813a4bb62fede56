/**
 * Python's clients, as Debian has them: they publish, subscribe, are cut, and come back.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ClientStage } from "../support/client_stage.ts";
import { LineReader, publish } from "../support/http.ts";
import { publishNow } from "../support/river_client.ts";
import { PYTHON } from "../support/python/python.ts";

/** The scripts in tests/support/python, and what they are given beside the address. */
const CLIENTS = [
  ["httpx"],
  ["aiohttp", "sse"],
  ["aiohttp", "websocket"],
  ["websockets"],
] as const;

for (const [name, ...args] of CLIENTS) {
  Deno.test(`python3-${[name, ...args].join(", ")}: publishes, resumes, and is told of gaps`, async () => {
    await using stage = await ClientStage.start("--history", "5");
    const script = new URL(`../support/python/${name}_client.py`, import.meta.url).pathname;
    const python = new Deno.Command(PYTHON, {
      args: ["-B", script, stage.proxy.url, ...args],
      stdout: "piped",
    }).spawn();
    await using lines = new LineReader(new Response(python.stdout));
    try {
      const hears = async (...expected: string[]) => {
        for (const line of await lines.take(expected.length)) {
          const [type, data]: [string, string] = JSON.parse(line);
          assertEquals(type === "gap" ? JSON.parse(data).reason : data, expected.shift());
        }
      };
      await hears("a form", "JSON");
      for (const data of ["one", "two"]) await publish(stage.server, "x", data);
      await hears("one", "two");
      await stage.cut(() => publish(stage.server, "x", "missed"));
      await hears("missed");
      await stage.cut(() => publishNow(stage.server, "x", 6));
      await hears("evicted", "1", "2", "3", "4", "5");
      await stage.replace((next) => publish(next, "x", "again"));
      await hears("restart", "again");
    } finally {
      python.kill("SIGKILL");
      await python.status;
    }
  });
}
