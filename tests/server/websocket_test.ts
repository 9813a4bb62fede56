import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ask, errorCode, msg, publish, publishUntilCut, subscribe } from "../support/http.ts";
import { RawConnection, requestHead, sendRaw, UPGRADE } from "../support/raw.ts";
import { metric, serveHere } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const V1 = "river.v1";

function pub(channel: string, data: string, id?: string): string {
  return JSON.stringify(["pub", { channel, data, id }]);
}

function sub(channel: string, seq?: string | number): string {
  return JSON.stringify(["sub", { channel, seq }]);
}

function open(channel: string, cursor: string): string {
  return `["open", {"channel": "${channel}", "cursor": "${cursor}"}]`;
}

function ack(id: string, channel: string, seq: number): string {
  return `["ack", {"id": "${id}", "channel": "${channel}", "seq": ${seq}}]`;
}

Deno.test("a plain socket publishes each frame and gets each message as one", async () => {
  await using server = await serveHere();
  await using one = await openPlain(server, "x");
  await using two = await openPlain(server, "x");
  await using stream = await subscribe(server, "name=x");
  assertEquals(one.socket.protocol, "");
  one.send("a\nb");
  for (const reader of [one, two]) assertEquals(await reader.frame(), msg("x", 1, "a\nb"));
  two.send("");
  for (const reader of [one, two]) assertEquals(await reader.frame(), msg("x", 2, ""));
  assertEquals(await stream.take(2), [msg("x", 1, "a\nb"), msg("x", 2, "")]);
});

Deno.test("a plain socket with format=raw gets the data of each message as a frame, and no gap", async () => {
  await using server = await serveHere("--history", "2");
  for (const data of ["a", "b\nc", "d"]) await publish(server, "x", data);
  await using reader = await openSocket(server, "name=x&format=raw&seq=0");
  await using lines = await openSocket(server, "name=x&seq=0");
  assertEquals([await reader.frame(), await reader.frame()], ["b\nc", "d"]);
  reader.send("<b>é</b>");
  assertEquals(await reader.frame(), "<b>é</b>");
  assertStringIncludes(await lines.frame(), '["gap", ');
  await lines.take(2);
  assertEquals(await lines.frame(), msg("x", 4, "<b>é</b>"));
});

Deno.test("a plain socket replays from seq, after a gap", async () => {
  await using server = await serveHere("--history", "2");
  let epoch = "";
  for (const data of ["a", "b", "c"]) ({ epoch } = await publish(server, "x", data));
  await using socket = await openSocket(server, "name=x&seq=0");
  const gap =
    `["gap", {"channel": "x", "from": 1, "to": 1, "epoch": "${epoch}", "reason": "evicted"}]`;
  for (const line of [gap, msg("x", 2, "b"), msg("x", 3, "c")]) {
    assertEquals(await socket.frame(), line);
  }
});

Deno.test("a plain socket has one channel", async () => {
  await using server = await serveHere();
  const answer = await sendRaw(server, "GET /websocket?name=x&name=y HTTP/1.1", UPGRADE);
  assertEquals([answer.status, errorCode(answer)], [400, "duplicate_parameter"]);
});

Deno.test("river.v1 subscribes, publishes, acknowledges and unsubscribes", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "", V1);
  assertEquals(socket.socket.protocol, V1);
  socket.send(sub("a"));
  const opened = await socket.line();
  assertMatch(opened, /^\["open", \{"channel": "a", "cursor": "[0-9a-z]+-0"\}\]$/);
  socket.send(pub("a", "one", "7"), pub("a", "two"));
  assertEquals((await socket.take(3)).sort(), [
    ack("7", "a", 1),
    msg("a", 1, "one"),
    msg("a", 2, "two"),
  ]);
  socket.send('["unsub", {"channel": "a"}]', pub("a", "three", "8"));
  assertEquals(await socket.line(), ack("8", "a", 3));
  assertEquals(server.hub.subscribers("a"), 0);
  await publish(server, "a", "four");
  socket.send(pub("b", "five", "9"));
  assertEquals(await socket.line(), ack("9", "b", 1));
});

