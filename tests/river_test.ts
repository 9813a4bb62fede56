import { assert, assertEquals, assertThrows } from "@std/assert";
import { createRiver, DEFAULTS, type RiverServer } from "../lib/river.ts";

/** A request as the examples make it. */
async function ask(
  river: RiverServer,
  path: string,
  init?: RequestInit,
): Promise<[number, string]> {
  const response = await river.handle(new Request(`http://localhost${path}`, init));
  return [response.status, await response.text()];
}

Deno.test("createRiver() answers without a socket: what is published can be read back", async () => {
  const river = createRiver({ history: 2 });
  await river.start();
  for (const data of ["a", "b", "c"]) {
    const [status] = await ask(river, `/publish?name=x&data=${data}`, { method: "POST" });
    assertEquals(status, 200);
  }
  const [, gap] = await ask(river, "/subscribe?name=x&seq=0&limit=2");
  assert(gap.startsWith('["gap", {"channel": "x", "from": 1, "to": 1, '), gap);
  const lines = ["b", "c"].map((data, i) =>
    `["msg", {"channel": "x", "seq": ${i + 2}, "data": "${data}"}]\n`
  );
  assertEquals(await ask(river, "/subscribe?name=x&seq=1&limit=2"), [200, lines.join("")]);
  await river.drain();
  await river.close();
});

Deno.test("createRiver() takes a request without a connection for one of this machine", async () => {
  const river = createRiver();
  await river.start();
  assertEquals((await ask(river, "/metrics"))[0], 200);
  const remoteAddr = { transport: "tcp", hostname: "192.0.2.1", port: 1 } as const;
  const connection = { remoteAddr, completed: Promise.resolve() };
  const response = await river.handle(new Request("http://localhost/metrics"), connection);
  assertEquals([response.status, (await response.json()).error.code], [403, "local_only"]);
  await river.drain();
  await river.close();
});

Deno.test("createRiver() holds requests to the limits and keys that it is given", async () => {
  const river = createRiver({ maxMessage: 3, publishKey: "k", maxConnections: 4 });
  await river.start();
  assertEquals((await ask(river, "/publish?name=x&data=a"))[0], 401);
  assertEquals((await ask(river, "/publish?name=x&data=abcd&token=k"))[0], 413);
  assertEquals((await ask(river, "/publish?name=x&data=abc&token=k"))[0], 200);
  await river.drain();
  await river.close();
});

Deno.test("createRiver() refuses requests once it drains, and its hub works until it is drained", async () => {
  const river = createRiver();
  await river.start();
  const stream = await river.handle(new Request("http://localhost/subscribe?name=x"));
  const refused = river.refuse();
  assertEquals((await ask(river, "/publish?name=x&data=a"))[0], 503);
  assertEquals(river.hub.subscribers("x"), 1);
  await river.drain();
  assertEquals(await stream.text(), "");
  await refused;
  await river.close();
});

Deno.test("two rivers in one process know nothing of each other", async () => {
  const [one, other] = [createRiver(), createRiver()];
  for (const river of [one, other]) await river.start();
  await ask(one, "/publish?name=x&data=a");
  const published = await Promise.all(
    [one, other].map(async ({ engine }) => (await engine.usage()).published),
  );
  assertEquals(published, [1, 0]);
  for (const river of [one, other]) await river.drain();
  for (const river of [one, other]) await river.close();
});

Deno.test("createRiver() takes an undefined option for one that is left out", async () => {
  const given = Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, undefined]));
  const river = createRiver(given);
  await river.start();
  const body = "a".repeat(DEFAULTS.maxMessage + 1);
  const post = { method: "POST", body };
  assertEquals((await ask(river, "/publish?name=x", post))[0], 413);
  river.reload({ ...given, history: 1 });
  assertEquals((await ask(river, "/publish?name=x", post))[0], 413);
  await river.close();
});

for (
  const [options, error] of [
    [{ history: NaN }, "Bad history: expected a number of at least 0, got NaN"],
    [{ maxQueue: -1 }, "Bad maxQueue: expected a number of at least 0, got -1"],
    [{ maxMessage: "9" as unknown as number }, "Bad maxMessage: expected a number"],
    [{ maxChannels: "auto" as unknown as number }, "Bad maxChannels: expected a number"],
    [{ tokenSecrets: ["x".repeat(31)] }, "Bad token secret: expected 32 bytes or more"],
    [{ publishKey: " " }, "A key or secret must not be empty"],
  ] as const
) {
  Deno.test(`createRiver() refuses ${JSON.stringify(options)}`, async () => {
    assertThrows(() => createRiver(options), TypeError, error);
    const river = createRiver();
    await river.start();
    assertThrows(() => river.reload(options), TypeError, error);
    assertEquals((await ask(river, "/publish?name=x&data=a"))[0], 200);
    await river.close();
  });
}

Deno.test("a river that is closed is not healthy, whether it was drained or not", async () => {
  const river = createRiver();
  await river.start();
  await river.close();
  for (const path of ["/healthz", "/publish?name=x&data=a", "/subscribe?name=x"]) {
    assertEquals((await ask(river, path))[0], 503, path);
  }
  assertEquals((await ask(river, "/healthz?live"))[0], 200);
});

Deno.test("DEFAULTS cannot be changed for others by what a river is given", () => {
  const before = structuredClone(DEFAULTS);
  createRiver({ history: 1 });
  assertEquals(DEFAULTS, before);
});
