import { assertEquals } from "@std/assert";
import { LineReader, publish, serveHere, spawnServer } from "./support.ts";

Deno.test("subscribe gets what is published", async () => {
  await using server = await serveHere();
  await using lines = new LineReader(await fetch(`${server.url}/subscribe?name=a`));
  await publish(server, "a", "hi");
  assertEquals(await lines.next(), '["msg", {"channel": "a", "seq": 1, "data": "hi"}]');
});
Deno.test("main serves", async () => {
  await using server = await spawnServer();
  await publish(server, "a", "hi");
  assertEquals((await server.end()).code, 0);
});