Deno.test("river.v1 takes the channels of the address, with positions", async () => {
  await using server = await serveHere();
  const { epoch } = await publish(server, "a", "a1");
  await publish(server, "b", "b1");
  await using socket = await openSocket(server, `name=a&name=b&seq=${epoch}-1,0`, V1);
  assertEquals(await socket.take(3), [
    open("a", `${epoch}-1`),
    open("b", `${epoch}-0`),
    msg("b", 1, "b1"),
  ]);
});

Deno.test("river.v1 resumes from a position, and says what was lost", async () => {
  await using server = await serveHere("--history", "2");
  let epoch = "";
  for (const data of ["a", "b", "c"]) ({ epoch } = await publish(server, "x", data));
  await using socket = await openSocket(server, "", V1);
  socket.send(sub("x", `${epoch}-0`), sub("y", 5));
  const lines = await socket.take(6);
  assertEquals(lines.slice(0, 4), [
    open("x", `${epoch}-0`),
    `["gap", {"channel": "x", "from": 1, "to": 1, "epoch": "${epoch}", "reason": "evicted"}]`,
    msg("x", 2, "b"),
    msg("x", 3, "c"),
  ]);
  assertStringIncludes(lines[4], '["open", {"channel": "y", "cursor": "');
  assertStringIncludes(lines[5], '["gap", {"channel": "y", "from": 6, "to": 0, ');
});

Deno.test("river.v1 puts many messages into one frame", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "name=x&seq=0", V1);
  await socket.frame();
  const data = Array.from({ length: 50 }, (_, i) => `m${i + 1}`);
  socket.send(...data.map((text) => pub("x", text)));
  const frames: string[] = [];
  const all = data.map((text, i) => msg("x", i + 1, text)).join("\n");
  while (frames.join("\n").length < all.length) frames.push(await socket.frame());
  assertEquals(frames.join("\n"), all);
  // One, unless the machine is so slow that the sockets' share of a turn is over.
  assert(frames.length < 5, `${frames.length} frames`);
});

const ERRORS: [what: string, line: string, code: string, context: Record<string, string>][] = [
  ["no JSON", "hello", "bad_command", {}],
  ["no list", '{"pub": 1}', "bad_command", {}],
  ["a list of one", '["sub"]', "bad_command", {}],
  ["no object", '["sub", "a"]', "bad_command", {}],
  ["null", '["sub", null]', "bad_command", {}],
  ["an unknown command", '["fly", {"channel": "a"}]', "unknown_command", { channel: "a" }],
  ["__proto__ for a command", '["__proto__", {}]', "unknown_command", {}],
  ["sub without a channel", '["sub", {}]', "missing_parameter", {}],
  ["sub with an empty channel", sub(""), "bad_parameter", { channel: "" }],
  ["sub with a number", '["sub", {"channel": 1}]', "bad_parameter", {}],
  ["sub with a control character", sub("a\u0007"), "bad_parameter", { channel: "a\u0007" }],
  ["sub with a long channel", sub("a".repeat(256)), "bad_parameter", { channel: "a".repeat(256) }],
  ["sub from no position", sub("a", "abc"), "bad_parameter", { channel: "a" }],
  ["sub from a negative position", sub("a", -1), "bad_parameter", { channel: "a" }],
  ["sub from beyond 2^53", sub("a", "9007199254740992"), "bad_parameter", { channel: "a" }],
  ["sub twice", sub("here"), "already_subscribed", { channel: "here" }],
  ["unsub of a channel not subscribed to", '["unsub", {"channel": "a"}]', "not_subscribed", {
    channel: "a",
  }],
  ["pub without data", '["pub", {"channel": "a", "id": "1"}]', "missing_parameter", {
    id: "1",
    channel: "a",
  }],
  ["pub of a number", '["pub", {"channel": "a", "data": 1}]', "bad_parameter", { channel: "a" }],
  ["pub without a channel", '["pub", {"data": "a", "id": "1"}]', "missing_parameter", { id: "1" }],
  [
    "pub of half a surrogate pair",
    '["pub", {"channel": "a", "data": "\\ud800"}]',
    "bad_parameter",
    { channel: "a" },
  ],
];

