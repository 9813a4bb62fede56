import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { CutError } from "../../lib/http/transports/stream_sink.ts";
import { curl } from "../support/curl.ts";
import {
  afterRetry,
  ask,
  LineReader,
  msg,
  publish,
  publishUntilCut,
  subscribe,
} from "../support/http.ts";
import { RawConnection, sendRaw, UPGRADE } from "../support/raw.ts";
import { serveHere, type TestServer } from "../support/server.ts";
import { openPlain } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const SEED = '["msg", {"channel": "public-channel", "seq": 1, "data": "hello-world-of-comet"}]\n';

/** Publishes `count` messages `m1`, `m2`, ... in one request; gives the epoch. */
async function fill(server: TestServer, name: string, count: number): Promise<string> {
  const lines = Array.from(
    { length: count },
    (_, i) => JSON.stringify({ name, data: `m${i + 1}` }),
  );
  const { text } = await ask(`${server.url}/publish`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: lines.join("\n"),
  });
  return [JSON.parse(text)].flat()[0].epoch;
}

/** The messages that `fill` made, as river lines. */
function filled(name: string, first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => msg(name, first + i, `m${first + i}`));
}

function gap(channel: string, from: number, to: number, epoch: string, reason: string): string {
  return `["gap", {"channel": "${channel}", "from": ${from}, "to": ${to}, ` +
    `"epoch": "${epoch}", "reason": "${reason}"}]`;
}

/** The line `open` of the format river.v1. */
function open(channel: string, cursor: string): string {
  return `["open", {"channel": "${channel}", "cursor": "${cursor}"}]`;
}

/** Lines, each with its line end. */
function text(...lines: string[]): string {
  return lines.map((line) => line + "\n").join("");
}

Deno.test("curl -N prints what another curl publishes, as the first river's README shows", async () => {
  await using server = await serveHere();
  await using subscriber = curl("-N", "-d", "name=public-channel", `${server.url}/subscribe`);
  await until(() => server.hub.subscribers("public-channel") === 1);
  await using socket = await openPlain(server, "public-channel");
  const data = "name=public-channel&data=hello-world-of-comet";
  await using publisher = curl("-d", data, `${server.url}/publish`);
  assertStringIncludes(await publisher.output(), '"subscribers":2}\n');
  assertEquals(await subscriber.lines.next() + "\n", SEED);
  assertEquals(await socket.frame() + "\n", SEED);
  await server.hub.close();
  assertEquals(await subscriber.output(), "");
});

Deno.test("every transport shows the same seq", async () => {
  await using server = await serveHere();
  await using stream = await subscribe(server, "name=x&seq=0");
  await using sse = await subscribe(server, "name=x&seq=0&format=sse");
  await using socket = await openPlain(server, "x", "&seq=0");
  const { epoch } = await publish(server, "x", "a");
  await publish(server, "x", "b");
  const lines = [msg("x", 1, "a"), msg("x", 2, "b")];
  assertEquals(await stream.take(2), lines);
  assertEquals([await socket.frame(), await socket.frame()], lines);
  const events = [`id: ${epoch}-1`, "data: a", "", `id: ${epoch}-2`, "data: b", ""];
  assertEquals(await sse.take(9), [":", `id: ${epoch}-0`, "", ...events]);
});

Deno.test("seq and limit replay exactly what came after, and end", async () => {
  await using server = await serveHere();
  await fill(server, "x", 1000);
  await using run = curl("-N", `${server.url}/subscribe?name=x&seq=990&limit=10`);
  assertEquals(await run.output(), text(...filled("x", 991, 1000)));
  await until(() => server.hub.size === 0);
});

Deno.test("messages that are no longer kept are announced by a gap before the first message", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 1000);
  const { text: body } = await ask(`${server.url}/subscribe?name=x&seq=1&limit=100`);
  assertEquals(body, text(gap("x", 2, 900, epoch, "evicted"), ...filled("x", 901, 1000)));
});

