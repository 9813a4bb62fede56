import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { curl } from "../support/curl.ts";
import { type Answer, ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { RawConnection, sendRaw, UPGRADE } from "../support/raw.ts";
import { metric, serveHere, UNUSED } from "../support/server.ts";
import { until } from "../support/until.ts";

const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";
const NDJSON = "application/x-ndjson";

function post(
  { url }: { url: string },
  query: string,
  body?: BodyInit,
  type?: string,
): Promise<Answer> {
  const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
  return ask(`${url}/publish?${query}`, { method: "POST", body, headers });
}

/** What is in a channel's history. */
async function stored(server: { url: string }, channel: string): Promise<string[]> {
  const query = new URLSearchParams({ name: channel, seq: "0", keep: "0", timeout: "0.2" });
  const { text } = await ask(`${server.url}/subscribe?${query}`);
  return text.split("\n").filter((line) => line !== "");
}

Deno.test("curl publishes with a form, as the first river's README shows", async () => {
  await using server = await serveHere();
  const url = `${server.url}/publish`;
  await using run = curl("-d", "name=public-channel&data=hello-world-of-comet", url);
  const printed = await run.output();
  assertMatch(
    printed,
    /^\{"channel":"public-channel","seq":1,"epoch":"[0-9a-z]+","subscribers":0\}\n$/,
  );
});

const WAYS: {
  way: string;
  query: string;
  body?: string | Uint8Array<ArrayBuffer>;
  type?: string;
}[] = [
  { way: "a form", query: "", body: "name=x&data=a+%C3%A4", type: FORM },
  {
    way: "a form with a charset",
    query: "",
    body: "name=x&data=a+ä",
    type: `${FORM};charset=utf-8`,
  },
  { way: "JSON", query: "", body: '{"name":"x","data":"a ä"}', type: JSON_TYPE },
  { way: "one line of NDJSON", query: "", body: '{"name":"x","data":"a ä"}\n', type: NDJSON },
  { way: "text", query: "name=x", body: "a ä", type: "text/plain" },
  {
    way: "a body without a type",
    query: "name=x",
    body: new TextEncoder().encode("a ä"),
  },
  { way: "the query and no body", query: "name=x&data=a%20%C3%A4" },
  {
    way: "a form that wins over the query",
    query: "name=x&data=no",
    body: "data=a+ä",
    type: FORM,
  },
  {
    way: "JSON that wins over the query",
    query: "name=x&data=no",
    body: '{"data":"a ä"}',
    type: JSON_TYPE,
  },
  {
    way: "text that wins over the query",
    query: "name=x&data=no",
    body: "a ä",
    type: "text/plain",
  },
];

for (const { way, query, body, type } of WAYS) {
  Deno.test(`POST /publish takes ${way}`, async () => {
    await using server = await serveHere();
    const { status, headers, text } = await post(server, query, body, type);
    assertEquals(status, 200, text);
    assertEquals(headers.get("content-type"), "application/json");
    assert(text.endsWith("}\n"));
    const { channel, seq } = JSON.parse(text);
    assertEquals({ channel, seq }, { channel: "x", seq: 1 });
    assertEquals(await stored(server, "x"), [msg("x", 1, "a ä")]);
    assertEquals(server.engine.usage().messages, 1);
  });
}

Deno.test("GET /publish takes everything from the query", async () => {
  await using server = await serveHere();
  const { status } = await ask(`${server.url}/publish?name=x&data=a%20%C3%A4`);
  assertEquals(status, 200);
  assertEquals(await stored(server, "x"), [msg("x", 1, "a ä")]);
});

Deno.test("GET /publish takes an address as data, with or without its escapes", async () => {
  await using server = await serveHere();
  const data = "https://example.com/a?b=c://d/?e";
  for (const text of [data, encodeURIComponent(data)]) {
    const line = `GET /publish?name=x&data=${text} HTTP/1.1`;
    assertEquals((await sendRaw(server, line)).status, 200);
  }
  await using lines = await subscribe(server, "name=x&seq=0");
  assertEquals(await lines.take(2), [msg("x", 1, data), msg("x", 2, data)]);
});

Deno.test("a receipt counts the subscribers", async () => {
  await using server = await serveHere();
  await using _one = await subscribe(server, "name=x");
  await using _two = await subscribe(server, "name=x&name=y&format=sse");
  assertEquals((await publish(server, "x", "a")).subscribers, 2);
  assertEquals((await publish(server, "y", "a")).subscribers, 1);
  assertEquals((await publish(server, "z", "a")).subscribers, 0);
});

Deno.test("several names get a receipt each, in order", async () => {
  await using server = await serveHere();
  await publish(server, "b", "before");
  for (
    const answer of [
      await post(server, "", "name=a&name=b&name=c&data=all", FORM),
      await post(server, "", '{"name":["a","b","c"],"data":"all"}', JSON_TYPE),
    ]
  ) {
    assertEquals(answer.status, 200);
    const channels = JSON.parse(answer.text).map(({ channel }: { channel: string }) => channel);
    assertEquals(channels, ["a", "b", "c"]);
  }
  assertEquals(await stored(server, "a"), [msg("a", 1, "all"), msg("a", 2, "all")]);
  assertEquals(
    await stored(server, "b"),
    ["before", "all", "all"].map((data, i) => msg("b", i + 1, data)),
  );
});

Deno.test("NDJSON publishes a message a line, in order", async () => {
  await using server = await serveHere();
  const lines = ["x", "y", "x"].map((name, i) => JSON.stringify({ name, data: `m${i}` }));
  const { status, text } = await post(server, "", lines.join("\n") + "\n\n", NDJSON);
  assertEquals(status, 200);
  const receipts = JSON.parse(text).map(({ channel, seq }: { channel: string; seq: number }) =>
    `${channel} ${seq}`
  );
  assertEquals(receipts, ["x 1", "y 1", "x 2"]);
  assertEquals(await stored(server, "x"), [msg("x", 1, "m0"), msg("x", 2, "m2")]);
});

const BAD_NDJSON: [what: string, line: string, status: number, code: string][] = [
  ["no JSON", "{", 400, "bad_json"],
  ["no object", '["x"]', 400, "bad_json"],
  ["no name", '{"data":"a"}', 400, "missing_parameter"],
  ["no data", '{"name":"x"}', 400, "missing_parameter"],
  ["a number for data", '{"name":"x","data":1}', 400, "bad_parameter"],
  ["half of a surrogate pair", '{"name":"x","data":"\\ud800"}', 400, "bad_parameter"],
  ["too much data", JSON.stringify({ name: "x", data: "a".repeat(65) }), 413, "message_too_large"],
];

for (const [what, line, status, code] of BAD_NDJSON) {
  Deno.test(`NDJSON with ${what} in one line publishes no line`, async () => {
    await using server = await serveHere("--max-message", "64");
    const good = '{"name":"x","data":"good"}';
    const answer = await post(server, "", [good, line, good].join("\n"), NDJSON);
    assertEquals([answer.status, errorCode(answer)], [status, code]);
    assertStringIncludes(answer.text, "Line 2: ");
    assertEquals(server.engine.usage(), UNUSED);
    assertEquals((await publish(server, "x", "alive")).seq, 1);
  });
}

Deno.test("NDJSON without a line is refused", async () => {
  await using server = await serveHere();
  const answer = await post(server, "", "\n \n", NDJSON);
  assertEquals([answer.status, errorCode(answer)], [400, "missing_parameter"]);
});

Deno.test("a repeated id gets the first receipt and publishes nothing", async () => {
  await using server = await serveHere();
  await using lines = await subscribe(server, "name=x&seq=0");
  const first = await post(server, "", "name=x&data=once&id=7", FORM);
  const again = await post(server, "", "name=x&data=twice&id=7", FORM);
  assertEquals(again, { ...first, headers: again.headers });
  assertEquals(JSON.parse((await post(server, "", "name=x&data=other&id=8", FORM)).text).seq, 2);
  assertEquals(await lines.take(2), [msg("x", 1, "once"), msg("x", 2, "other")]);
});

Deno.test("a repeated id does not count as published", async () => {
  await using server = await serveHere();
  for (let i = 0; i < 2; i++) await post(server, "", "name=x&data=once&id=7", FORM);
  assertEquals(await metric(server, "river_messages_published_total"), 1);
});

Deno.test("an id belongs to its channel", async () => {
  await using server = await serveHere();
  await post(server, "", "name=x&data=a&id=7", FORM);
  const { text } = await post(server, "", "name=x&name=y&data=b&id=7", FORM);
  assertEquals(JSON.parse(text).map(({ seq }: { seq: number }) => seq), [1, 1]);
  assertEquals(await stored(server, "x"), [msg("x", 1, "a")]);
  assertEquals(await stored(server, "y"), [msg("y", 1, "b")]);
});

Deno.test("--max-ids: the oldest id is forgotten", async () => {
  await using server = await serveHere("--max-ids", "2");
  const seqOf = async (id: string) =>
    JSON.parse((await post(server, "", `name=x&data=a&id=${id}`, FORM)).text).seq;
  assertEquals([await seqOf("1"), await seqOf("2"), await seqOf("3")], [1, 2, 3]);
  assertEquals([await seqOf("3"), await seqOf("2"), await seqOf("1")], [3, 2, 4]);
});

Deno.test("--id-ttl: a repeat after that time is published again", async () => {
  await using server = await serveHere("--id-ttl", "20ms");
  const seq = async () => JSON.parse((await post(server, "", "name=x&data=a&id=7", FORM)).text).seq;
  assertEquals(await seq(), 1);
  await until(async () => await seq() === 2);
});

Deno.test("--max-message counts bytes, and takes as many as it says", async () => {
  await using server = await serveHere("--max-message", "100");
  const data = "ä".repeat(50);
  assertEquals((await publish(server, "x", data)).seq, 1);
  for (
    const answer of [
      await post(server, "name=x", data + "a", "text/plain"),
      await post(server, "", new URLSearchParams({ name: "x", data: data + "a" })),
      await ask(`${server.url}/publish?name=x&data=${encodeURIComponent(data)}a`),
    ]
  ) assertEquals([answer.status, errorCode(answer)], [413, "message_too_large"]);
  assertEquals(await stored(server, "x"), [msg("x", 1, data)]);
});

/** Chunks whose sum is more than 1 KiB, and no length in front. */
function chunked(): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = 3;
  return new ReadableStream({
    pull(controller) {
      if (left-- > 0) controller.enqueue(new Uint8Array(400).fill(97));
      else controller.close();
    },
  });
}

