import { assertEquals } from "@std/assert";
import { ask, errorCode } from "../support/http.ts";
import { RawConnection, requestHead, UPGRADE } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";

/** Requests that are wrong in some way: the rest of the address, a type and a body. */
const PUBLISH: readonly [what: string, query: string, type?: string, body?: string | Uint8Array][] =
  [
    ["nothing", ""],
    ["a name that cannot be decoded", "name=%ff"],
    ["1,100 parameters", "a=1&".repeat(1100)],
    ["a misspelt parameter", "name=x&data=y&tpe=z"],
    ["bad JSON", "", JSON_TYPE, "{bad"],
    ["JSON that is a list", "", JSON_TYPE, "[1,2]"],
    ["JSON whose name is a number", "", JSON_TYPE, '{"name":5}'],
    ["JSON without a name", "", JSON_TYPE, '{"data":"x"}'],
    ["JSON that is not UTF-8", "", JSON_TYPE, Uint8Array.of(0xff)],
    ["JSON with the name twice", "name=a", JSON_TYPE, '{"name":"b","data":"x"}'],
    ["a form without a name", "", FORM, "data=x"],
    ["a form that cannot be decoded", "name=x", FORM, "data=%ff"],
    ["a form of 1,100 parameters", "", FORM, "a=1&".repeat(1100)],
    ["a form that is JSON", "", FORM, '{"name":"x"}'],
    ["lines that are not JSON", "", "application/x-ndjson", "{bad"],
    ["a body of an unknown charset", "name=x", "text/plain; charset=klingon", "x"],
  ];

for (const [what, query, type, body] of PUBLISH) {
  for (const method of body === undefined ? ["GET", "POST"] : ["POST"]) {
    const headers: HeadersInit = type === undefined ? {} : { "content-type": type };
    const init: RequestInit = { method, headers, body: body as BodyInit };

    Deno.test(`${method} /publish with ${what} is 401 without a key, and with a wrong one`, async () => {
      await using server = await serveHere("--publish-key", "k");
      const url = `${server.url}/publish?${query}`;
      const none = await ask(url, init);
      assertEquals([none.status, errorCode(none)], [401, "missing_token"]);
      const header = { ...headers, authorization: "Bearer wrong" };
      const wrong = [
        await ask(url, { ...init, headers: header }),
        await ask(`${server.url}/publish?token=wrong&${query}`, init),
      ];
      for (const answer of wrong) {
        assertEquals([answer.status, errorCode(answer)], [401, "bad_token"]);
      }
      // With the key, it is refused for what it is.
      const right = await ask(url, { ...init, headers: { ...headers, authorization: "Bearer k" } });
      assertEquals(right.status, type?.includes("klingon") ? 415 : 400);
      assertEquals(server.engine.usage().published, 0);
    });
  }
}

for (
  const [type, body] of [
    [JSON_TYPE, '{"token":"wrong"}'],
    [JSON_TYPE, '{"name":5,"token":"wrong"}'],
    [FORM, "token=wrong"],
    [FORM, "data=%ff&token=wrong"],
    [FORM, "name=x&data=a&b&token=wrong"],
  ]
) {
  Deno.test(`a wrong token in the body ${body} is 401 before anything else that is wrong`, async () => {
    const init = { method: "POST", headers: { "content-type": type }, body };
    await using keyed = await serveHere("--publish-key", "k");
    await using locked = await serveHere("--token-secret", SECRET);
    for (
      const [url, right] of [
        [`${keyed.url}/publish`, "k"],
        [`${locked.url}/publish`, undefined],
        [`${locked.url}/subscribe`, undefined],
      ]
    ) {
      const answer = await ask(url!, init);
      assertEquals([answer.status, errorCode(answer)], [401, "bad_token"], url);
      if (right === undefined) continue;
      // A wrong token in the body takes precedence over a right one in the address.
      assertEquals((await ask(`${url}?token=${right}`, init)).status, 401);
      const cured = { ...init, body: body.replace("wrong", right) };
      assertEquals((await ask(url!, cured)).status, 400);
    }
  });
}

for (
  const path of [
    "/subscribe?name=%ff",
    "/subscribe?format=no",
    `/subscribe?${"a=1&".repeat(1100)}`,
    "/channels?limit=no",
    "/channels?after=%ff",
    "/channels?name=%ff",
    "/channels/%ff",
    "/metrics?name=%ff",
  ]
) {
  Deno.test(`GET ${path.slice(0, 30)} is 401 without a token`, async () => {
    await using server = await serveHere("--token-secret", SECRET, "--publish-key", "k");
    const answer = await ask(server.url + path);
    assertEquals([answer.status, errorCode(answer)], [401, "missing_token"]);
    const right = await ask(server.url + path, { headers: { authorization: "Bearer k" } });
    assertEquals(right.status, 400);
  });
}

for (
  const [head, headers, body] of [
    ["GET /subscribe?name=x", { "Content-Length": "1" }, "a"],
    ["GET /subscribe?name=x", UPGRADE, ""],
    ["GET /websocket?name=%ff", UPGRADE, ""],
    ["GET /websocket", UPGRADE, ""],
    ["POST /subscribe", { "Content-Length": "4", "Content-Type": JSON_TYPE }, "{bad"],
    ["POST /subscribe", { "Content-Length": "1", "Content-Type": FORM }, "\xff"],
  ] as const
) {
  Deno.test(`${head} with ${Object.keys(headers)} is 401 without a token, and 400 with the key`, async () => {
    await using server = await serveHere("--token-secret", SECRET, "--publish-key", "k");
    const statuses: number[] = [];
    for (const credential of [{}, { Authorization: "Bearer k" }] as Record<string, string>[]) {
      using connection = await RawConnection.open(server);
      const sent = Uint8Array.from(
        requestHead(`${head} HTTP/1.1`, { ...headers, ...credential }) + body,
        (char) => char.charCodeAt(0),
      );
      await connection.write(sent);
      statuses.push((await connection.response()).status);
    }
    assertEquals(statuses, [401, 400]);
  });
}

Deno.test("two tokens are 401 where one is needed, and 400 where none is", async () => {
  await using keyed = await serveHere("--publish-key", "k");
  await using open = await serveHere();
  const query = "publish?name=x&data=y&token=k&token=k";
  assertEquals(errorCode(await ask(`${keyed.url}/${query}`)), "missing_token");
  assertEquals(errorCode(await ask(`${open.url}/${query}`)), "duplicate_parameter");
  const headers = { authorization: "Bearer k" };
  assertEquals(errorCode(await ask(`${keyed.url}/${query}`, { headers })), "duplicate_parameter");
});