const OVERRUN: [seq: number, gap: boolean][] = [[899, true], [900, false]];

for (const [seq, lost] of OVERRUN) {
  Deno.test(`a history overrun by ${lost ? "one" : "none"} ${lost ? "shows a" : "shows no"} gap`, async () => {
    await using server = await serveHere();
    const epoch = await fill(server, "x", 1000);
    const { text: body } = await ask(`${server.url}/subscribe?name=x&seq=${seq}&keep=0`);
    const head = lost ? [gap("x", 900, 900, epoch, "evicted")] : [];
    assertEquals(body, text(...head, ...filled("x", 901, 1000)));
  });
}

Deno.test("a position beyond the last message is announced by a gap", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 3);
  await using lines = await subscribe(server, "name=x&seq=7");
  assertEquals(await lines.next(), gap("x", 8, 3, epoch, "ahead"));
  await publish(server, "x", "m4");
  assertEquals(await lines.next(), msg("x", 4, "m4"));
});

Deno.test("a position of another epoch is announced by a gap, and all that is kept follows", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 3);
  await using lines = await subscribe(server, "name=x&seq=zzzzzz-2");
  assertEquals(await lines.take(4), [gap("x", 3, 0, epoch, "restart"), ...filled("x", 1, 3)]);
});

Deno.test("a subscriber that gave no position is told of no gap", async () => {
  await using server = await serveHere("--history", "1");
  await fill(server, "x", 3);
  await using lines = await subscribe(server, "name=x");
  await publish(server, "x", "m4");
  assertEquals(await lines.next(), msg("x", 4, "m4"));
});

Deno.test("keep=0 ends with the next push", async () => {
  await using server = await serveHere();
  await using lines = await subscribe(server, "name=x&keep=0");
  await publish(server, "x", "a");
  assertEquals(await lines.rest(), text(msg("x", 1, "a")));
  await until(() => server.hub.size === 0);
});

Deno.test("keep=0 answers at once when it is behind", async () => {
  await using server = await serveHere();
  await fill(server, "x", 3);
  const { text: body } = await ask(`${server.url}/subscribe?name=x&keep=0&seq=1`);
  assertEquals(body, text(...filled("x", 2, 3)));
});

Deno.test("keep=0 is not answered by a gap that its format does not show", async () => {
  await using server = await serveHere();
  await fill(server, "x", 3);
  await using lines = await subscribe(server, "name=x&keep=0&format=raw&seq=7");
  assertEquals(server.hub.subscribers("x"), 1);
  await publish(server, "x", "m4");
  assertEquals(await lines.rest(), "m4\n");
});

Deno.test("what is published between two long-polls is in the next answer", async () => {
  await using server = await serveHere();
  const { epoch } = await publish(server, "x", "m1");
  const poll = (seq: string) => ask(`${server.url}/subscribe?name=x&keep=0&seq=${seq}`);
  const first = await poll(`${epoch}-0`);
  assertEquals(first.headers.get("river-cursor"), `${epoch}-0`);
  assertEquals(first.text, text(msg("x", 1, "m1")));
  await publish(server, "x", "m2");
  await publish(server, "x", "m3");
  assertEquals((await poll(`${epoch}-1`)).text, text(...filled("x", 2, 3)));
});

for (
  const query of [
    "keep=0&timeout=0.1",
    "timeout=0.1",
    "callback=cb&timeout=0.1",
    "format=raw&timeout=0.1",
  ]
) {
  Deno.test(`${query}: 204 when nothing came`, async () => {
    await using server = await serveHere();
    const { epoch } = await publish(server, "x", "a");
    const { status, text: body, headers } = await ask(`${server.url}/subscribe?name=x&${query}`);
    assertEquals([status, body, headers.get("river-cursor")], [204, "", `${epoch}-1`]);
    assertEquals(server.hub.size, 0);
  });
}