for (const path of ["publish", "subscribe"]) {
  for (const kind of ["with a length", "in chunks"]) {
    Deno.test(`--max-body: /${path} refuses a larger body ${kind}`, async () => {
      await using server = await serveHere("--max-body", "1KiB", "--max-message", "1KiB");
      const answer = await ask(`${server.url}/${path}?name=x`, {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: kind === "in chunks" ? chunked() : "a".repeat(1025),
      });
      assertEquals([answer.status, errorCode(answer)], [413, "body_too_large"]);
      assertEquals(server.engine.usage().channels, 0);
      assertEquals((await publish(server, "x", "alive")).seq, 1);
    });
  }
}

Deno.test("--max-body takes as many bytes as it says, in chunks too", async () => {
  await using server = await serveHere("--max-body", "1200", "--max-message", "1200");
  assertEquals((await post(server, "name=x", chunked(), "text/plain")).status, 200);
  assertEquals((await post(server, "name=x", "a".repeat(1200), "text/plain")).status, 200);
  const data = "a".repeat(1200);
  assertEquals(await stored(server, "x"), [msg("x", 1, data), msg("x", 2, data)]);
});

Deno.test("--max-body: a body that is announced too large is refused before it is sent", async () => {
  await using server = await serveHere("--max-body", "64KiB");
  using connection = await RawConnection.open(server);
  await connection.write(
    "POST /publish?name=x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n",
  );
  assertEquals((await connection.response()).status, 413);
  assertEquals((await publish(server, "x", "alive")).seq, 1);
});

