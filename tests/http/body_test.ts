/**
 * Bodies that never end, or all come at once.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ask, errorCode, publish } from "../support/http.ts";
import { RawConnection, requestHead } from "../support/raw.ts";
import { memoryOf, metric, serveHere, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** A request to publish whose body lacks its last byte. */
async function stalled(server: { port: number }, length: number): Promise<RawConnection> {
  const connection = await RawConnection.open(server);
  const head = requestHead("POST /publish?name=x HTTP/1.1", { "Content-Length": String(length) });
  await connection.write(head + "a".repeat(length - 1));
  return connection;
}

Deno.test("--max-bodies: 503 with Retry-After for more than it, and room again when others are read", async () => {
  await using server = await serveHere("--max-bodies", "100KiB", "--max-message", "1MiB");
  using first = await stalled(server, 60 * KiB);
  using second = await stalled(server, 60 * KiB);
  const answers = [first.response(), second.response()];
  const refused = await Promise.race(answers);
  assertEquals([refused.status, errorCode(refused)], [503, "too_many_bodies"]);
  assertEquals(refused.headers.get("retry-after"), "5");
  // Small ones do not count.
  await publish(server, "x", "small");
  await first.write("a");
  await second.write("a");
  assertEquals((await Promise.all(answers)).map(({ status }) => status).sort(), [200, 503]);
  const body = "a".repeat(90 * KiB);
  const { status } = await ask(`${server.url}/publish?name=x`, { method: "POST", body });
  assertEquals([status, server.errors], [200, []]);
});

Deno.test("--max-bodies gets back what bodies held that broke off, were too large or too slow", async () => {
  await using server = await serveHere("--max-bodies", "100KiB", "--body-timeout", "300ms");
  for (let i = 0; i < 3; i++) {
    {
      using _gone = await stalled(server, 90 * KiB);
    }
    // The count is there with the first refusal.
    const refusals = () =>
      metric(server, 'river_refusals_total{status="400",code="body_incomplete"}').catch(() => 0);
    await until(async () => await refusals() === i + 1);
    using slow = await stalled(server, 90 * KiB);
    assertEquals((await slow.response()).status, 408);
    const large = await ask(`${server.url}/publish?name=x`, {
      method: "POST",
      body: "a".repeat(90 * KiB),
    });
    assertEquals([large.status, errorCode(large)], [413, "message_too_large"]);
  }
  assertEquals(server.errors, []);
});

Deno.test("a body that is answered with 408 is let go of, though its client stays", async () => {
  await using server = await spawnServer(["--body-timeout", "1s"]);
  await publish(server, "x", "first");
  const connections: RawConnection[] = [];
  const memory: number[] = [];
  // As many at a time as --max-bodies lets in.
  for (let round = 1; round <= 4; round++) {
    const some = await Promise.all(Array.from({ length: 50 }, () => stalled(server, MiB)));
    const statuses = await Promise.all(some.map(async (each) => (await each.response()).status));
    assertEquals(new Set(statuses), new Set([408]));
    connections.push(...some);
    memory.push(await memoryOf(server, "VmRSS"));
  }
  for (const connection of connections) connection[Symbol.dispose]();
  const grown = memory[3] - memory[0];
  assert(grown < 300 * MiB, `${Math.round(grown / MiB)} MiB more for 150 more bodies of 1 MiB`);
});