for (const [what, line, code, expected] of ERRORS) {
  Deno.test(`river.v1 answers ${what} with an error, and the socket lives`, async () => {
    await using server = await serveHere();
    await using socket = await openSocket(server, "name=here", V1);
    await socket.line();
    socket.send(line, pub("here", "alive", "z"));
    const [error, acked, message] = await socket.take(3);
    const [kind, { code: got, message: _message, ...context }] = JSON.parse(error);
    assertEquals([kind, got, context], ["error", code, expected]);
    assertEquals([acked, message], [ack("z", "here", 1), msg("here", 1, "alive")]);
    assertEquals(server.engine.usage().messages, 1);
    assertEquals(server.errors, []);
  });
}

Deno.test("--max-channels-per-client: one more is refused, the socket lives", async () => {
  await using server = await serveHere("--max-channels-per-client", "2");
  await using socket = await openSocket(server, "", V1);
  socket.send(sub("a"), sub("b"), sub("c"));
  const kinds = (await socket.take(3)).map((line) => JSON.parse(line)[0]).sort();
  assertEquals(kinds, ["error", "open", "open"]);
  assertEquals(server.hub.subscribers("c"), 0);
  socket.send('["unsub", {"channel": "a"}]', sub("c"));
  assertStringIncludes(await socket.line(), '["open", {"channel": "c", ');
});

Deno.test("--max-channels: river.v1 is told, a plain socket is closed with 1013", async () => {
  await using server = await serveHere("--max-channels", "1");
  await publish(server, "a", "a");
  await using socket = await openSocket(server, "", V1);
  socket.send(sub("b"));
  await socket.line();
  for (const line of [sub("c"), pub("b", "no")]) {
    socket.send(line);
    assertStringIncludes(await socket.line(), '["error", {"code": "too_many_channels", ');
  }
  const plain = await openSocket(server, "name=c");
  assertEquals((await plain.closed).code, 1013);
  const publisher = await openSocket(server, "name=b");
  publisher.send("no");
  assertEquals((await publisher.closed).code, 1013);
  socket.send(pub("a", "yes", "1"));
  assertEquals(await socket.line(), ack("1", "a", 2));
});

Deno.test("--heartbeat of months: a socket lives longer than a moment", async () => {
  await using server = await serveHere("--heartbeat", "8000h");
  await using socket = await openSocket(server, "name=x");
  for (let seq = 1; seq <= 100; seq++) {
    await publish(server, "x", "a");
    assertEquals(await socket.line(), msg("x", seq, "a"));
  }
});

const TOO_LARGE: [what: string, protocol: string | undefined, frame: string][] = [
  ["a plain frame over --max-message", undefined, "a".repeat(101)],
  ["a plain frame over --max-body", undefined, "a".repeat(1001)],
  ["a plain frame over --max-message in bytes only", undefined, "ä".repeat(51)],
  ["river.v1 data over --max-message", V1, pub("x", "a".repeat(101))],
  ["a river.v1 frame over --max-body", V1, Array(50).fill(pub("x", "a")).join("\n")],
];

for (const [what, protocol, frame] of TOO_LARGE) {
  Deno.test(`${what} closes the socket with 1009`, async () => {
    await using server = await serveHere("--max-message", "100", "--max-body", "1000");
    const socket = await openSocket(server, "name=x", protocol);
    socket.send(frame);
    const { code, reason } = await socket.closed;
    assertEquals(code, 1009);
    assertMatch(reason, /may have at most 100(?:0)? bytes$/);
    assertEquals(server.engine.usage().messages, 0);
    assertEquals((await publish(server, "x", "alive")).seq, 1);
  });
}

