import { assertEquals } from "@std/assert";
import { ask, errorCode } from "../support/http.ts";
import { serveHere } from "../support/server.ts";

const JSON_HEADERS = { "Content-Type": "application/json" };
/** More strings than are parsed. */
const MANY = Array(1500).fill('"a","b"').join();

/** Posts JSON, as a webhook does; gives the status, and the data that was stored in `hooks`. */
async function hook(body: string, query = "name=hooks"): Promise<[number, string[]]> {
  await using server = await serveHere();
  const init = { method: "POST", headers: JSON_HEADERS, body };
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
    '{"type":"charge","data":{"object":{"data":"x"}},"name":"elsewhere"}',
    '{"data":[{"type":"articles"}]}',
    '{"data":null}',
    `{"list":[${MANY}]}`,
    `[${MANY},{"data":"x"}]`,
    `"${'\\"'.repeat(30_000)}"`,
    `{"events":[${MANY}],"meta":{"data":"x"},"like":"\\"data\\":\\"x\\""}`,
    `{"data":{"object":"x"},"list":[${MANY}]}`,
    `{"list":[${MANY}],"data" : [ "x" ]}`,
    `{"data":"x","list":[${MANY}],"data":null}`,
  ]
) {
  Deno.test(`${body.slice(0, 40)} posted to a channel in the address is the message itself`, async () => {
    assertEquals(await hook(body), [200, [body]]);
  });
}

for (
  const [data, code] of [["5", "bad_parameter"], ["true", "bad_parameter"]]
) {
  Deno.test(`JSON whose data is ${data} is refused: it is no text, and hardly from a webhook`, async () => {
    assertEquals(await hook(`{"data":${data}}`), [400, []]);
    assertEquals(await hook(`{"list":[${MANY}],"data":${data}}`), [400, []]);
    await using server = await serveHere();
    const init = { method: "POST", headers: JSON_HEADERS, body: `{"data":${data}}` };
    assertEquals(errorCode(await ask(`${server.url}/publish?name=hooks`, init)), code);
  });
}

for (
  const body of [
    `{"data":"x","list":[${MANY}]}`,
    `{"list":[${MANY}],"data":"x"}`,
    `{"list":[${MANY}],"d\\u0061ta":"x"}`,
    `{"data":{},"list":[${MANY}],"data":"x"}`,
    ` \n{"list":[${MANY}],"data" : \n"x"}`,
  ]
) {
  Deno.test(`${body.slice(0, 30)}..${body.slice(-20)} holds parameters, and too much besides`, async () => {
    assertEquals(await hook(body), [400, []]);
  });
}

Deno.test("a byte order mark before a webhook is not part of the message", async () => {
  assertEquals(await hook('\uFEFF{"action":"opened"}'), [200, ['{"action":"opened"}']]);
  const long = `{"list":[${MANY}]}`;
  assertEquals(await hook(`\uFEFF${long}`), [200, [long]]);
});

for (
  const [what, type, body, query] of [
    ["JSON with data", "application/json", '{"data":"x","name":"elsewhere"}', "name=hooks"],
    ["JSON with a list of names", "application/json", '{"data":"x","name":["a"]}', "name=hooks"],
    ["JSON, with data in the address", "application/json", '{"name":"a"}', "name=hooks&data=x"],
    ["a form", "application/x-www-form-urlencoded", "data=x&name=a", "name=hooks"],
    ["a line", "application/x-ndjson", '{"data":"x","name":"a"}', "name=hooks"],
  ] as const
) {
  Deno.test(`${what} cannot choose another channel than the address does`, async () => {
    await using server = await serveHere();
    const init = { method: "POST", headers: { "Content-Type": type }, body };
    const { status, text } = await ask(`${server.url}/publish?${query}`, init);
    const message = 'Bad parameter "name": it is in the address and in the body';
    assertEquals(
      [status, JSON.parse(text).error.message.replace("Line 1: ", "")],
      [400, message],
    );
    assertEquals(server.engine.usage().published, 0);
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