Deno.test("--max-batch: one message more is refused, and none of them is published", async () => {
  await using server = await serveHere("--max-batch", "6");
  const post = (lines: string[]) =>
    ask(`${server.url}/publish`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
  const three = '{"name": ["a", "b", "c"], "data": "1"}';
  assertEquals((await post([three, three])).status, 200);
  const refused = await post([three, three, '{"name": "a", "data": "2"}']);
  assertEquals([refused.status, errorCode(refused)], [413, "too_many_messages"]);
  assertEquals(server.engine.usage().published, 6);
});

/** A body of `count` chunks of one byte each. */
function pieces(count: number): string {
  return "1\r\na\r\n".repeat(count) + "0\r\n\r\n";
}

const CHUNKED = requestHead("POST /publish?name=x HTTP/1.1", { "Transfer-Encoding": "chunked" });

Deno.test("a body of 20,000 chunks of one byte takes no memory, and others are answered meanwhile", async () => {
  await using server = await spawnServer(["--publish-key", "k", "--max-message", "64KiB"]);
  const before = await memoryOf(server, "VmHWM");
  using connection = await RawConnection.open(server);
  await connection.write(
    CHUNKED.replace("\r\n\r\n", "\r\nAuthorization: Bearer k\r\n\r\n") + pieces(20_000),
  );
  let done = false;
  const answer = connection.response().finally(() => done = true);
  let waits = 0;
  for (; !done; waits++) await ask(`${server.url}/healthz`);
  assertEquals((await answer).status, 200);
  const grown = await memoryOf(server, "VmHWM") - before;
  assert(grown < 50 * MiB, `${Math.round(grown / MiB)} MiB more`);
  assert(waits > 2, `${waits} others were answered`);
});

Deno.test("chunks of any size come together as they were sent", async () => {
  await using server = await serveHere();
  for (const size of [1, 2, 1000, 16 * KiB - 1, 16 * KiB, 16 * KiB + 1, 50_000]) {
    const text = Array.from({ length: 60_000 }, (_, i) => i % 10).join("");
    let body = "";
    for (let at = 0; at < text.length; at += size) {
      const chunk = text.slice(at, at + size);
      body += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
    }
    using connection = await RawConnection.open(server);
    await connection.write(CHUNKED.replace("name=x", `name=s${size}`) + body + "0\r\n\r\n");
    assertEquals((await connection.response()).status, 200);
    const { messages } = await server.engine.since(`s${size}`, { seq: 0 }, 1e9);
    assertEquals(messages.map(({ data }) => data), [text]);
  }
});

const FORM = "application/x-www-form-urlencoded";

for (
  const [what, head, body] of [
    ["a length", { "Content-Length": "1000000" }, ""],
    [
      "chunks",
      { "Transfer-Encoding": "chunked" },
      "4000\r\n" + "a".repeat(16 * KiB) + "\r\n1\r\na\r\n",
    ],
    ["a wrong key", { "Content-Length": "1000000", "Authorization": "Bearer wrong" }, ""],
    ["a type that holds no token", { "Content-Length": "1", "Content-Type": "text/plain" }, ""],
    ["a cookie of its own", { "Content-Length": "1000000", "Cookie": "river_token=a" }, ""],
    ["a compressed form", { "Content-Length": "1", "Content-Encoding": "gzip" }, ""],
    ["a form compressed on its way", { "Transfer-Encoding": "gzip, chunked" }, ""],
    [
      "an unknown character set",
      { "Content-Length": "1", "Content-Type": `${FORM}; charset=x` },
      "",
    ],
  ] as const
) {
  Deno.test(`a stranger that sends a body with ${what} gets 401 before its end`, async () => {
    await using server = await serveHere("--publish-key", "k", "--token-secret", "s".repeat(32));
    for (const path of ["publish?name=x", "subscribe?name=x"]) {
      using connection = await RawConnection.open(server);
      const type = { "Content-Type": FORM };
      await connection.write(requestHead(`POST /${path} HTTP/1.1`, { ...type, ...head }) + body);
      const answer = await connection.response();
      const code = ["a wrong key", "a cookie of its own"].includes(what)
        ? "bad_token"
        : "missing_token";
      assertEquals([answer.status, errorCode(answer)], [401, code]);
    }
  });
}

Deno.test("a small form or JSON may hold the key that a header lacks, and a larger one not", async () => {
  await using server = await serveHere("--publish-key", "k");
  const post = (body: string, type: string) =>
    ask(`${server.url}/publish?name=x`, {
      method: "POST",
      body,
      headers: { "content-type": type },
    });
  const status = async (body: string, type = FORM) => (await post(body, type)).status;
  assertEquals(await status("token=k&data=" + "a".repeat(16_000)), 200);
  assertEquals(await status('{"token":"k","data":"a"}', "application/json"), 200);
  assertEquals(await status("token=wrong&data=a"), 401);
  assertEquals(await status("data=a"), 401);
  assertEquals(await status("token=k&data=" + "a".repeat(17_000)), 401);
});

Deno.test("a client that shows its key in the head may send as much as --max-body", async () => {
  await using server = await serveHere("--publish-key", "k");
  const body = "a".repeat(60_000);
  const shown: [string, HeadersInit][] = [["", { Authorization: "Bearer k" }], ["&token=k", {}], [
    "",
    {
      Cookie: "river_token=k",
    },
  ]];
  for (const [query, headers] of shown) {
    const { status } = await ask(`${server.url}/publish?name=x${query}`, {
      method: "POST",
      body,
      headers,
    });
    assertEquals(status, 200);
  }
});

Deno.test("a token in the body wins over one in the query", async () => {
  await using server = await serveHere("--publish-key", "k");
  const body = new URLSearchParams({ token: "k", data: "a" });
  const url = `${server.url}/publish?name=x&token=wrong`;
  assertEquals((await ask(url, { method: "POST", body })).status, 200);
});