for (const protocol of [undefined, V1]) {
  const kind = protocol ?? "plain";

  Deno.test(`a binary frame closes a ${kind} socket with 1003`, async () => {
    await using server = await serveHere();
    const socket = await openSocket(server, "name=x", protocol);
    socket.socket.send(new TextEncoder().encode("a"));
    assertEquals((await socket.closed).code, 1003);
    assertEquals(server.engine.usage().messages, 0);
    assertEquals((await publish(server, "x", "alive")).seq, 1);
  });

  Deno.test(`--client-timeout closes a ${kind} socket, which can resume`, async () => {
    await using server = await serveHere("--client-timeout", "200ms");
    const socket = await openSocket(server, "name=x", protocol);
    assertEquals(await socket.closed, {
      code: 1000,
      reason: "client timeout: reconnect and resume",
    });
    await until(() => server.hub.size === 0);
  });

  Deno.test(`--max-queue: a ${kind} socket that is not read is closed with 3008, others get everything`, async () => {
    await using server = await serveHere("--max-queue", "64KiB", "--history", "0");
    using slow = await RawConnection.open(server);
    const headers = { ...UPGRADE, ...(protocol && { "Sec-WebSocket-Protocol": protocol }) };
    await slow.write(requestHead("GET /websocket?name=x HTTP/1.1", headers));
    await until(() => server.hub.subscribers("x") === 1);
    await using fast = await subscribe(server, "name=x");
    await publishUntilCut(server, fast);
    // Now that it is read, what was sent before comes out, then the close frame: its opcode and
    // length, the code 3008, the reason.
    assertEquals((await slow.response()).status, 101);
    const reason = "too slow: reconnect and resume";
    const close = `\x88${String.fromCharCode(2 + reason.length)}\x0b\xc0${reason}`;
    assert((await slow.until(reason)).endsWith(close));
  });
}

Deno.test("river.v1 gets an empty frame as a heartbeat", async () => {
  await using server = await serveHere("--heartbeat", "100ms");
  await using socket = await openSocket(server, "", V1);
  assertEquals([await socket.frame(), await socket.frame()], ["", ""]);
});

Deno.test("--publish-key: a plain socket without it may listen, but is closed with 1008 when it publishes", async () => {
  await using server = await serveHere("--publish-key", "k");
  await using holder = await openPlain(server, "x", "&token=k");
  const listener = await openPlain(server, "x");
  holder.send("a");
  assertEquals(await listener.frame(), msg("x", 1, "a"));
  listener.send("b");
  assertEquals((await listener.closed).code, 1008);
  assertEquals(server.engine.usage().messages, 1);
});

Deno.test("--publish-key: river.v1 without it gets an error, and the socket lives", async () => {
  await using server = await serveHere("--publish-key", "k");
  await using socket = await openSocket(server, "name=x", V1);
  await socket.line();
  socket.send(pub("x", "a", "1"));
  assertStringIncludes(await socket.line(), '["error", {"code": "missing_token", ');
  await ask(`${server.url}/publish?name=x&data=b&token=k`);
  assertEquals(await socket.line(), msg("x", 1, "b"));
});

Deno.test("a socket that was counted as lost, but closes after all, is no longer counted", async () => {
  // Lost is a socket whose state says for a whole heartbeat that it is still opening.
  const { upgradeWebSocket } = Deno;
  Deno.upgradeWebSocket = (...args) => {
    const upgrade = upgradeWebSocket(...args);
    const state = { value: WebSocket.CONNECTING, configurable: true };
    Object.defineProperty(upgrade.socket, "readyState", state);
    return upgrade;
  };
  try {
    await using server = await serveHere("--heartbeat", "100ms");
    const socket = await openSocket(server, "name=x");
    await until(() => server.hub.subscribers("x") === 1);
    await until(() => server.hub.size === 0);
    await socket[Symbol.asyncDispose]();
    await until(async () => await metric(server, "river_connections") === 0);
    assertEquals(await metric(server, "river_connections_lost"), 0);
  } finally {
    Deno.upgradeWebSocket = upgradeWebSocket;
  }
});

