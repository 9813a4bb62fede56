/**
 * HTTP as only an attacker writes it, sent by hand to a server in a process of its own. Whatever
 * comes, the server is alive afterwards, and nothing was published that should not have been.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ask, msg, publish, subscribe } from "../support/http.ts";
import { RawConnection, requestHead, UPGRADE } from "../support/raw.ts";
import { memoryOf, type ServerProcess, spawnServer, subscriberCount } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const MiB = 2 ** 20;

const POST = "POST /publish?name=x HTTP/1.1\r\nHost: x\r\n";
const GET = "GET /publish?name=x&data=abc HTTP/1.1\r\n";
/** A second request, which a server that takes one length for another finds in the first. */
const SECOND = "GET /publish?name=smuggled&data=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const NO_BODY = "0\r\n\r\n";
/** The body `abc` in a chunk. */
const CHUNKS = "3\r\nabc\r\n" + NO_BODY;

/** Milliseconds after which an answer that should be there at once is held to hang. */
const HANGS = 20_000;

/** Sends this, a byte a character, and gives the status of every answer until the end. */
async function statuses(server: ServerProcess, text: string): Promise<number[]> {
  using connection = await RawConnection.open(server);
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  // The server may have hung up before it has everything.
  await connection.write(bytes).catch(() => {});
  const answers = await deadline(connection.rest(), HANGS).catch(() => {
    throw new Error(`no end after ${JSON.stringify(text.slice(0, 200))}`);
  });
  return [...answers.matchAll(/HTTP\/1\.1 ([0-9]{3}) /g)].map(([, status]) => Number(status));
}

/** Rejects if a promise is not settled within so many milliseconds. */
async function deadline<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** How many messages each channel got. */
async function published(server: ServerProcess): Promise<Record<string, number>> {
  const { channels } = JSON.parse((await ask(`${server.url}/channels`)).text);
  return Object.fromEntries(
    channels.map(({ channel, seq }: { channel: string; seq: number }) => [channel, seq]),
  );
}

/** A client that comes now can subscribe and publish. */
async function assertAlive(server: ServerProcess): Promise<void> {
  await using lines = await subscribe(server, "name=alive");
  const { seq } = await publish(server, "alive", "yes");
  assertEquals(await lines.next(), msg("alive", seq, "yes"));
}

/** Fails if `attack` makes the server take more than `limit` more memory at any time. */
async function assertBounded(
  server: ServerProcess,
  limit: number,
  attack: () => Promise<void>,
): Promise<void> {
  const before = await memoryOf(server, "VmRSS");
  await attack();
  const grown = await memoryOf(server, "VmHWM") - before;
  assert(grown < limit, `${Math.round(grown / MiB)} MiB more`);
}

/**
 * Writes until so many bytes are out, the server hangs up, or it has not read anything for half a
 * second; gives how many it was. The connection is closed.
 */
async function pour(connection: RawConnection, total: number): Promise<number> {
  const piece = new Uint8Array(MiB).fill(97);
  let poured = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  while (poured < total) {
    const written = connection.write(piece).then(() => true, () => false);
    const stalled = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), 500);
    });
    const more = await Promise.race([written, stalled]);
    clearTimeout(timer);
    if (!more) {
      connection[Symbol.dispose]();
      await written;
      return poured;
    }
    poured += piece.length;
  }
  connection[Symbol.dispose]();
  return poured;
}

// Row 1: a head that two servers may read as different requests.

