import { assertEquals } from "@std/assert";
import { EventSource } from "eventsource";
import { publish } from "../support/http.ts";
import { testProxy } from "../support/proxy_suite.ts";
import { startHaproxy } from "../support/reverse_proxy.ts";
import { freePort, spawnServer, subscriberCount } from "../support/server.ts";
import { until } from "../support/until.ts";

testProxy("HAProxy", startHaproxy, { away: 503 });

Deno.test("HAProxy as docs/operate.md sets it up changes over to the next river without a refused request", async () => {
  await using old = await spawnServer(["--drain-delay", "5s"]);
  const next = freePort();
  await using proxy = await startHaproxy(old, { next });
  const heard: string[] = [];
  const source = new EventSource(`${proxy.url}/subscribe?name=x`);
  source.addEventListener("message", ({ data }) => heard.push(data));
  try {
    await until(async () => await subscriberCount(old) === 1);
    const { epoch } = await publish(proxy, "x", "old");
    await until(() => heard.length === 1);
    await using server = await spawnServer([], { port: next });
    const ended = old.end("SIGTERM");
    const sent = ["old"];
    // It fails if any of them is refused.
    const receipt = async () => {
      sent.push(String(sent.length));
      return await publish(proxy, "x", sent.at(-1)!);
    };
    await until(async () => (await receipt()).epoch !== epoch, 10_000);
    assertEquals((await ended).code, 0);
    await until(async () => await subscriberCount(server) === 1, 10_000);
    await receipt();
    await until(() => heard.includes(sent.at(-1)!));
    assertEquals(heard, sent);
  } finally {
    source.close();
  }
});
