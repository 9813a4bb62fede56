import { assert, assertEquals } from "@std/assert";
import { encodeFrame, FrameClient, OP } from "../support/frames.ts";
import { ask, msg, publish, subscribe } from "../support/http.ts";
import { testProxy } from "../support/proxy_suite.ts";
import { startLimitedNginx, startNginx } from "../support/reverse_proxy.ts";
import { spawnServer } from "../support/server.ts";

testProxy("nginx", startNginx, { away: 502 });

Deno.test("nginx with the stream block of docs/operate.md keeps nobody waiting for three sockets full of pongs", async () => {
  await using server = await spawnServer(["--trust-proxy", "--open"]);
  await using nginx = await startLimitedNginx(server);
  await using reader = await subscribe(nginx, "name=x");
  await publish(nginx, "x", "a");
  assertEquals(await reader.next(), msg("x", 1, "a"));
  const pong = encodeFrame({ op: OP.pong });
  const pongs = new Uint8Array(pong.length * 20_000);
  for (let at = 0; at < pongs.length; at += pong.length) pongs.set(pong, at);
  const sockets = await Promise.all([1, 2, 3].map(() => FrameClient.open(nginx, "name=x")));
  const end = performance.now() + 2000;
  const floods = sockets.map(async ({ connection }) => {
    while (performance.now() < end) await connection.write(pongs);
  });
  // What the last writes wait for ends with the sockets.
  const ended = Promise.allSettled(floods);
  let longest = 0;
  while (performance.now() < end) {
    const started = performance.now();
    assertEquals((await ask(`${nginx.url}/healthz`)).status, 200);
    longest = Math.max(longest, performance.now() - started);
  }
  for (const socket of sockets) socket[Symbol.dispose]();
  await ended;
  console.log(`longest wait: ${Math.round(longest)} ms`);
  assert(longest < 500, `${longest} ms`);
});