Deno.test("--max-channels: 503 with Retry-After, and channels that exist go on", async () => {
  await using server = await serveHere("--max-channels", "2");
  await publish(server, "a", "1");
  await publish(server, "b", "1");
  // Names that are only watched have a room of their own, as large.
  await using lines = await subscribe(server, "name=d&name=e");
  for (
    const answer of [
      await post(server, "name=c&data=1"),
      await post(server, "name=d&data=1"),
      await post(server, "name=a&name=c&data=1"),
      await post(server, "", '{"name":"a","data":"1"}\n{"name":"c","data":"1"}', NDJSON),
      await ask(`${server.url}/subscribe?name=c`),
      await ask(`${server.url}/subscribe?name=a&name=c`),
    ]
  ) {
    assertEquals([answer.status, errorCode(answer)], [503, "too_many_channels"]);
    assertMatch(answer.headers.get("retry-after") ?? "", /^[1-9][0-9]*$/);
  }
  assertEquals([server.hub.size, server.hub.subscribers("a")], [1, 0]);
  assertEquals((await publish(server, "a", "2")).seq, 2);
  assertEquals((await ask(`${server.url}/channels/a`, { method: "DELETE" })).status, 200);
  await publish(server, "d", "1");
  assertEquals(await lines.next(), msg("d", 1, "1"));
});