Deno.test("a position that cannot be parsed is refused before the upgrade", async () => {
  await using server = await serveHere();
  const answer = await sendRaw(server, "GET /websocket?name=x&seq=abc HTTP/1.1", UPGRADE);
  assertEquals([answer.status, errorCode(answer)], [400, "bad_parameter"]);
});

/** A frame of nearly 1 MiB: so many that it takes longer than the sockets' part of a turn. */
const LINES = 20_000;
const LONG = Array.from({ length: LINES }, (_, i) => pub("x", "", String(i + 1)));

Deno.test("river.v1: a frame of 20,000 lines is carried out in parts, in order, and each is acknowledged", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "", V1);
  await using other = await openSocket(server, "", V1);
  socket.send(...LONG);
  other.send(pub("y", "", "mine"));
  const acks: string[] = [];
  let frames = 0;
  for (; acks.length < LINES; frames++) acks.push(...(await socket.frame()).split("\n"));
  assert(frames >= 2, "all of it came in one part");
  assertEquals(acks, LONG.map((_, i) => ack(String(i + 1), "x", i + 1)));
  assertEquals(await other.line(), ack("mine", "y", 1));
  assertEquals(server.errors, []);
});

Deno.test("river.v1: what is sent behind a long frame is carried out behind it", async () => {
  await using server = await serveHere();
  await using socket = await openSocket(server, "", V1);
  socket.send(...LONG);
  for (let i = 1; i <= 5000; i++) socket.send(pub("x", "", String(LINES + i)));
  for (let i = 1; i <= LINES + 5000; i++) {
    assertEquals(await socket.line(), ack(String(i), "x", i));
  }
});

Deno.test("10,000 frames that several sockets send at once are all published, and wait in inboxes meanwhile", async () => {
  await using server = await serveHere();
  const sockets = await Promise.all(
    Array.from({ length: 5 }, (_, i) => openSocket(server, `name=${i}`)),
  );
  // Whether a look at the metric falls into the time of a burst is chance: there are several bursts.
  let most = 0;
  let last = 0;
  while (most === 0) {
    assert(last < 100_000, "nothing was ever seen waiting");
    for (const { socket } of sockets) for (let i = 0; i < 10_000; i++) socket.send("a");
    const looks = Array.from({ length: 20 }, () => metric(server, "river_inbox_bytes"));
    for (const [i, socket] of sockets.entries()) {
      for (let seq = last + 1; seq <= last + 10_000; seq++) {
        assertEquals(await socket.frame(), msg(String(i), seq, "a"));
      }
    }
    most = Math.max(...await Promise.all(looks));
    last += 10_000;
  }
  for (const socket of sockets) await socket[Symbol.asyncDispose]();
  assertEquals(await metric(server, "river_inbox_bytes"), 0);
});

/** Resolves when all that has been published is flushed: the pacer may wait a few milliseconds. */
async function flushed(server: { url: string }): Promise<void> {
  await using reader = await subscribe(server, "name=flushed");
  await publish(server, "flushed", "");
  await reader.next();
}

for (const [kind, protocol] of [["plain", undefined], [V1, V1]]) {
  Deno.test(`what a ${kind} socket sent before it closed is carried out, and then it is gone`, async () => {
    await using server = await serveHere();
    const socket = await openSocket(server, "name=x", protocol);
    const count = protocol ? LINES + 5000 : 10_000;
    if (protocol) socket.send(...LONG);
    for (let i = protocol ? LINES : 0; i < count; i++) socket.send(protocol ? pub("x", "") : "");
    await socket[Symbol.asyncDispose]();
    await until(() => server.hub.size === 0);
    assertEquals((await server.engine.info("x"))?.seq, count);
    await flushed(server);
  });
}

