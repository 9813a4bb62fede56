/**
 * Bodies that never end, or all come at once.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  ask,
  errorCode,
  memoryOf,
  metric,
  publish,
  RawConnection,
  requestHead,
  serveHere,
  spawnServer,
  until,
} from "./support.ts";

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
    await until(async () => await metric(server, 'river_refusals_total{status="400"}') === i + 1);
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