Deno.test("--max-memory: full, it fails no publish, whatever is watched, reset or idle", async () => {
  await using server = await serveHere("--max-memory", "1MiB");
  await using lines = await subscribe(server, "name=idle");
  await publish(server, "reset", "x");
  await ask(`${server.url}/channels/reset`, { method: "DELETE" });
  const data = "x".repeat(60_000);
  for (let seq = 1; seq <= 30; seq++) assertEquals((await publish(server, "b", data)).seq, seq);
  await publish(server, "idle", "x");
  assertEquals(await lines.next(), msg("idle", 1, "x"));
});

Deno.test("--max-memory: a batch that would take more than its share is refused whole", async () => {
  await using server = await serveHere("--max-memory", "100KiB");
  await publish(server, "mine", "x");
  const line = (i: number) => JSON.stringify({ name: "b", data: `${i}`.padEnd(1000) });
  const batch = (length: number) => Array.from({ length }, (_, i) => line(i)).join("\n");
  const refused = await post(server, "", batch(30), NDJSON);
  assertEquals([refused.status, errorCode(refused)], [413, "batch_too_large"]);
  assertStringIncludes(refused.text, "(--max-memory)");
  assertEquals((await post(server, "", batch(20), NDJSON)).status, 200);
  // One text for many channels is held once.
  const names = Array.from({ length: 20 }, (_, i) => `name=n${i}`).join("&");
  assertEquals((await post(server, `${names}&data=${"y".repeat(10_000)}`)).status, 200);
  assertEquals((await server.engine.info("mine"))?.history.messages, 1);
});

Deno.test("--max-channels-per-client: more names are refused", async () => {
  await using server = await serveHere("--max-channels-per-client", "2");
  for (const path of ["publish", "subscribe", "websocket"]) {
    const target = `/${path}?name=a&name=b&name=c&data=1`;
    const headers = path === "websocket" ? UPGRADE : {};
    const answer = await sendRaw(server, `GET ${target} HTTP/1.1`, headers);
    assertEquals([answer.status, errorCode(answer)], [400, "bad_parameter"]);
    assertStringIncludes(answer.text, "3 times, but at most 2 are allowed");
  }
  assertEquals(server.engine.usage().channels, 0);
  assertEquals((await post(server, "name=a&name=b&data=1")).status, 200);
});

