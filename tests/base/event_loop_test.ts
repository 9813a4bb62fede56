import { assert, assertEquals } from "@std/assert";
import { SLICE_MS, turn } from "../../lib/base/event_loop.ts";

Deno.test("turn() lets a server answer others during long work", async () => {
  let slices = 0;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    return new Response(String(slices));
  });
  const url = `http://127.0.0.1:${server.addr.port}/`;
  const seen: number[] = [];
  let done = false;
  const asking = (async () => {
    while (!done) seen.push(Number(await (await fetch(url)).text()));
  })();
  for (; slices < 100; slices++) {
    const start = performance.now();
    while (performance.now() - start < SLICE_MS);
    await turn();
  }
  done = true;
  await asking;
  await server.shutdown();
  assert(new Set(seen).size > 8, `answered between slices ${seen}`);
});

Deno.test("turn() gives turns in the order in which they were asked for, one per round", async () => {
  const order: number[] = [];
  let rounds = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const count = () => {
    timer = setTimeout(() => {
      rounds++;
      count();
    });
  };
  count();
  await Promise.all([1, 2, 3, 4].map(async (each) => {
    await turn();
    order.push(each);
  }));
  clearTimeout(timer);
  assertEquals(order, [1, 2, 3, 4]);
  assert(rounds >= 3, `${rounds} rounds`);
});
