import { assertEquals } from "@std/assert";
import { afterRetry, msg, publish } from "../support/http.ts";
import { RawConnection, requestHead } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";

/** The answer's body for a client that sends its request and closes its writing side, as `socat` does. */
async function bodyOf(server: { port: number }, query: string): Promise<string> {
  using connection = await RawConnection.open(server);
  await connection.write(requestHead(`GET /subscribe?${query} HTTP/1.1`));
  await connection.closeWrite();
  return (await connection.response()).text;
}

Deno.test("a client that closes its writing side gets an answer that is complete at once", async () => {
  await using server = await serveHere();
  const { epoch } = await publish(server, "x", "a");
  await publish(server, "x", "b");
  const [a, b] = [msg("x", 1, "a"), msg("x", 2, "b")];
  for (
    const [query, body] of [
      ["name=x&seq=0&limit=1", `${a}\n`],
      ["name=x&seq=0&limit=1&timeout=5", `${a}\n`],
      ["name=x&seq=0&keep=0", `${a}\n${b}\n`],
      ["name=x&seq=0&callback=f", `/**/f(${a});\n/**/f(${b});\n`],
    ]
  ) assertEquals([query, await bodyOf(server, query)], [query, body]);
  const events = await bodyOf(server, "name=x&seq=1&limit=1&format=sse");
  assertEquals(afterRetry(events), `:\nid: ${epoch}-1\n\nid: ${epoch}-2\ndata: b\n\n`);
  assertEquals(server.hub.subscribers("x"), 0);
  assertEquals(server.errors, []);
});

// docs/limits.md: Clients that close their writing side.
Deno.test("a client that closes its writing side gets nothing of an answer that goes on", async () => {
  await using server = await serveHere();
  await publish(server, "x", "a");
  for (const query of ["name=x&seq=0", "name=x&keep=0&timeout=1", "name=x&format=sse"]) {
    assertEquals([query, await bodyOf(server, query).catch(() => "nothing")], [query, "nothing"]);
  }
});
