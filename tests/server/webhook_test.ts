import { assertEquals } from "@std/assert";
import { ask, errorCode } from "../support/http.ts";
import { serveHere } from "../support/server.ts";

/** Posts JSON, as a webhook does; gives the status, and the data that was stored in `hooks`. */
async function hook(body: string, query = "name=hooks"): Promise<[number, string[]]> {
  await using server = await serveHere();
  const headers = { "Content-Type": "application/json" };
  const init = { method: "POST", headers, body };
  const { status } = await ask(`${server.url}/publish?${query}`, init);
  const { text } = await ask(`${server.url}/subscribe?name=hooks&seq=0&format=raw&timeout=0.1`);
  return [status, text.split("\n").filter(Boolean)];
}

for (
  const body of [
    '{"action":"opened","number":1}',
    '{"name":"elsewhere","id":"7","token":"x","type":"y"}',
    "[1,2]",
    '"text"',
    "5",
    "null",
    "{}",
    '{"nested":{"data":"x"}}',
    `{"list":[${Array(1500).fill('"a","b"').join()}]}`,
  ]
) {
  Deno.test(`${body.slice(0, 40)} posted to a channel in the address is the message itself`, async () => {
    assertEquals(await hook(body), [200, [body]]);
  });
}

Deno.test("JSON with data, or with data in the address, holds parameters as ever", async () => {
  assertEquals(await hook('{"data":"a","type":"t"}'), [200, ["a"]]);
  assertEquals(await hook('{"id":"7"}', "name=hooks&data=b"), [200, ["b"]]);
  assertEquals(await hook('{"name":"hooks","data":"c"}', ""), [200, ["c"]]);
});

Deno.test("what is not JSON, or names no channel in the address, is refused as ever", async () => {
  assertEquals(await hook("{oops"), [400, []]);
  assertEquals(await hook('{"action":"opened"}', ""), [400, []]);
});

Deno.test("nothing in the body of a webhook gives rights", async () => {
  await using server = await serveHere("--publish-key", "k");
  const init = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: '{"token":"k","action":"opened"}',
  };
  const answer = await ask(`${server.url}/publish?name=hooks`, init);
  assertEquals([answer.status, errorCode(answer)], [401, "missing_token"]);
  assertEquals((await ask(`${server.url}/publish?name=hooks&token=k`, init)).status, 200);
});
