/**
 * What a server may do, asked in its own process: no more than its options need.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { publish } from "../support/http.ts";
import { spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { TempFolder } from "../support/temp_folder.ts";

const MAIN = new URL("../support/permissions_main.ts", import.meta.url).pathname;

/** What a server with these flags may do while it serves. */
async function permissionsOf(flags: string[]): Promise<string> {
  await using server = await spawnServer(flags, { main: MAIN });
  await publish(server, "x", "a");
  server.process.kill("SIGUSR2");
  await until(() => server.log().includes("may: "));
  return /may: (.*)/.exec(server.log())![1];
}

Deno.test("a server runs no other program and reads no variable, and writes no file without --data", async () => {
  assertEquals(await permissionsOf([]), "read net");
});

Deno.test("a server with --data may write files", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  assertEquals(await permissionsOf(["--data", `${folder}/river.db`]), "write read net");
});
