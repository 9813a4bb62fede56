import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import {
  BadTokenError,
  LEEWAY_S,
  MAX_PATTERNS,
  mintToken,
  Tokens,
} from "../../lib/access/tokens.ts";
import { close, FrameClient, text } from "../support/frames.ts";
import { ask, errorCode, type LineReader, msg, publish, subscribe } from "../support/http.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { MAIN, RUN, serveHere, spawnServer } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const OLD_SECRET = "fedcba9876543210fedcba9876543210";

const HS256 = { alg: "HS256", typ: "JWT" };

/** Seconds since 1970, so many from now. */
function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function hmac(algorithm: string, secret: string) {
  return (text: string) => createHmac(algorithm, secret).update(text).digest("base64url");
}

/** A token made by hand, as RFC 7515 says. */
function tokenBy(
  signature: (text: string) => string,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = HS256,
): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${signature(text)}`;
}

/** A token of this server that allows these things for an hour. */
function token(river: Record<string, unknown>, claims: Record<string, unknown> = {}): string {
  return tokenBy(hmac("sha256", SECRET), { river, exp: inSeconds(3600), ...claims });
}

const LISTENER = token({ subscribe: ["*"] });

// The library's side.

Deno.test("Tokens.read() reads what a token says", async () => {
  const exp = inSeconds(60);
  const { publish, subscribe, operate, expires } = await new Tokens([SECRET]).read(
    token({ publish: ["a"], subscribe: ["room.*"], operate: true }, { exp }),
  );
  assertEquals([publish.fit("a"), publish.fit("room.1"), publish.fit("b")], [true, false, false]);
  assertEquals([subscribe.fit("a"), subscribe.fit("room.1")], [false, true]);
  assertEquals([operate, expires], [true, (exp + LEEWAY_S) * 1000]);
});

Deno.test("Tokens.read() allows nothing that a token does not say", async () => {
  const { publish, subscribe, operate, expires } = await new Tokens([SECRET])
    .read(token({}, { exp: undefined }));
  assertEquals([publish.fit("a"), subscribe.fit("a")], [false, false]);
  assertEquals([operate, expires], [false, Infinity]);
});

Deno.test("Tokens.read() answers at once for a token that it knows", async () => {
  const tokens = new Tokens([SECRET]);
  const first = await tokens.read(LISTENER);
  assert(tokens.read(LISTENER) === first);
});

Deno.test("Tokens.read() forgets the oldest of very many tokens", async () => {
  const tokens = new Tokens([SECRET]);
  const all = Array.from({ length: 4097 }, (_, i) => token({}, { jti: i }));
  for (const each of all) await tokens.read(each);
  const first = tokens.read(all[0]);
  assert(first instanceof Promise);
  await first;
  assert(!(tokens.read(all[4096]) instanceof Promise));
});

Deno.test("mintToken() makes what Tokens.read() reads", async () => {
  for (const expires of [inSeconds(60) * 1000, Infinity]) {
    const claims = { publish: ["a", "b.*"], subscribe: ["c"], operate: true, expires };
    const rights = await new Tokens([OLD_SECRET, SECRET]).read(await mintToken(SECRET, claims));
    const { publish, subscribe, operate } = rights;
    assertEquals(["a", "b.1", "c"].map((name) => publish.fit(name)), [true, true, false]);
    assertEquals(["a", "b.1", "c"].map((name) => subscribe.fit(name)), [false, false, true]);
    assertEquals([operate, rights.expires], [true, expires + LEEWAY_S * 1000]);
  }
});

Deno.test("mintToken() signs as RFC 7515 says", async () => {
  const minted = await mintToken(SECRET, {
    publish: [],
    subscribe: ["a"],
    operate: false,
    expires: 4_000_000_000_000,
  });
  const river = { publish: [], subscribe: ["a"], operate: false };
  assertEquals(minted, tokenBy(hmac("sha256", SECRET), { river, exp: 4_000_000_000 }));
});

Deno.test("mintToken() makes no token that a server would refuse for its size", async () => {
  const claims = { subscribe: [], operate: false, expires: Infinity };
  const many = Array(MAX_PATTERNS).fill("a");
  await mintToken(SECRET, { ...claims, publish: many });
  for (const publish of [[...many, "a"], ["a".repeat(8192)]]) {
    await assertRejects(
      () => mintToken(SECRET, { ...claims, publish }),
      BadTokenError,
      "the token",
    );
  }
});

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const rsa = (text: string) => sign("sha256", Buffer.from(text), privateKey).toString("base64url");
const ALL = { river: { publish: ["*"], subscribe: ["*"], operate: true } };
const [HEAD, PAYLOAD, SIGNATURE] = LISTENER.split(".");

const BAD: [what: string, token: string, reason: string][] = [
  [
    "is signed with another secret",
    tokenBy(hmac("sha256", OLD_SECRET), ALL),
    "the token is not signed with a secret of this server",
  ],
  ["has another's signature", `${HEAD}.${encode(ALL)}.${SIGNATURE}`, "not signed with a secret"],
  ["has no signature", `${HEAD}.${PAYLOAD}.`, "not signed with a secret"],
  ["has half a signature", LISTENER.slice(0, -20), "not signed with a secret"],
  ["says alg=none", tokenBy(() => "", ALL, { alg: "none" }), "not signed with HS256"],
  ["says alg=none, signed", tokenBy(hmac("sha256", SECRET), ALL, { alg: "none" }), "HS256"],
  ["says alg=NONE", tokenBy(() => "", ALL, { alg: "NONE" }), "HS256"],
  ["is signed with HS512", tokenBy(hmac("sha512", SECRET), ALL, { alg: "HS512" }), "HS256"],
  ["is signed with RS256", tokenBy(rsa, ALL, { alg: "RS256" }), "HS256"],
  ["has no algorithm", tokenBy(hmac("sha256", SECRET), ALL, { typ: "JWT" }), "this is not a token"],
  [
    "has an extension that must be understood",
    tokenBy(hmac("sha256", SECRET), ALL, { ...HS256, crit: ["x"], x: 1 }),
    "this is not a token",
  ],
  ["has expired", token({}, { exp: inSeconds(-60) }), "the token has expired"],
  ["has just expired", token({}, { exp: inSeconds(-LEEWAY_S) }), "the token has expired"],
  ["is not valid yet", token({}, { nbf: inSeconds(60) }), "the token is not valid yet"],
  ["expires at a text", token({}, { exp: "never" }), "a time in the token is not a number"],
  ["begins at a text", token({}, { nbf: "now" }), "a time in the token is not a number"],
  [
    "says nothing",
    tokenBy(hmac("sha256", SECRET), {}),
    'the claim "river" of the token is not an object',
  ],
  [
    "says null",
    tokenBy(hmac("sha256", SECRET), { river: null }),
    'the claim "river" of the token is not an object',
  ],
  [
    "says a text",
    tokenBy(hmac("sha256", SECRET), { river: "*" }),
    'the claim "river" of the token is not an object',
  ],
  [
    "publishes to a text",
    token({ publish: "*" }),
    '"publish" in the token is not a list of strings',
  ],
  ["publishes to numbers", token({ publish: [1] }), '"publish" in the token'],
  ["subscribes to a text", token({ subscribe: "*" }), '"subscribe" in the token'],
  ["subscribes to null", token({ subscribe: null }), '"subscribe" in the token'],
  [
    "lists 1,001 channels",
    token({ publish: Array(500).fill("a"), subscribe: Array(501).fill("a") }),
    "the token lists 1001 channels, but at most 1000 are allowed",
  ],
  ["was made at a text", token({}, { iat: "now" }), "a time in the token is not a number"],
  ["operates as 1", token({ operate: 1 }), '"operate" in the token is not true or false'],
  ["is empty", "", "this is not a token"],
  ["is a word", "secret", "this is not a token"],
  ["is two dots", "..", "this is not a token"],
  ["is no JSON", `${HEAD}.e30.e30.e30`, "this is not a token"],
  ["is long", `${LISTENER}${"a".repeat(8192)}`, "the token has more than 8192 characters"],
  ["holds strange characters", "ä\u2028\0.b.c", "this is not a token"],
];

for (const [what, bad, reason] of BAD) {
  Deno.test(`Tokens.read() refuses a token that ${what}`, async () => {
    const { message } = await assertRejects(
      async () => await new Tokens([OLD_SECRET.toUpperCase(), SECRET]).read(bad),
      BadTokenError,
    );
    assert(message.includes(reason), message);
  });
}

Deno.test("Tokens.read() refuses a token that it knew when it has expired", async () => {
  const tokens = new Tokens([SECRET]);
  const soon = token({}, { exp: inSeconds(1 - LEEWAY_S) });
  const { expires } = await tokens.read(soon);
  await until(() => Date.now() >= expires);
  await assertRejects(async () => await tokens.read(soon), BadTokenError, "expired");
});

// The maker of a token may have another clock.
const CLOCKS: [what: string, claim: string, seconds: number][] = [
  ["begins in 4 s", "nbf", LEEWAY_S - 1],
  ["was made in 4 s", "iat", LEEWAY_S - 1],
  ["was made in an hour", "iat", 3600],
  ["expired 1 s ago", "exp", -1],
];

for (const [what, claim, seconds] of CLOCKS) {
  Deno.test(`Tokens.read() takes a token that ${what}`, async () => {
    const times = { exp: inSeconds(60), [claim]: inSeconds(seconds) };
    const { publish } = await new Tokens([SECRET]).read(token({ publish: ["a"] }, times));
    assert(publish.fit("a"));
  });
}

// From outside.

const GUARDED = [`--token-secret=${SECRET}`];

Deno.test("--token-secret: without a token nothing is let in, but health and pages", async () => {
  await using server = await serveHere(...GUARDED);
  for (
    const path of [
      "publish?name=x&data=a",
      "subscribe?name=x",
      "subscribe?name=x&callback=cb",
      "channels",
      "channels/x",
      "metrics",
    ]
  ) {
    const answer = await ask(`${server.url}/${path}`);
    assertEquals([path, answer.status, errorCode(answer)], [path, 401, "missing_token"]);
    assertEquals(answer.headers.get("www-authenticate"), 'Bearer realm="river"');
  }
  for (const headers of [UPGRADE, { ...UPGRADE, "Sec-WebSocket-Protocol": "river.v1" }]) {
    const query = headers === UPGRADE ? "?name=x" : "";
    const answer = await sendRaw(server, `GET /websocket${query} HTTP/1.1`, headers);
    assertEquals([answer.status, errorCode(answer)], [401, "missing_token"]);
  }
  for (const path of ["healthz", "", "client.js"]) {
    assertEquals((await ask(`${server.url}/${path}`)).status, 200);
  }
  assertEquals([server.hub.size, server.engine.usage().channels], [0, 0]);
  assertEquals(server.errors, []);
});

/** Ways to show a token. */
const WAYS: [
  how: string,
  query: (token: string) => string,
  headers: (token: string) => HeadersInit,
][] = [
  ["a bearer token", () => "", (token) => ({ authorization: `Bearer ${token}` })],
  ["a parameter", (token) => `&token=${token}`, () => ({})],
  ["a cookie", () => "", (token) => ({ cookie: `river_token=${token}` })],
  ["a cookie among others", () => "", (token) => ({ cookie: `a=b; river_token=${token}; c=d` })],
  ["a bearer token beside a bad parameter and cookie", () => "&token=x", (token) => ({
    authorization: `Bearer ${token}`,
    cookie: "river_token=y",
  })],
  ["a parameter beside a bad cookie", (token) => `&token=${token}`, () => ({
    cookie: "river_token=y",
  })],
];

for (const [how, query, headers] of WAYS) {
  Deno.test(`--token-secret: ${how} publishes and subscribes where it says, and nowhere else`, async () => {
    await using server = await serveHere(...GUARDED);
    const may = token({ publish: ["room.*"], subscribe: ["room.*"] });
    const call = (path: string) =>
      ask(`${server.url}/${path}${query(may)}`, {
        // A cookie does not count for a GET that publishes.
        method: path.startsWith("publish") ? "POST" : "GET",
        headers: headers(may),
      });
    // The second time the token is known.
    for (let i = 1; i <= 2; i++) {
      assertEquals(JSON.parse((await call("publish?name=room.1&data=a")).text).seq, i);
      const refused = await call("publish?name=room.1&name=hall&data=a");
      assertEquals([refused.status, errorCode(refused)], [403, "channel_not_allowed"]);
      assertEquals(
        refused.headers.get("www-authenticate"),
        'Bearer realm="river", error="insufficient_scope", ' +
          'error_description="the token does not allow you to publish"',
      );
      assertEquals((await call("subscribe?name=room.1&name=hall&seq=0,0&keep=0")).status, 403);
      assertEquals(
        (await call("subscribe?name=room.1&seq=0&limit=1")).text,
        msg("room.1", 1, "a") + "\n",
      );
      assertEquals((await call("metrics?")).status, 403);
    }
    assertEquals(server.engine.usage(), { ...server.engine.usage(), channels: 1, messages: 2 });
  });
}

for (const protocol of [undefined, "river.v1"]) {
  Deno.test(`--token-secret: a WebSocket (${protocol ?? "plain"}) opens for the channels of its token, and no other`, async () => {
    await using server = await serveHere(...GUARDED);
    const mine = token({ subscribe: ["mine"], publish: ["*"] });
    const headers = { ...UPGRADE, ...(protocol && { "Sec-WebSocket-Protocol": protocol }) };
    const queries = ["name=secret", ...(protocol ? ["name=mine&name=secret"] : [])];
    for (const query of queries) {
      const line = `GET /websocket?${query}&token=${mine} HTTP/1.1`;
      const refused = await sendRaw(server, line, headers);
      assertEquals(refused.status, 403, query);
    }
    assertEquals(server.hub.size, 0);
    await using _socket = await openSocket(server, `name=mine&token=${mine}`, protocol);
    await until(() => server.hub.subscribers("mine") === 1);
  });
}

Deno.test("--token-secret: an operator's token sees channels and metrics, and resets", async () => {
  await using server = await serveHere(...GUARDED);
  const headers = {
    authorization: `Bearer ${token({ operate: true, publish: ["x"] })}`,
  };
  assertEquals((await ask(`${server.url}/publish?name=x&data=a`, { headers })).status, 200);
  for (const path of ["metrics", "channels", "channels/x"]) {
    assertEquals((await ask(`${server.url}/${path}`, { headers })).status, 200);
  }
  const reset = await ask(`${server.url}/channels/x`, { method: "DELETE", headers });
  assertEquals([reset.status, server.engine.usage().messages], [200, 0]);
});

Deno.test("--token-secret and --publish-key: the key does everything, a token what it says", async () => {
  await using server = await serveHere(...GUARDED, "--publish-key=k");
  const statusOf = async (path: string) => (await ask(`${server.url}/${path}`)).status;
  assertEquals(await statusOf("publish?name=x&data=a&token=k"), 200);
  assertEquals(await statusOf("metrics?token=k"), 200);
  assertEquals(await statusOf("subscribe?name=x&seq=0&keep=0&token=k"), 200);
  assertEquals(await statusOf(`subscribe?name=x&seq=0&keep=0&token=${LISTENER}`), 200);
  assertEquals(await statusOf(`publish?name=x&data=a&token=${LISTENER}`), 403);
  assertEquals(await statusOf("subscribe?name=x&seq=0&keep=0"), 401);
});

const REFUSED: [what: string, token: string, reason: string, code?: string][] = [
  ["wrong", BAD[0][1], "the token is not signed with a secret of this server"],
  [
    "expired",
    token({ subscribe: ["*"] }, { exp: inSeconds(-60) }),
    "the token has expired",
    "token_expired",
  ],
  [
    "not-yet-valid",
    token({ subscribe: ["*"] }, { nbf: inSeconds(60) }),
    "the token is not valid yet",
  ],
  ["alg=none", tokenBy(() => "", ALL, { alg: "none" }), "the token is not signed with HS256"],
  ["odd", token({ subscribe: "*" }), "'subscribe' in the token is not a list of strings"],
];

for (const [what, bad, reason, code = "bad_token"] of REFUSED) {
  Deno.test(`--token-secret: a token that is ${what} gets 401 with the reason in the header and the body`, async () => {
    await using server = await serveHere(...GUARDED);
    const headers = { Authorization: `Bearer ${bad}` };
    const answers = await Promise.all([
      sendRaw(server, "GET /subscribe?name=x HTTP/1.1", headers),
      sendRaw(server, "GET /publish?name=x&data=a HTTP/1.1", headers),
      sendRaw(server, "GET /metrics HTTP/1.1", headers),
      sendRaw(server, "GET /websocket?name=x HTTP/1.1", { ...UPGRADE, ...headers }),
    ]);
    for (const answer of answers) {
      assertEquals([answer.status, errorCode(answer)], [401, code]);
      const { message } = JSON.parse(answer.text).error;
      assertMatch(message, /^Cannot \w+( \w+)?: the |^Cannot \w+( \w+)?: "/);
      assertEquals(message.replaceAll('"', "'").split(": ")[1], `${reason} (--token-secret)`);
      assertEquals(
        answer.headers.get("www-authenticate"),
        `Bearer realm="river", error="invalid_token", error_description="${reason}"`,
      );
    }
    assertEquals([server.hub.size, server.errors], [0, []]);
  });
}

Deno.test("--token-secret: of several secrets each is good, and a removed one is not", async () => {
  const old = tokenBy(hmac("sha256", OLD_SECRET), ALL);
  const url = (server: { url: string }, token: string) => `${server.url}/metrics?token=${token}`;
  await using both = await serveHere(...GUARDED, `--token-secret=${OLD_SECRET}`);
  assertEquals((await ask(url(both, old))).status, 200);
  assertEquals((await ask(url(both, token(ALL.river)))).status, 200);
  await using one = await serveHere(...GUARDED);
  assertEquals((await ask(url(one, old))).status, 401);
});

/** A token for a listener and publisher that is good for one or two seconds, the leeway included. */
function shortToken(): string {
  return token({ publish: ["*"], subscribe: ["*"] }, { exp: inSeconds(2 - LEEWAY_S) });
}

for (const format of ["river", "sse", "river.v1", "raw"]) {
  Deno.test(`a stream (${format}) ends cleanly when its token expires`, async () => {
    await using server = await serveHere(...GUARDED);
    const short = shortToken();
    await using lines = await subscribe(server, `name=x&format=${format}&token=${short}`);
    await ask(`${server.url}/publish?name=x&data=a&token=${short}`);
    assertMatch(await lines.rest(), /a/);
    assertEquals(server.hub.size, 0);
    const again = await ask(`${server.url}/subscribe?name=x&token=${short}`);
    assertEquals(again.status, 401);
    assertMatch(again.headers.get("www-authenticate")!, /the token has expired/);
  });
}

Deno.test("a long-poll ends when its token expires", async () => {
  await using server = await serveHere(...GUARDED);
  const answer = await ask(
    `${server.url}/subscribe?name=x&keep=0&timeout=60&token=${shortToken()}`,
  );
  assertEquals([answer.status, answer.text], [204, ""]);
});

for (const protocol of [undefined, "river.v1"]) {
  Deno.test(`a WebSocket (${protocol ?? "plain"}) is closed with 3500 when its token expires, and publishes no more`, async () => {
    await using server = await serveHere(...GUARDED);
    const short = shortToken();
    const socket = await openSocket(server, `name=x&token=${short}`, protocol);
    await until(() => server.hub.subscribers("x") === 1);
    const { code, reason } = await socket.closed;
    assertEquals([code, reason], [3500, "token expired: reconnect with a new token and resume"]);
    assertEquals(server.hub.size, 0);
    assertEquals(server.errors, []);
  });
}

Deno.test("what a WebSocket sends after its token expired is not published", async () => {
  await using server = await serveHere(...GUARDED);
  using client = await FrameClient.open(server, `name=x&token=${shortToken()}`);
  await until(() => server.hub.size === 1);
  await client.send(text("in time"));
  await until(() => server.hub.size === 0);
  await client.send(text("late"), close(1000));
  while (await client.frame() !== undefined);
  assertEquals(server.engine.usage().messages, 1);
});

for (const protocol of [undefined, "river.v1"]) {
  Deno.test(`a frame that was read with the one before the end (${protocol ?? "plain"}) is not published after its token expired`, async () => {
    // The runtime decides whether it hands over such a frame: this does it in any case.
    const { upgradeWebSocket } = Deno;
    let socket: WebSocket | undefined;
    Deno.upgradeWebSocket = (...args) => {
      const upgrade = upgradeWebSocket(...args);
      socket = upgrade.socket;
      return upgrade;
    };
    try {
      await using server = await serveHere(...GUARDED);
      const client = await openSocket(server, `name=x&token=${shortToken()}`, protocol);
      await until(() => server.hub.subscribers("x") === 1);
      const data = protocol ? '["pub", {"channel": "x", "data": "a"}]' : "a";
      const arrive = () => socket!.dispatchEvent(new MessageEvent("message", { data }));
      arrive();
      await until(() => server.engine.usage().published === 1);
      await until(() => server.hub.size === 0);
      arrive();
      assertEquals((await client.closed).code, 3500);
      assertEquals([server.engine.usage().published, server.errors], [1, []]);
    } finally {
      Deno.upgradeWebSocket = upgradeWebSocket;
    }
  });
}

Deno.test("--client-timeout ends a subscription before its token does, and says so", async () => {
  await using server = await serveHere(...GUARDED, "--client-timeout=200ms");
  const socket = await openSocket(server, `name=x&token=${LISTENER}`);
  const { code, reason } = await socket.closed;
  assertEquals([code, reason], [1000, "client timeout: reconnect and resume"]);
});

Deno.test("river.v1 with a token subscribes and publishes where it says, and gets an error elsewhere", async () => {
  await using server = await serveHere(...GUARDED);
  const may = token({ publish: ["a"], subscribe: ["b"] });
  await using socket = await openSocket(server, `token=${may}`, "river.v1");
  socket.send(
    '["sub", {"channel": "a"}]',
    '["pub", {"channel": "b", "data": "", "id": "1"}]',
    '["pub", {"channel": "a", "data": "", "id": "2"}]',
    '["sub", {"channel": "b"}]',
  );
  const lines = (await socket.take(4)).sort();
  assertMatch(lines[0], /^\["ack", \{"id": "2", "channel": "a", "seq": 1/);
  assertMatch(lines[1], /"channel_not_allowed".* publish to \\"b\\".*"id": "1", "channel": "b"/);
  assertMatch(lines[2], /"channel_not_allowed".* subscribe to \\"a\\".*"channel": "a"/);
  assertMatch(lines[3], /^\["open", \{"channel": "b"/);
});

// Pages and their cookies.

Deno.test("a page's preflight needs no token, and the page may read why it is refused", async () => {
  await using server = await serveHere(...GUARDED, "--origin=https://app.test");
  const origin = { origin: "https://app.test" };
  const preflight = await ask(`${server.url}/publish`, { method: "OPTIONS", headers: origin });
  assertEquals(preflight.status, 204);
  assertMatch(preflight.headers.get("access-control-allow-headers")!, /Authorization/);
  assertEquals(preflight.headers.get("access-control-allow-credentials"), "true");
  const refused = await ask(`${server.url}/subscribe?name=x`, { headers: origin });
  assertEquals(refused.status, 401);
  assertMatch(refused.headers.get("access-control-expose-headers")!, /WWW-Authenticate/);
});

/** What a browser tells of the page that makes it ask: over https, and over plain HTTP. */
const OWN = "http://river.test";
const LISTED = "https://app.test";
const SUBDOMAIN = "https://evil.river.test";
const CROSS = { "sec-fetch-site": "cross-site" };
const SAME_SITE = { "sec-fetch-site": "same-site" };

/**
 * Who asks, and the statuses of what a page gains by when a browser asks for it unawares (GET /publish
 * and JSONP), of what no page can read then (other answers to GET), and of a POST.
 */
const COOKIE_PAGES: [
  what: string,
  headers: Record<string, string>,
  gain: number,
  read: number,
  post: number,
][] = [
  ["no browser, or a page over plain HTTP that hides where it is", {}, 401, 200, 200],
  ["its own page", { "sec-fetch-site": "same-origin", "referer": `${OWN}/` }, 200, 200, 200],
  ["its own page, without a referrer", { "sec-fetch-site": "same-origin" }, 200, 200, 200],
  ["its own page over plain HTTP", { referer: `${OWN}/` }, 401, 200, 200],
  ["its own page, which tells its origin", { origin: OWN }, 200, 200, 200],
  ["a listed page, which tells its origin", { ...CROSS, origin: LISTED }, 200, 200, 200],
  ["an element of a listed page", { ...CROSS, referer: `${LISTED}/page` }, 401, 200, 200],
  ["the address bar, or a link in a mail", { "sec-fetch-site": "none" }, 401, 200, 200],
  ["a foreign page over plain HTTP", { referer: "http://evil.test/" }, 401, 401, 401],
  ["a link that is followed over plain HTTP", { accept: "text/html,*/*;q=0.8" }, 401, 200, 200],
  ["a subdomain over plain HTTP", { referer: "http://evil.river.test/" }, 401, 401, 401],
  ["an element of a subdomain's page", { ...SAME_SITE, referer: `${SUBDOMAIN}/` }, 403, 401, 401],
  ["a subdomain's page, which tells its origin", { origin: SUBDOMAIN }, 403, 403, 403],
  ["an element of a foreign page", { ...CROSS, referer: "https://evil.test/" }, 403, 401, 401],
  ["an element of a foreign page, without a referrer", CROSS, 403, 401, 401],
  ["a foreign page, which tells its origin", { origin: "https://evil.test" }, 403, 403, 403],
  ["a sandboxed page", { origin: "null" }, 403, 403, 403],
];

for (const [what, headers, gain, read, post] of COOKIE_PAGES) {
  Deno.test(`a cookie from ${what} gets ${gain}, ${read}, ${post}`, async () => {
    await using server = await serveHere(...GUARDED, `--origin=${LISTED}`);
    await publishWith(server, ALL.river);
    const cookie = `river_token=${token(ALL.river)}`;
    const get = async (path: string, more = {}) =>
      (await sendRaw(server, `GET /${path} HTTP/1.1`, {
        Host: "river.test",
        cookie,
        ...headers,
        ...more,
      }))
        .status;
    const seen = {
      publish: await get("publish?name=x&data=b"),
      jsonp: await get("subscribe?name=x&seq=0&callback=cb"),
      channels: await get("channels"),
      channel: await get("channels/x"),
      metrics: await get("metrics"),
      post: (await sendRaw(server, "POST /publish?name=x&data=b HTTP/1.1", {
        Host: "river.test",
        "Content-Length": "0",
        cookie,
        ...headers,
      })).status,
      // Browsers always tell the origin of a page that opens a socket.
      socket: await get("websocket?name=x", { ...UPGRADE, origin: headers.origin ?? OWN }),
    };
    assertEquals(seen, {
      publish: gain,
      jsonp: gain,
      channels: read,
      channel: read,
      metrics: read,
      post,
      socket: headers.origin === undefined || post === 200 ? 101 : 403,
    });
    // Elements of other sites' pages may not even ask for a stream.
    const stream = await get("subscribe?name=x&seq=0&keep=0");
    assertEquals(stream, gain === 403 ? 403 : read);
    assertEquals(server.engine.usage().published, 1 + Number(gain === 200) + Number(post === 200));
  });
}

/** Publishes one message with a token of its own. */
async function publishWith(server: { url: string }, river: Record<string, unknown>): Promise<void> {
  const url = `${server.url}/publish?name=x&data=a&token=${token(river)}`;
  assertEquals((await ask(url)).status, 200);
}

for (const origin of ["https://evil.test", "null"]) {
  Deno.test(`a cookie does not count for a page of ${origin} that only --origin * lets in`, async () => {
    await using server = await serveHere(...GUARDED, "--origin=*", `--origin=${LISTED}`);
    const cookie = `river_token=${token(ALL.river)}`;
    for (const path of ["publish?name=x&data=a", "subscribe?name=x&seq=0&keep=0", "metrics"]) {
      const answer = await ask(`${server.url}/${path}`, { headers: { cookie, origin } });
      assertEquals(answer.status, 401);
      assertEquals(answer.headers.get("access-control-allow-credentials"), null);
      const headers = { cookie, origin: LISTED };
      const listed = await ask(`${server.url}/${path}`, { headers });
      assertEquals([path, listed.status], [path, 200]);
      assertEquals(listed.headers.get("access-control-allow-credentials"), "true");
    }
  });
}

Deno.test("a cookie of another name is not a token, however its name ends", async () => {
  await using server = await serveHere(...GUARDED);
  const good = token({ publish: ["*"] });
  for (
    const [cookie, status] of [
      [`xriver_token=${good}`, 401],
      [`a=river_token=${good}`, 401],
      [`a=b;river_token=${good}`, 200],
    ] as const
  ) {
    const init = { method: "POST", headers: { cookie } };
    const answer = await ask(`${server.url}/publish?name=x&data=a`, init);
    assertEquals([cookie, answer.status], [cookie, status]);
  }
});

Deno.test("a cookie counts for a page of a listed origin that asks for HTML", async () => {
  await using server = await serveHere(...GUARDED, "--origin=http://app.test");
  const answer = await ask(`${server.url}/publish?name=x&data=a`, {
    method: "POST",
    headers: {
      cookie: `river_token=${token({ publish: ["*"] })}`,
      origin: "http://app.test",
      accept: "text/html",
    },
  });
  assertEquals(answer.status, 200);
});

// The command.

/** What `river token` prints. */
async function riverToken(args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...RUN, MAIN, "token", ...args],
    env,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("river token prints a token that its server takes", async () => {
  const env = { RIVER_TOKEN_SECRET: SECRET };
  const minted = await riverToken(
    ["--publish", "room.*", "--subscribe", "room.*", "--ttl=1m"],
    env,
  );
  assertEquals([minted.code, minted.stderr], [0, ""]);
  assertMatch(minted.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  const { exp } = JSON.parse(Buffer.from(minted.stdout.split(".")[1], "base64url").toString());
  assert(exp > inSeconds(0) && exp <= inSeconds(60), String(exp));
  await using server = await spawnServer([], { env });
  const headers = { authorization: `Bearer ${minted.stdout.trim()}` };
  const answer = await ask(`${server.url}/publish?name=room.1&data=a`, { headers });
  assertEquals([answer.status, JSON.parse(answer.text).seq], [200, 1]);
});

for (
  const [what, args, said] of [
    ["no secret", ["--publish=x"], "river: A token needs a secret to be signed with"],
    ["a short secret", ["--publish=x", "--token-secret=short"], "expected 32 bytes or more"],
    ["nothing to allow", [`--token-secret=${SECRET}`], "river: A token must allow something"],
  ] as const
) {
  Deno.test(`river token with ${what} is one line on stderr and exit code 2`, async () => {
    const { code, stdout, stderr } = await riverToken([...args]);
    assertEquals([code, stdout], [2, ""]);
    assert(stderr.includes(said) && stderr.split("\n").length === 2, stderr);
    assert(!stderr.includes("short"), stderr);
  });
}

Deno.test("neither logs nor answers show a token, a key or a secret", async () => {
  const secrets = [SECRET, OLD_SECRET];
  const key = "the-publish-key";
  await using server = await spawnServer(["--log-format=json"], {
    env: { RIVER_TOKEN_SECRET: secrets.join(" "), RIVER_PUBLISH_KEY: key },
  });
  const good = token(ALL.river);
  const bad = BAD.map(([, token]) => token);
  const answers: string[] = [];
  for (const shown of [key, good, ...bad]) {
    const query = `token=${encodeURIComponent(shown)}`;
    for (
      const path of [
        `publish?name=x&data=a&${query}`,
        `publish?name=x&data=a&${query}&${query}`,
        `publish?name=&data=a&${query}`,
        `publish?name=x&data=a&${query}%ff`,
        `subscribe?name=x&seq=0&keep=0&timeout=0.01&${query}`,
        `channels?after=nonsense&${query}`,
        `nothing?${query}`,
        `websocket?name=x&${query}`,
      ]
    ) {
      const { text, headers } = await ask(`${server.url}/${path}`);
      answers.push(text, JSON.stringify([...headers]));
    }
    if (/^[\x21-\x7e]+$/.test(shown)) {
      for (const header of [`Authorization: Bearer ${shown}`, `Cookie: river_token=${shown}`]) {
        const [name, value] = header.split(": ");
        const { text, headers } = await sendRaw(server, "GET /metrics HTTP/1.1", { [name]: value });
        answers.push(text, JSON.stringify([...headers]));
      }
    }
  }
  assertEquals((await server.end()).code, 0);
  const seen = [...answers, await server.stderr(), server.greeting].join("\n");
  for (const hidden of [...secrets, key, good, ...bad.filter((text) => text.length > 8)]) {
    assert(!seen.includes(hidden), `it shows ${hidden}`);
  }
});

Deno.test("a client that shows a token for the first time, and leaves, leaves nothing behind", async () => {
  await using server = await serveHere(...GUARDED);
  for (let i = 0; i < 20; i++) {
    const fresh = token({ subscribe: ["x"] }, { jti: String(i) });
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    const path = i % 2 === 0 ? "subscribe" : "websocket";
    const upgrade = i % 2 === 0
      ? ""
      : Object.entries(UPGRADE).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    await connection.write(new TextEncoder().encode(
      `GET /${path}?name=x&token=${fresh} HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`,
    ));
    connection.close();
  }
  const reader: LineReader = await subscribe(server, `name=y&token=${LISTENER}`);
  await reader[Symbol.asyncDispose]();
  await until(() => server.hub.size === 0);
  assertEquals(server.errors, []);
  await assertRejects(() => publish(server, "x", "a"), Error, "refused: 401");
});