const AMBIGUOUS: [what: string, request: string][] = [
  [
    "a length and chunks",
    `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    "chunks and a length",
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  ],
  ["two lengths", `${POST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`],
  ["a list of lengths", `${POST}Content-Length: 3, 3\r\n\r\nabc`],
  ["a length with a sign", `${POST}Content-Length: +3\r\n\r\nabc`],
  ["a negative length", `${POST}Content-Length: -3\r\n\r\nabc`],
  ["a hexadecimal length", `${POST}Content-Length: 0x3\r\n\r\nabc`],
  ["a length beyond 2^64", `${POST}Content-Length: 99999999999999999999\r\n\r\nabc`],
  ["an empty length", `${POST}Content-Length: \r\n\r\nabc`],
  ["a space before the colon", `${POST}Content-Length : 3\r\n\r\nabc`],
  ["an unknown encoding", `${POST}Transfer-Encoding: xchunked\r\n\r\n${NO_BODY}`],
  ["no encoding", `${POST}Transfer-Encoding: identity\r\n\r\n`],
  ["chunks inside of gzip", `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n${NO_BODY}`],
  [
    "chunks twice",
    `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n${NO_BODY}`,
  ],
  [
    "chunks in HTTP/1.0",
    `POST /publish?name=x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n${NO_BODY}`,
  ],
  ["a folded header", `${GET}Host: x\r\nX-A: b\r\n c\r\n\r\n`],
  ["a folded encoding", `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n${NO_BODY}`],
  ["NUL in a header", `${GET}Host: x\r\nX-A: b\0c\r\n\r\n`],
  ["NUL in a header's name", `${GET}Host: x\r\nX\0A: b\r\n\r\n`],
  ["CR in a header", `${POST}X-A: b\rContent-Length: 3\r\n\r\nabc`],
  ["a header without a colon", `${GET}Host: x\r\nNothing\r\n\r\n`],
  ["a space in the target", "GET /publish?name=x&data=a b HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a byte that is not ASCII in the target", "GET /publish?name=x&data=\xff HTTP/1.1\r\n\r\n"],
  ["HTTP/0.9", "GET /publish?name=x&data=abc\r\n\r\n"],
  ["HTTP/1.2", "GET /publish?name=x&data=abc HTTP/1.2\r\nHost: x\r\n\r\n"],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
];

Deno.test("a head that can be read in two ways gets 400 and the end, and nothing after it is read", async () => {
  await using server = await spawnServer();
  for (const [what, request] of AMBIGUOUS) {
    assertEquals(await statuses(server, request + SECOND), [400], what);
    assertEquals(await published(server), {}, what);
  }
  await assertAlive(server);
});

Deno.test("a length given twice is refused, and is not a way around --max-body", async () => {
  await using server = await spawnServer();
  const twice = (length: number) =>
    `${POST}Content-Length: ${length}\r\n`.repeat(1) +
    `Content-Length: ${length}\r\n\r\n`;
  // Both lengths say where the second request begins: it is a request of its own.
  assertEquals(await statuses(server, `${twice(3)}abc${SECOND}`), [400, 200]);
  assertEquals(await published(server), { smuggled: 1 });
  await assertBounded(server, 64 * MiB, async () => {
    const connection = await RawConnection.open(server);
    await connection.write(twice(256 * MiB));
    assertEquals((await connection.response()).status, 400);
    await pour(connection, 256 * MiB);
  });
  await assertAlive(server);
});

const BAD_CHUNKS: [what: string, chunks: string][] = [
  ["a size that is not a number", "zz\r\nabc\r\n0\r\n\r\n"],
  ["a negative size", "-3\r\nabc\r\n0\r\n\r\n"],
  ["a size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"],
  ["no size", "\r\nabc\r\n0\r\n\r\n"],
  ["a size beyond 2^64", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"],
  ["a size that wraps around 2^64 to 3", "10000000000000003\r\nabc\r\n0\r\n\r\n"],
  ["a size too small", "2\r\nabc\r\n0\r\n\r\n"],
  ["line ends without CR", "3\nabc\n0\n\n"],
  ["LF in an extension", "3;\nxx\r\nabc\r\n0\r\n\r\n"],
  ["an extension of 70,000 characters", `3;${"a".repeat(70_000)}\r\nabc\r\n0\r\n\r\n`],
];

Deno.test("bad chunks end the connection: nothing is published, nothing after them is read", async () => {
  await using server = await spawnServer();
  for (const [what, chunks] of BAD_CHUNKS) {
    const answers = await statuses(
      server,
      `${POST}Transfer-Encoding: chunked\r\n\r\n${chunks}${SECOND}`,
    );
    // The connection may end before the answer is out.
    assert(answers.length <= 1 && answers.every((status) => status === 400), `${what}: ${answers}`);
    assertEquals(await published(server), {}, what);
  }
  await assertAlive(server);
});

const UNUSUAL: [what: string, request: string][] = [
  ["a chunk extension", `${POST}Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n`],
  [
    "a trailer that says it is a length",
    `${POST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 99\r\n\r\n`,
  ],
  ["a tab before the encoding", `${POST}Transfer-Encoding:\tchunked\r\n\r\n${CHUNKS}`],
  ["zeros before the length", `${POST}Content-Length: 003\r\n\r\nabc`],
  ["a space before the size", `${POST}Transfer-Encoding: chunked\r\n\r\n ${CHUNKS}`],
  ["zeros before the size", `${POST}Transfer-Encoding: chunked\r\n\r\n000${CHUNKS}`],
  ["line ends without CR", "GET /publish?name=x&data=abc HTTP/1.1\nHost: x\n\n"],
];

Deno.test("what is unusual but clear is read as it is meant", async () => {
  await using server = await spawnServer();
  for (const [what, request] of UNUSUAL) {
    assertEquals(await statuses(server, request + SECOND), [200, 200], what);
  }
  const count = UNUSUAL.length;
  assertEquals(await published(server), { x: count, smuggled: count });
  const { text } = await ask(`${server.url}/subscribe?name=x&seq=0&limit=${count}`);
  assertEquals(text, UNUSUAL.map((_, i) => msg("x", i + 1, "abc") + "\n").join(""));
  await assertAlive(server);
});

// Row 2: a request in the body of another.

const CLOSE = "Connection: close\r\n";
const LENGTH = `Content-Length: ${SECOND.length}\r\n\r\n${SECOND}`;

const CARRIERS: [what: string, request: string, status: number][] = [
  ["a text", `${POST}${CLOSE}Content-Type: text/plain\r\n${LENGTH}`, 200],
  [
    "chunks",
    `${POST}${CLOSE}Transfer-Encoding: chunked\r\n\r\n` +
    `${SECOND.length.toString(16)}\r\n${SECOND}\r\n${NO_BODY}`,
    200,
  ],
  ["the body of a GET", `${GET}Host: x\r\n${CLOSE}${LENGTH}`, 200],
  [
    "a form",
    `POST /publish HTTP/1.1\r\nHost: x\r\n${CLOSE}Content-Type: application/x-www-form-urlencoded\r\n${LENGTH}`,
    400,
  ],
  ["JSON", `${POST}${CLOSE}Content-Type: application/json\r\n${LENGTH}`, 400],
  ["a body that nobody reads", `POST /nothing HTTP/1.1\r\nHost: x\r\n${CLOSE}${LENGTH}`, 404],
  ["a refused body", `PUT /publish?name=x HTTP/1.1\r\nHost: x\r\n${CLOSE}${LENGTH}`, 405],
];

Deno.test("a request in the body of another is data: at most one publish", async () => {
  await using server = await spawnServer();
  let count = 0;
  for (const [what, request, status] of CARRIERS) {
    assertEquals(await statuses(server, request), [status], what);
    if (status === 200) count++;
    assertEquals(await published(server), { x: count }, what);
  }
  assertEquals(count, 3);
  await assertAlive(server);
});

Deno.test("a body that was not read does not become the next request of a kept connection", async () => {
  await using server = await spawnServer();
  const inner = SECOND.replace("Connection: close\r\n", "");
  for (const line of ["GET /healthz", "POST /nothing", "PUT /publish?name=x", "POST /healthz"]) {
    const head = `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: ${inner.length}\r\n\r\n`;
    const last = `GET /publish?name=last&data=1 HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`;
    const answers = await statuses(server, head + inner + last);
    // Either the body is skipped, or the connection ends.
    assert(answers.length === 1 || answers.length === 2, `${line}: ${answers}`);
    assert(!("smuggled" in await published(server)), line);
  }
  await assertAlive(server);
});

// Row 3: hosts.

const HOSTS: [what: string, fields: string, status: number][] = [
  ["none", "", 200],
  ["an empty one", "Host:\r\n", 200],
  ["one without a name", "Host: :80\r\n", 200],
  ["one with a port beyond 65535", "Host: x:99999999\r\n", 200],
  ["an IPv6 address", "Host: [::1]:80\r\n", 200],
  ["two", "Host: a\r\nHost: b\r\n", 400],
  ["two equal ones", "Host: a\r\nHost: a\r\n", 400],
  ["one with spaces", "Host: a b\r\n", 400],
  ["one with a user", "Host: u@a\r\n", 400],
  ["a list", "Host: a, b/c\r\n", 400],
  ["bytes that are not text", "Host: \xff\xfe\r\n", 400],
  ["one of 10,000 characters and a slash", `Host: ${"a".repeat(10_000)}/\r\n`, 400],
  ["a path", "Host: x/publish?name=smuggled&data=1#\r\n", 400],
  ["a path that takes the target for data", "Host: x/publish?name=smuggled&data=\r\n", 400],
  ["a query", "Host: x?name=smuggled&data=1\r\n", 400],
  ["a fragment", "Host: x#\r\n", 400],
  ["a backslash", "Host: x\\publish\r\n", 400],
];

Deno.test("a bad Host is refused, and never leads to another route", async () => {
  await using server = await spawnServer();
  let count = 0;
  for (const [what, fields, status] of HOSTS) {
    assertEquals(await statuses(server, `${GET}${fields}${CLOSE}\r\n`), [status], what);
    if (status === 200) count++;
    const nowhere = await statuses(server, `GET /nothing HTTP/1.1\r\n${fields}${CLOSE}\r\n`);
    assertEquals(nowhere, [status === 200 ? 404 : 400], what);
    assertEquals(await published(server), { x: count }, what);
  }
  await assertAlive(server);
});

// Row 4: heads that are too large.

const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1\r\n`).join("");

const HEADS: [what: string, request: string, status: number][] = [
  ["a header of 64 KiB", `${GET}Host: x\r\nX: ${"a".repeat(65_536)}\r\n${CLOSE}\r\n`, 400],
  ["a target of 64 KiB", `GET /publish?name=x&data=${"a".repeat(65_536)} HTTP/1.1\r\n\r\n`, 400],
  ["a method of 64 KiB", `${"A".repeat(65_536)} / HTTP/1.1\r\n\r\n`, 400],
  ["a megabyte without a line end", "a".repeat(MiB), 400],
  ["129 headers", `${GET}Host: x\r\n${fields(127)}${CLOSE}\r\n`, 400],
  ["10,000 headers", `${GET}Host: x\r\n${fields(10_000)}${CLOSE}\r\n`, 400],
  ["128 headers", `${GET}Host: x\r\n${fields(126)}${CLOSE}\r\n`, 200],
];

Deno.test("a head over 64 KiB or of more than 128 headers gets 400 and the end", async () => {
  await using server = await spawnServer();
  await assertBounded(server, 64 * MiB, async () => {
    for (const [what, request, status] of HEADS) {
      const answers = await statuses(server, request);
      // A reset may overtake the answer when more was sent than the server has read.
      if (request.length > 100_000) assert(answers.every((each) => each === status), what);
      else assertEquals(answers, [status], what);
    }
  });
  assertEquals(await published(server), { x: 1 });
  await assertAlive(server);
});

// Row 6: methods.

Deno.test("other methods on /subscribe get 405 with Allow, and leave no subscriber", async () => {
  await using server = await spawnServer();
  for (const method of ["TRACE", "PUT", "HEAD", "DELETE", "PATCH", "SUBSCRIBE"]) {
    using connection = await RawConnection.open(server);
    await connection.write(
      requestHead(`${method} /subscribe?name=x HTTP/1.1`, { Connection: "close" }),
    );
    const answer = await connection.rest();
    assertStringIncludes(answer, "HTTP/1.1 405 ", method);
    assertStringIncludes(answer.toLowerCase(), "\r\nallow: get, post, options\r\n", method);
    assertEquals(answer.endsWith("\r\n\r\n"), method === "HEAD", "only HEAD has no body");
  }
  // The target of CONNECT is not a path.
  for (
    const [target, status] of [["/subscribe?name=x", 400], ["subscribe", 405], [
      "x:80",
      405,
    ]] as const
  ) {
    const request = requestHead(`CONNECT ${target} HTTP/1.1`, { Connection: "close" });
    assertEquals(await statuses(server, request), [status], target);
  }
  assertEquals([await subscriberCount(server), await published(server)], [0, {}]);
  await assertAlive(server);
});

// Row 7: bodies that are too large.

const TOO_LARGE: [what: string, head: string][] = [
  ["with a length", `${POST}Content-Length: ${64 * MiB}\r\n\r\n`],
  ["in one chunk", `${POST}Transfer-Encoding: chunked\r\n\r\n${(64 * MiB).toString(16)}\r\n`],
  [
    "in one chunk, for a subscription",
    `POST /subscribe?name=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n` +
    `${(64 * MiB).toString(16)}\r\n`,
  ],
];

Deno.test("a body over --max-body gets 413, and memory stays flat", async () => {
  await using server = await spawnServer();
  await assertAlive(server);
  await assertBounded(server, 64 * MiB, async () => {
    for (const [what, head] of TOO_LARGE) {
      // 256 MiB if it were kept, each time.
      await Promise.all(Array.from({ length: 4 }, async () => {
        using connection = await RawConnection.open(server);
        await connection.write(head);
        await connection.write(new Uint8Array(2 * MiB).fill(97)).catch(() => {});
        assertEquals((await connection.response()).status, 413, what);
      }));
      const connections = await Promise.all(
        Array.from({ length: 4 }, () => RawConnection.open(server)),
      );
      await Promise.all(connections.map(async (connection) => {
        await connection.write(head);
        await pour(connection, 64 * MiB);
      }));
    }
  });
  assertEquals(await published(server), { alive: 1 });
  assertEquals(await subscriberCount(server), 0);
  await assertAlive(server);
});

// Row 11: a client that sends where it should listen.

for (
  const [path, upgrade] of [
    ["subscribe?name=x", {}],
    ["subscribe?name=x", UPGRADE],
    ["websocket?name=x", UPGRADE],
  ] as const
) {
  const how = upgrade === UPGRADE ? "an upgrade and a body" : "a body";
  Deno.test(`GET /${path} with ${how} is refused, and 1 GiB of it is not taken in`, async () => {
    await using server = await spawnServer();
    await assertAlive(server);
    await assertBounded(server, 64 * MiB, async () => {
      for (
        const [field, start] of [
          [`Content-Length: ${1024 * MiB}`, ""],
          ["Transfer-Encoding: chunked", "40000000\r\n"],
        ]
      ) {
        const connection = await RawConnection.open(server);
        const [name, value] = field.split(": ");
        const head = requestHead(`GET /${path} HTTP/1.1`, { ...upgrade, [name]: value });
        await connection.write(head + start);
        assertEquals((await connection.response()).status, 400, field);
        await pour(connection, 1024 * MiB);
      }
    });
    const empty = { Host: "x", "Content-Length": "0", Connection: "close" };
    const line = "GET /subscribe?name=x&timeout=0.1 HTTP/1.1";
    assertEquals(await statuses(server, requestHead(line, empty)), [204]);
    assertEquals(await subscriberCount(server), 0);
    await assertAlive(server);
  });
}

// The runtime keeps what comes after a request until it is answered, however long that takes: see
// docs/limits.md. This can only show that the memory is released.
Deno.test("what a subscriber sends after its request is kept no longer than its connection", async () => {
  await using server = await spawnServer(["--heartbeat", "100ms"]);
  for (let i = 0; i < 3; i++) {
    const connection = await RawConnection.open(server);
    await connection.write(requestHead("GET /subscribe?name=x HTTP/1.1"));
    await connection.until("\r\n\r\n");
    await pour(connection, 64 * MiB);
    await until(async () => await subscriberCount(server) === 0);
  }
  assert(await memoryOf(server, "VmRSS") < 256 * MiB, "it keeps more than one of three");
  await assertAlive(server);
});

// Row 10: readers that never read.

/** Readers that take nothing. */
const DEAF = 100;

Deno.test(`${DEAF} readers that never read are cut, memory stays bounded, and others get everything`, async () => {
  await using server = await spawnServer(["--max-queue", "128KiB", "--history", "0"]);
  using deaf = new DisposableStack();
  for (let i = 0; i < DEAF; i++) {
    const connection = deaf.use(await RawConnection.open(server));
    await connection.write(requestHead("GET /subscribe?name=x HTTP/1.1"));
  }
  await using stream = await subscribe(server, "name=x");
  await using socket = await openSocket(server, "name=x", "river.v1");
  await socket.line();
  await until(async () => await subscriberCount(server) === DEAF + 2);
  const data = "a".repeat(60_000);
  await assertBounded(server, 192 * MiB, async () => {
    for (let seq = 1; await subscriberCount(server) > 2; seq++) {
      assert(seq < 500, "they should have been cut by now");
      await publish(server, "x", data);
      const line = msg("x", seq, data);
      assertEquals(await stream.next(), line);
      assertEquals(await socket.line(), line);
    }
  });
  const { text } = await ask(`${server.url}/metrics`);
  assertStringIncludes(text, `river_disconnections_total{reason="slow"} ${DEAF}\n`);
  await assertAlive(server);
});