Deno.test("timeout: 200 when something came before", async () => {
  await using server = await serveHere();
  await fill(server, "x", 2);
  const { status, text: body } = await ask(`${server.url}/subscribe?name=x&seq=0&timeout=0.1`);
  assertEquals([status, body], [200, text(...filled("x", 1, 2))]);
});

for (const query of ["format=sse", "format=sse&keep=0", "name=y&format=sse&keep=0"]) {
  Deno.test(`timeout: an event stream (${query}) ends with 200, or its client would not come back`, async () => {
    await using server = await serveHere();
    const { status, text: all, headers } = await ask(
      `${server.url}/subscribe?name=x&${query}&timeout=0.1`,
    );
    const body = afterRetry(all);
    assertEquals([status, body], [200, `:\nid: ${headers.get("river-cursor")}\n\n`]);
    assertMatch(body, /^:\nid: [0-9a-z]+-0(?:,[0-9a-z]+-0)?\n\n$/);
  });
}

Deno.test("a client that leaves before the first byte is forgotten", async () => {
  await using server = await serveHere();
  {
    using connection = await RawConnection.open(server);
    await connection.write("GET /subscribe?name=x&timeout=3600 HTTP/1.1\r\nHost: x\r\n\r\n");
    await until(() => server.hub.subscribers("x") === 1);
  }
  await until(() => server.hub.subscribers("x") === 0);
});

for (const parameter of ["callback", "jsonp"]) {
  Deno.test(`${parameter}=cb wraps the next message in a call`, async () => {
    await using server = await serveHere();
    const lines = await subscribe(server, `name=x&${parameter}=cb`);
    const { headers } = lines.response;
    assertEquals(headers.get("content-type"), "text/javascript;charset=UTF-8");
    assertEquals(headers.get("x-content-type-options"), "nosniff");
    await publish(server, "x", "a");
    assertEquals(await lines.rest(), `/**/cb(${msg("x", 1, "a")});\n`);
  });
}

Deno.test("JSONP wraps the gap and each replayed message", async () => {
  await using server = await serveHere("--history", "3");
  const epoch = await fill(server, "x", 5);
  const { text: body } = await ask(`${server.url}/subscribe?name=x&seq=0&callback=app.cb`);
  const lines = [gap("x", 1, 2, epoch, "evicted"), ...filled("x", 3, 5)];
  assertEquals(body, text(...lines.map((line) => `/**/app.cb(${line});`)));
});

Deno.test("callback wins over jsonp and over keep=1", async () => {
  await using server = await serveHere();
  await fill(server, "x", 1);
  const query = "name=x&seq=0&keep=1&jsonp=b&callback=a";
  assertEquals(
    (await ask(`${server.url}/subscribe?${query}`)).text,
    `/**/a(${msg("x", 1, "m1")});\n`,
  );
});

const BODIES: [how: string, type: string, body: string][] = [
  ["a form", "application/x-www-form-urlencoded", "name=x&seq=2&keep=0"],
  ["JSON", "application/json", '{"name":"x","seq":2,"keep":0}'],
  ["JSON with lists and booleans", "application/json", '{"name":["x"],"seq":"2","keep":false}'],
];

for (const [how, type, body] of BODIES) {
  Deno.test(`POST /subscribe takes ${how}, which wins over the query`, async () => {
    await using server = await serveHere();
    await fill(server, "x", 3);
    const answer = await ask(`${server.url}/subscribe?name=y&seq=1&keep=1`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    assertEquals(answer.text, text(msg("x", 3, "m3")));
  });
}

Deno.test("a stream's headers keep caches and buffers away", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 2);
  await using lines = await subscribe(server, "name=x&name=y&seq=1,0");
  const { headers } = lines.response;
  assertEquals(
    ["content-type", "cache-control", "x-accel-buffering", "x-content-type-options"].map((name) =>
      headers.get(name)
    ),
    ["text/plain;charset=UTF-8", "no-store, no-transform", "no", "nosniff"],
  );
  assertMatch(headers.get("river-cursor") ?? "", new RegExp(`^${epoch}-1,[0-9a-z]+-0$`));
});