Deno.test("--history: only that many are kept", async () => {
  await using server = await serveHere("--history", "2");
  for (const data of ["a", "b", "c"]) await publish(server, "x", data);
  const [gap, ...rest] = await stored(server, "x");
  assertStringIncludes(gap, '"from": 1, "to": 1,');
  assertEquals(rest, [msg("x", 2, "b"), msg("x", 3, "c")]);
});

Deno.test("--history-ttl: an idle channel is dropped, and its next epoch is another", async () => {
  await using server = await serveHere("--history-ttl", "1ms");
  const { epoch } = await publish(server, "x", "a");
  await until(async () => (await ask(`${server.url}/channels/x`)).status === 404);
  const again = await publish(server, "x", "b");
  assertEquals(again.seq, 1);
  assertNotEquals(again.epoch, epoch);
  const { text } = await ask(`${server.url}/subscribe?name=x&seq=${epoch}-1&keep=0`);
  assertStringIncludes(text, `"epoch": "${again.epoch}", "reason": "restart"`);
});

Deno.test("--max-memory: the channel longest without a publish loses its history first", async () => {
  await using server = await serveHere("--max-memory", "64KiB");
  const data = "a".repeat(20_000);
  for (const channel of ["a", "b", "c", "a", "d"]) await publish(server, channel, data);
  const kept = await Promise.all(
    ["a", "b", "c", "d"].map(async (channel) =>
      (await ask(`${server.url}/channels/${channel}`)).status === 404
        ? 0
        : (await stored(server, channel)).filter((line) => line.startsWith('["msg"')).length
    ),
  );
  assertEquals(kept, [2, 0, 0, 1]);
});

const KEY = "the-key";
const KEYS: [how: string, url: string, init: RequestInit, status: number][] = [
  ["no key", "name=x&data=a", {}, 401],
  ["a wrong bearer", "name=x&data=a", { headers: { Authorization: "Bearer the-kez" } }, 401],
  ["a wrong token", "name=x&data=a&token=the-ke", {}, 401],
  ["another scheme", "name=x&data=a", { headers: { Authorization: `Basic ${KEY}` } }, 401],
  ["a wrong bearer, right token", `name=x&data=a&token=${KEY}`, {
    headers: { Authorization: "Bearer no" },
  }, 401],
  ["the bearer", "name=x&data=a", { headers: { Authorization: `Bearer ${KEY}` } }, 200],
  ["the token in the query", `name=x&data=a&token=${KEY}`, {}, 200],
  ["the token in a form", "", {
    method: "POST",
    body: new URLSearchParams({ name: "x", data: "a", token: KEY }),
  }, 200],
];

for (const [how, query, init, status] of KEYS) {
  Deno.test(`--publish-key: publishing with ${how} gets ${status}`, async () => {
    await using server = await serveHere("--publish-key", KEY);
    const answer = await ask(`${server.url}/publish?${query}`, init);
    assertEquals(answer.status, status);
    assertEquals(server.engine.usage().messages, status === 200 ? 1 : 0);
    if (status === 200) return;
    assert(["missing_token", "bad_token"].includes(errorCode(answer)), answer.text);
    assertMatch(answer.headers.get("www-authenticate")!, /^Bearer realm="river"/);
  });
}

Deno.test("--publish-key: a line of NDJSON needs it as well", async () => {
  await using server = await serveHere("--publish-key", KEY);
  const lines = `{"name":"x","data":"a"}\n{"name":"y","data":"a","token":"${KEY}"}`;
  assertEquals((await post(server, "", lines, NDJSON)).status, 401);
  assertEquals(server.engine.usage().messages, 0);
  assertEquals((await post(server, `token=${KEY}`, lines, NDJSON)).status, 200);
});

Deno.test("--publish-key: subscribing needs none", async () => {
  await using server = await serveHere("--publish-key", KEY);
  await using lines = await subscribe(server, "name=x");
  assertEquals((await post(server, `name=x&data=a&token=${KEY}`)).status, 200);
  assertEquals(await lines.next(), msg("x", 1, "a"));
});