Deno.test("river.v1: when it is closed here, what was acknowledged is published, and nothing else", async () => {
  await using server = await serveHere("--max-queue", "1GiB");
  const socket = await openSocket(server, "", V1);
  for (let i = 0; i < 4; i++) socket.send(...LONG);
  let acks = (await socket.frame()).split("\n").length;
  server.hub.drain();
  assertEquals((await socket.closed).code, 1001);
  const { published } = server.engine.usage();
  for (; acks < published;) acks += (await socket.frame()).split("\n").length;
  assert(published < 4 * LINES, "everything was carried out before the end");
  assertEquals(acks, published);
  await until(async () => await metric(server, "river_connections") === 0);
  assertEquals(server.engine.usage().published, published);
});

for (const size of ["4KiB", "64KiB", "128KiB"]) {
  Deno.test(`--max-queue ${size}: a plain socket that reads gets all of one large publish`, async () => {
    await using server = await serveHere("--max-queue", size);
    await using reader = await openPlain(server, "x");
    const body = '{"name":"x","data":"a"}\n'.repeat(1000);
    const headers = { "Content-Type": "application/x-ndjson" };
    await ask(`${server.url}/publish`, { method: "POST", body, headers });
    assertEquals((await reader.take(1000)).at(-1), msg("x", 1000, "a"));
  });
}

Deno.test("--max-inbox: a socket with more waiting is closed with 1013, others go on", async () => {
  await using server = await serveHere("--max-inbox", "1KiB", "--max-body", "8MiB");
  await using other = await openSocket(server, "", V1);
  const socket = await openSocket(server, "", V1);
  socket.send(...LONG, ...LONG, ...LONG, ...LONG);
  // The last one: a client that keeps sending may miss the close.
  socket.send(pub("x", "too much"));
  other.send(pub("y", "", "mine"));
  const { code, reason } = await socket.closed;
  assertEquals([code, reason], [
    1013,
    "sending faster than frames can be carried out (--max-inbox)",
  ]);
  assert(server.engine.usage().published < 4 * LINES);
  assertEquals(await other.line(), ack("mine", "y", 1));
  assertEquals(await metric(server, 'river_disconnections_total{reason="refused"}'), 1);
});

Deno.test("--publish-rate counts the lines of a frame that is carried out in parts", async () => {
  await using server = await serveHere("--publish-rate", "9200");
  await using socket = await openSocket(server, "", V1);
  const started = performance.now();
  const sent = LONG.slice(0, 10_000);
  socket.send(...sent);
  const answers = await socket.take(sent.length);
  const acks = answers.filter((line) => line.startsWith('["ack"')).length;
  const most = 9200 + 9.2 * (performance.now() - started);
  assert(acks >= 9200 && acks <= most + 1, `${acks} of at most ${most}`);
  assertEquals(
    answers.length - acks,
    answers.filter((line) => /too_many_requests/.test(line)).length,
  );
  assertEquals(server.engine.usage().published, acks);
});

Deno.test("a handshake whose Connection header is mostly blanks is answered as fast as any", async () => {
  await using server = await serveHere();
  const answered = async (blanks: number) => {
    const start = performance.now();
    const connection = `Upgrade, x${" ".repeat(blanks)}y`;
    const headers = { ...UPGRADE, "Connection": connection, "Sec-WebSocket-Key": "none" };
    const answer = await sendRaw(server, "GET /websocket?name=x HTTP/1.1", headers);
    assertEquals([answer.status, errorCode(answer)], [400, "bad_websocket_key"]);
    return performance.now() - start;
  };
  await answered(0);
  const ms = await answered(60_000);
  assert(ms < 500, `it took ${ms} ms`);
});