Deno.test("River-Cursor is the position at the start: nothing is lost that comes after it", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 2);
  const lines = await subscribe(server, "name=x");
  const cursor = lines.response.headers.get("river-cursor");
  await lines[Symbol.asyncDispose]();
  assertEquals(cursor, `${epoch}-2`);
  await publish(server, "x", "m3");
  const { text: body } = await ask(`${server.url}/subscribe?name=x&seq=${cursor}&keep=0`);
  assertEquals(body, text(msg("x", 3, "m3")));
});

for (
  const query of ["", "&format=raw", "&format=river.v1", "&format=sse", "&callback=cb", "&keep=0"]
) {
  Deno.test(`a quiet subscription "${query}" is answered at once, with its position`, async () => {
    await using server = await serveHere();
    const epoch = await fill(server, "x", 3);
    using connection = await RawConnection.open(server);
    await connection.write(`GET /subscribe?name=x${query} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const head = await connection.until("\r\n\r\n");
    assertStringIncludes(head.toLowerCase(), `\r\nriver-cursor: ${epoch}-3\r\n`);
  });
}

for (const query of ["callback=cb", "keep=0", "keep=0&format=river.v1", "keep=0&format=sse"]) {
  Deno.test(`a position beyond the last message is a question for the present one (${query})`, async () => {
    await using server = await serveHere();
    const epoch = await fill(server, "x", 3);
    const { text } = await ask(`${server.url}/subscribe?name=x&seq=999999999999&${query}`);
    assertStringIncludes(text, `"to": 3, "epoch": "${epoch}", "reason": "ahead"}`);
  });
}

Deno.test("a River-Cursor of a channel that was never published to can be resumed", async () => {
  await using server = await serveHere();
  const lines = await subscribe(server, "name=x");
  const cursor = lines.response.headers.get("river-cursor");
  await lines[Symbol.asyncDispose]();
  await until(() => server.engine.usage().channels === 0);
  await publish(server, "x", "m1");
  const { text: body } = await ask(`${server.url}/subscribe?name=x&seq=${cursor}&keep=0`);
  assertEquals(body, text(msg("x", 1, "m1")));
});

Deno.test("an event stream of several channels has a list of positions for an id", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "a", 1);
  await fill(server, "b", 2);
  await using lines = await subscribe(server, "name=a&name=b&seq=1,2", {
    Accept: "text/event-stream",
  });
  assertEquals(lines.response.headers.get("content-type"), "text/event-stream");
  assertEquals(await lines.take(3), [":", `id: ${epoch}-1,${epoch}-2`, ""]);
  await publish(server, "b", "b3");
  assertEquals(await lines.take(3), [`id: ${epoch}-1,${epoch}-3`, "data: b3", ""]);
  await publish(server, "a", "a2");
  assertEquals(await lines.take(3), [`id: ${epoch}-2,${epoch}-3`, "data: a2", ""]);
  await lines[Symbol.asyncDispose]();
  await publish(server, "a", "a3");
  const again = await ask(`${server.url}/subscribe?name=a&name=b&keep=0`, {
    headers: { "Last-Event-ID": `${epoch}-2,${epoch}-3` },
  });
  assertEquals(again.text, text(msg("a", 3, "a3")));
});

Deno.test("an event stream of several channels can be resumed from every one of its ids", async () => {
  await using server = await serveHere("--history", "2");
  await fill(server, "a", 3);
  await fill(server, "b", 1);
  const at = `${server.url}/subscribe?name=a&name=b&format=sse`;
  const { text: body } = await ask(`${at}&seq=0,0&limit=3`);
  const ids = [...body.matchAll(/^id: (.*)$/gm)].map(([, id]) => id);
  assertEquals(ids.length, 5);
  for (const id of ids) {
    const headers = { "Last-Event-ID": id };
    const { status, text } = await ask(`${at}&timeout=0.1`, { headers });
    const data = [...text.matchAll(/^data: (m.*)$/gm)].map(([, data]) => data);
    assertEquals([id, status, data], [
      id,
      200,
      // The first id is where the stream starts, the second one that of the gap.
      ["m2", "m3", "m1"].slice(Math.max(0, ids.indexOf(id) - 1)),
    ]);
  }
});

Deno.test("an event stream of several channels names in River-Cursor where it started", async () => {
  await using server = await serveHere();
  const [a, b] = [await fill(server, "a", 2), await fill(server, "b", 1)];
  await using lines = await subscribe(server, "name=a&name=b&format=sse&seq=1,0&limit=2");
  assertEquals(lines.response.headers.get("river-cursor"), `${a}-1,${b}-0`);
  assertEquals(
    await lines.rest(),
    `:\nid: ${a}-1,${b}-0\n\n` +
      `id: ${a}-2,${b}-0\ndata: m2\n\nid: ${a}-2,${b}-1\ndata: m1\n\n`,
  );
});

Deno.test("an event stream of several channels has complete ids without a position to start from", async () => {
  await using server = await serveHere();
  const [a, b] = [await fill(server, "a", 2), await fill(server, "b", 1)];
  await using lines = await subscribe(server, "name=a&name=b&limit=1", {
    accept: "TEXT/EVENT-STREAM",
  });
  await publish(server, "a", "m3");
  assertEquals(
    await lines.rest(),
    `:\nid: ${a}-2,${b}-1\n\nid: ${a}-3,${b}-1\ndata: m3\n\n`,
  );
});

Deno.test("a channel without a position in a list starts from now on", async () => {
  await using server = await serveHere();
  const [a, b] = [await fill(server, "a", 2), await fill(server, "b", 3)];
  await using lines = await subscribe(server, "name=a&name=b&seq=1,&limit=2");
  assertEquals(lines.response.headers.get("river-cursor"), `${a}-1,${b}-3`);
  await publish(server, "b", "m4");
  assertEquals(await lines.rest(), text(msg("a", 2, "m2"), msg("b", 4, "m4")));
  const both = await ask(`${server.url}/subscribe?name=a&name=b&seq=,&timeout=0.1`);
  assertEquals([both.status, both.headers.get("river-cursor")], [204, `${a}-2,${b}-4`]);
});

Deno.test("an event stream of several channels, one of them from now on, has complete ids from the first byte", async () => {
  await using server = await serveHere();
  const [a, b] = [await fill(server, "a", 2), await fill(server, "b", 1)];
  await using lines = await subscribe(server, "name=a&name=b&format=sse&seq=0,");
  assertEquals(await lines.take(9), [
    ...[":", `id: ${a}-0,${b}-1`, ""],
    ...[`id: ${a}-1,${b}-1`, "data: m1", ""],
    ...[`id: ${a}-2,${b}-1`, "data: m2", ""],
  ]);
});

Deno.test("format=river.v1 says where each channel starts, then continues as river", async () => {
  await using server = await serveHere("--history", "2");
  const [a, b] = [await fill(server, "a", 2), await fill(server, "b", 3)];
  await using lines = await subscribe(
    server,
    "name=a&name=b&name=c&seq=1,0,&limit=4&format=river.v1",
  );
  const { headers } = lines.response;
  assertEquals(headers.get("content-type"), "text/plain;charset=UTF-8");
  const cursor = headers.get("river-cursor")!;
  assertMatch(cursor, new RegExp(`^${a}-1,${b}-0,[0-9a-z]+-0$`));
  await publish(server, "c", "m1");
  assertEquals(
    await lines.rest(),
    text(
      ...[open("a", `${a}-1`), open("b", `${b}-0`), open("c", cursor.split(",")[2])],
      ...[msg("a", 2, "m2"), gap("b", 1, 1, b, "evicted"), ...filled("b", 2, 3)],
      msg("c", 1, "m1"),
    ),
  );
});

Deno.test("format=river.v1: keep=0 is not answered by the line open", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 1);
  await using lines = await subscribe(server, "name=x&name=y&format=river.v1&keep=0");
  const y = lines.response.headers.get("river-cursor")!.split(",")[1];
  assertEquals(await lines.take(2), [open("x", `${epoch}-1`), open("y", y)]);
  assertEquals(server.hub.size, 1);
  await publish(server, "x", "m2");
  assertEquals(await lines.rest(), text(msg("x", 2, "m2")));
  const behind = await ask(`${server.url}/subscribe?name=x&seq=0&format=river.v1&keep=0`);
  assertEquals(behind.text, text(open("x", `${epoch}-0`), ...filled("x", 1, 2)));
});

Deno.test("format=river.v1: a timeout is 200, as the line open was sent", async () => {
  await using server = await serveHere();
  const epoch = await fill(server, "x", 1);
  const query = "name=x&format=river.v1&keep=0&timeout=0.1";
  const { status, text: body } = await ask(`${server.url}/subscribe?${query}`);
  assertEquals([status, body], [200, text(open("x", `${epoch}-1`))]);
});

Deno.test("format=raw and format=river.v1 count as streams in the metrics", async () => {
  await using server = await serveHere();
  for (const format of ["river", "river.v1", "raw", "sse"]) {
    await ask(`${server.url}/subscribe?name=x&format=${format}&timeout=0.05`);
  }
  const { text: metrics } = await ask(`${server.url}/metrics`);
  const counts = [...metrics.matchAll(/^river_connections_total\{(.*)\} (\d+)$/gm)];
  assertEquals(counts.map(([, label, count]) => [label, count]), [
    ['transport="stream"', "3"],
    ['transport="sse"', "1"],
    ...["jsonp", "long-poll", "websocket", "river.v1"].map((name) => [`transport="${name}"`, "0"]),
  ]);
});

Deno.test("a gap of an event stream has an id to resume from", async () => {
  await using server = await serveHere("--history", "1");
  const epoch = await fill(server, "x", 3);
  await using lines = await subscribe(server, "name=x&seq=0&format=sse");
  assertEquals(await lines.take(10), [
    ...[":", `id: ${epoch}-0`, ""],
    "event: gap",
    `id: ${epoch}-2`,
    `data: {"channel": "x", "from": 1, "to": 2, "epoch": "${epoch}", "reason": "evicted"}`,
    "",
    `id: ${epoch}-3`,
    "data: m3",
    "",
  ]);
});

const PRECEDENCE: [what: string, query: string, header: string | undefined, from: number][] = [
  ["seq", "seq=1", undefined, 1],
  ["last_event_id over seq", "seq=1&last_event_id=2", undefined, 2],
  ["Last-Event-ID over seq", "seq=1", "3", 3],
  ["Last-Event-ID over both", "seq=1&last_event_id=2", "3", 3],
  ["seq when the others are empty", "seq=1&last_event_id=", "", 1],
];

for (const [what, query, header, from] of PRECEDENCE) {
  Deno.test(`the position is taken from ${what}`, async () => {
    await using server = await serveHere();
    await fill(server, "x", 5);
    const headers = header === undefined ? undefined : { "Last-Event-ID": header };
    const { text: body } = await ask(`${server.url}/subscribe?name=x&keep=0&${query}`, { headers });
    assertEquals(body, text(...filled("x", from + 1, 5)));
  });
}

Deno.test("limit counts across channels", async () => {
  await using server = await serveHere();
  await fill(server, "a", 2);
  await using lines = await subscribe(server, "name=a&name=b&seq=0,0&limit=4");
  await publish(server, "b", "m1");
  await publish(server, "a", "m3");
  await publish(server, "b", "m2");
  assertEquals(
    await lines.rest(),
    text(...filled("a", 1, 2), msg("b", 1, "m1"), msg("a", 3, "m3")),
  );
});

Deno.test("limit cuts a batch that holds more", async () => {
  await using server = await serveHere();
  await using lines = await subscribe(server, "name=x&limit=2");
  await fill(server, "x", 5);
  assertEquals(await lines.rest(), text(...filled("x", 1, 2)));
});

Deno.test("format=raw shows the data alone, one line a message", async () => {
  await using server = await serveHere("--history", "4");
  await using lines = await subscribe(server, "name=x&format=raw");
  for (const data of ["lost", '"a"', "b\nc\r\nd\re", "", "ä"]) await publish(server, "x", data);
  assertEquals(await lines.take(5), ["lost", '"a"', "b c d e", "", "ä"]);
  const { text: body } = await ask(`${server.url}/subscribe?name=x&format=raw&seq=0&limit=4`);
  assertEquals(body, text('"a"', "b c d e", "", "ä"));
});

const HEARTBEATS: [query: string, sign: string][] = [
  ["", "\n"],
  ["&keep=0", "\n"],
  ["&format=raw", "\n"],
  ["&callback=cb", "\n"],
];

for (const [query, sign] of HEARTBEATS) {
  Deno.test(`--heartbeat: a silent subscription "${query}" gets a heartbeat that is not a message`, async () => {
    await using server = await serveHere("--heartbeat", "100ms");
    using connection = await RawConnection.open(server);
    const target = `/subscribe?name=x${query}&limit=1`;
    await connection.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    assertStringIncludes(await connection.until("\r\n\r\n"), "HTTP/1.1 200 OK");
    const chunk = `${sign.length}\r\n${sign}\r\n`;
    for (let i = 0; i < 3; i++) assertEquals(await connection.until(chunk), chunk);
    await publish(server, "x", "a");
    const rest = await connection.rest();
    assertStringIncludes(rest, query === "&format=raw" ? "a\n" : msg("x", 1, "a"));
    assert(rest.endsWith("\r\n0\r\n\r\n"), rest);
  });
}

Deno.test("--heartbeat: a silent event stream gets comments, which leave its position as it is", async () => {
  await using server = await serveHere("--heartbeat", "100ms");
  const { epoch } = await publish(server, "x", "a");
  await using lines = await subscribe(server, "name=x&format=sse");
  assertEquals(await lines.take(7), [":", `id: ${epoch}-1`, "", ":", "", ":", ""]);
});

Deno.test("an event stream that ends before its first message can be resumed from its id", async () => {
  await using server = await serveHere();
  const at = `${server.url}/subscribe?name=a&name=b&format=sse`;
  const { text: body } = await ask(`${at}&timeout=0.1`);
  const id = /^id: (.*)$/m.exec(body)![1];
  await publish(server, "b", "m1");
  await publish(server, "a", "m1");
  const again = await ask(`${at}&limit=2`, { headers: { "Last-Event-ID": id } });
  assertEquals([...again.text.matchAll(/^data: (.*)$/gm)].length, 2);
});

Deno.test("--heartbeat: once one was sent, a timeout cannot say 204 any more", async () => {
  await using server = await serveHere("--heartbeat", "100ms");
  const { status, text: body } = await ask(`${server.url}/subscribe?name=x&keep=0&timeout=0.5`);
  assertEquals(status, 200);
  assertMatch(body, /^\n+$/);
});

Deno.test("--client-timeout ends a subscription cleanly, and it can be resumed", async () => {
  await using server = await serveHere("--client-timeout", "200ms");
  await using lines = await subscribe(server, "name=x&format=sse");
  const { epoch } = await publish(server, "x", "m1");
  assertEquals(await lines.rest(), `:\nid: ${epoch}-0\n\nid: ${epoch}-1\ndata: m1\n\n`);
  await publish(server, "x", "m2");
  const { status, text: body } = await ask(`${server.url}/subscribe?name=x&seq=${epoch}-1`);
  assertEquals([status, body], [200, text(msg("x", 2, "m2"))]);
});

Deno.test("--max-connections: 503 with Retry-After, until somebody leaves", async () => {
  await using server = await serveHere("--max-connections", "2");
  await using _socket = await openPlain(server, "x");
  const first = await subscribe(server, "name=x");
  for (const target of ["/subscribe?name=x", "/websocket?name=x"]) {
    const headers = target.startsWith("/websocket") ? UPGRADE : {};
    const answer = await sendRaw(server, `GET ${target} HTTP/1.1`, headers);
    assertEquals(answer.status, 503);
    assertEquals(JSON.parse(answer.text).error.code, "too_many_connections");
    assertMatch(answer.headers.get("retry-after") ?? "", /^[1-9][0-9]*$/);
  }
  assertEquals((await publish(server, "x", "a")).subscribers, 2);
  await first[Symbol.asyncDispose]();
  await until(() => server.hub.size === 1);
  await using again = await subscribe(server, "name=x");
  await publish(server, "x", "b");
  assertEquals(await again.next(), msg("x", 2, "b"));
});

Deno.test("--max-queue: a stream that is not read is cut, and others get everything", async () => {
  await using server = await serveHere("--max-queue", "64KiB", "--history", "0");
  using slow = await RawConnection.open(server);
  await slow.write("GET /subscribe?name=x HTTP/1.1\r\nHost: x\r\n\r\n");
  await until(() => server.hub.subscribers("x") === 1);
  await using fast = await subscribe(server, "name=x");
  const seq = await publishUntilCut(server, fast);
  const { text: metrics } = await ask(`${server.url}/metrics`);
  assertStringIncludes(metrics, 'river_disconnections_total{reason="slow"} 1\n');
  const rest = await slow.rest();
  const seqs = [...rest.matchAll(/"seq": ([0-9]+)/g)].map((match) => Number(match[1]));
  assert(seqs.length > 0 && seqs.length < seq, `${seqs.length} of ${seq}`);
  assertEquals(seqs, seqs.map((_, i) => i + 1));
  assert(!rest.endsWith("0\r\n\r\n"), "it looks complete");
  assertEquals(server.errors, [], "nothing is wrong with the server");
});

Deno.test("an error while a response is sent is reported, unless it was broken off on purpose", async () => {
  await using server = await serveHere();
  const error = new Error("lost");
  const statuses = [new CutError("slow"), error].map((each) => server.fail(each).status);
  assertEquals([statuses, server.errors], [[500, 500], [error]]);
});

Deno.test("a subscriber that was cut resumes without loss", async () => {
  await using server = await serveHere("--max-queue", "64KiB", "--history", "1000");
  const slow = new LineReader(await fetch(`${server.url}/subscribe?name=x`));
  const data = "a".repeat(60_000);
  let seq = 0;
  while (server.hub.subscribers("x") === 1) {
    ({ seq } = await publish(server, "x", data));
    assert(seq < 1000, "it should have been cut by now");
  }
  let got = 0;
  try {
    for (let line = await slow.next(); line !== undefined; line = await slow.next()) {
      assertEquals(line, msg("x", ++got, data));
    }
  } catch {
    // The end of a stream that was cut is an error, so that nobody takes it for the whole.
  }
  assert(got < seq, "nothing was cut");
  await using again = await subscribe(server, `name=x&seq=${got}&limit=${seq - got}`);
  for (let next = got + 1; next <= seq; next++) {
    assertEquals(await again.next(), msg("x", next, data));
  }
  assertEquals(await again.next(), undefined);
});
