import { assert, assertEquals, assertThrows } from "@std/assert";
import { Access } from "../lib/access.ts";
import { refusalResponse } from "../lib/call.ts";
import { Refusal } from "../lib/refusal.ts";
import { ask, serveHere } from "./support.ts";

const KEY = "s3cret";

/** What a client with these credentials may do: publish, subscribe, operate. */
function rights(
  access: Access,
  { authorization, token }: { authorization?: string; token?: string },
): [boolean, boolean, boolean] {
  const headers = new Headers(authorization === undefined ? {} : { authorization });
  const grant = access.grant(headers, token);
  assert(!(grant instanceof Promise), "only tokens take their time");
  return [grant.mayPublish("x"), grant.maySubscribe("x"), grant.mayOperate];
}

const ALL = [true, true, true];
const SUBSCRIBE_ONLY = [false, true, false];

Deno.test("Access.grant() lets everybody do everything without a key", () => {
  const open = new Access({});
  for (const credentials of [{}, { token: "x" }, { authorization: "Bearer x" }]) {
    assertEquals(rights(open, credentials), ALL);
  }
});

Deno.test("Access guards with no empty key or secret: whoever shows nothing would hold it", () => {
  for (
    const options of [
      { publishKey: "" },
      { publishKey: " " },
      { tokenSecrets: [""] },
      { tokenSecrets: ["0123456789abcdef0123456789abcdef", "\t"] },
    ]
  ) assertThrows(() => new Access(options), TypeError, "empty key or secret");
});

const CREDENTIALS: [string, { authorization?: string; token?: string }, boolean][] = [
  ["the key as a bearer token", { authorization: `Bearer ${KEY}` }, true],
  ["the key as a bearer token in another case", { authorization: `bEARER   ${KEY}` }, true],
  ["the key as a parameter", { token: KEY }, true],
  ["the key twice", { authorization: `Bearer ${KEY}`, token: KEY }, true],
  ["a right header and a wrong parameter", { authorization: `Bearer ${KEY}`, token: "x" }, true],
  ["a wrong header and a right parameter", { authorization: "Bearer x", token: KEY }, false],
  ["a header of another scheme and a parameter", { authorization: "Basic x", token: KEY }, true],
  ["nothing", {}, false],
  ["an empty parameter", { token: "" }, false],
  ["a part of the key", { token: KEY.slice(1) }, false],
  ["the key and more", { token: `${KEY} ` }, false],
  ["the key in another case", { token: KEY.toUpperCase() }, false],
  ["a bearer without a token", { authorization: "Bearer" }, false],
  ["the key without a scheme", { authorization: KEY }, false],
  ["the key in another scheme", { authorization: `Basic ${KEY}` }, false],
  ["the key right after the scheme", { authorization: `Bearer${KEY}` }, false],
  ["two bearer tokens in one header", { authorization: `Bearer x, Bearer ${KEY}` }, false],
];

for (const [what, credentials, allowed] of CREDENTIALS) {
  Deno.test(`Access.grant() ${allowed ? "takes" : "refuses"} ${what}`, () => {
    const access = new Access({ publishKey: KEY });
    assertEquals(rights(access, credentials), allowed ? ALL : SUBSCRIBE_ONLY);
  });
}

Deno.test("Access.grant() compares keys of any characters", () => {
  const access = new Access({ publishKey: "Schlüssel\0😀" });
  assertEquals(rights(access, { token: "Schlüssel\0😀" }), ALL);
  assertEquals(rights(access, { token: "Schlussel\0😀" }), SUBSCRIBE_ONLY);
});

const CHALLENGES: [what: string, token: string | undefined, challenge: string][] = [
  ["nothing is shown", undefined, 'Bearer realm="river"'],
  [
    "what is shown is not the key",
    "x",
    'Bearer realm="river", error="invalid_token", error_description="this is not the key"',
  ],
];

for (const [what, token, challenge] of CHALLENGES) {
  Deno.test(`Access.grant() refuses with 401 and a challenge when ${what}`, async () => {
    const grant = await new Access({ publishKey: KEY }).grant(new Headers(), token);
    const response = refusalResponse(grant.refusal("publish"));
    assertEquals(response.status, 401);
    assertEquals(response.headers.get("www-authenticate"), challenge);
    assertEquals(
      await response.text(),
      '{"error":{"code":"unauthorized","message":"A key or token is needed to publish"}}\n',
    );
  });
}

/** Whether a page of `origin` may talk to the server. */
function admits(origins: string[], origin: string, host = "river.test:9271"): boolean {
  const headers = new Headers({ host, origin });
  try {
    // CORS wants the origin back as it came.
    assertEquals(new Access({ origins }).checkOrigin(headers), origin);
    return true;
  } catch (error) {
    assert(error instanceof Refusal, String(error));
    return false;
  }
}

Deno.test("Access.checkOrigin() lets pass what comes from no page", () => {
  assertEquals(new Access({}).checkOrigin(new Headers({ host: "river.test" })), undefined);
});

Deno.test("Access.checkOrigin() refuses with 403 and shows the origin", () => {
  const headers = new Headers({ host: "river.test", origin: 'https://evil.test/"' });
  const access = new Access({ origins: ["example.com"] });
  const { status, code, message } = assertThrows(() => access.checkOrigin(headers), Refusal);
  assertEquals({ status, code, message }, {
    status: 403,
    code: "forbidden_origin",
    message: 'Pages of the origin "https://evil.test/\\"" are not allowed here (--origin)',
  });
});

Deno.test("Access.checkOrigin() refuses pages of a request that names no host", () => {
  for (
    const origin of [
      "http://undefined",
      "https://undefined",
      "https://evil.test",
      "null",
      "http://",
    ]
  ) {
    const headers = new Headers({ origin });
    assertEquals(assertThrows(() => new Access({}).checkOrigin(headers), Refusal).status, 403);
  }
});

/** Whether a request that tells no origin is let in. */
function lets(headers: Record<string, string>, method = "GET", origins: string[] = []): boolean {
  const all = { host: "river.test", ...headers };
  const request = new Request("http://river.test/publish", { method, headers: all });
  try {
    new Access({ origins }).checkEmbedding(request);
    return true;
  } catch (error) {
    assert(error instanceof Refusal && error.status === 403, String(error));
    return false;
  }
}

Deno.test("Access.checkEmbedding() refuses what pages of other sites embed, also those of the same domain", () => {
  for (const site of ["cross-site", "same-site"]) {
    const embedded = { "sec-fetch-site": site, referer: "https://app.river.test/page" };
    assertEquals(lets(embedded), false, site);
    assertEquals(lets({ "sec-fetch-site": site }), false, `${site}, without a referrer`);
    assertEquals(lets(embedded, "GET", ["https://app.river.test"]), true, `${site}, listed`);
    assertEquals(lets({ ...embedded, referer: "http://river.test/" }), true, `${site}, its own`);
  }
  for (const site of ["same-origin", "none"]) {
    assertEquals(lets({ "sec-fetch-site": site, referer: "http://river.test/" }), true, site);
  }
  assertEquals(lets({ referer: "https://app.river.test/page" }), true, "not said by a browser");
});

Deno.test("Access.checkEmbedding() calls a page that tells no referrer null, as a browser would", () => {
  const headers = { "host": "river.test", "sec-fetch-site": "cross-site" };
  const request = new Request("http://river.test/publish", { headers });
  const error = assertThrows(() => new Access({ origins: [] }).checkEmbedding(request), Refusal);
  assertEquals(error.message, 'Pages of the origin "null" are not allowed here (--origin)');
});

Deno.test("Access.checkEmbedding() looks at GET alone: with other methods pages tell their origin", () => {
  const forwarded = { "sec-fetch-site": "cross-site", referer: "https://app.test/page" };
  assertEquals([lets(forwarded), lets(forwarded, "POST")], [false, true]);
});

Deno.test("a page of a listed origin that tells no referrer may publish and subscribe", async () => {
  await using server = await serveHere("--origin=https://app.test");
  const headers = { "origin": "https://app.test", "sec-fetch-site": "cross-site" };
  for (const path of ["publish?name=x&data=a", "subscribe?name=x&seq=0&limit=1"]) {
    const answer = await ask(`${server.url}/${path}`, { headers });
    assertEquals([path, answer.status], [path, 200]);
    assertEquals(answer.headers.get("access-control-allow-origin"), "https://app.test");
  }
});

const OWN_HOST: [string, string, boolean][] = [
  ["http://river.test:9271", "river.test:9271", true],
  ["https://river.test:9271", "river.test:9271", true],
  ["HTTP://River.Test:9271", "RIVER.test:9271", true],
  ["http://[::1]:9271", "[::1]:9271", true],
  ["http://river.test", "river.test:9271", false],
  ["http://river.test:9272", "river.test:9271", false],
  ["http://river.test.evil.test", "river.test", false],
  ["http://evil-river.test", "river.test", false],
  ["http://river.test@evil.test", "river.test", false],
  ["http://evil.test/river.test", "river.test", false],
  ["ftp://river.test", "river.test", false],
  ["river.test", "river.test", false],
  ["null", "river.test", false],
  ["null", "null", false],
  ["", "river.test", false],
];

for (const [origin, host, allowed] of OWN_HOST) {
  Deno.test(`Access.checkOrigin() ${allowed ? "admits" : "refuses"} "${origin}" at ${host}`, () => {
    assertEquals(admits([], origin, host), allowed);
  });
}

const PATTERNS: { pattern: string; admitted: string[]; refused: string[] }[] = [
  {
    pattern: "https://example.com",
    admitted: ["https://example.com", "HTTPS://EXAMPLE.COM"],
    refused: ["http://example.com", "https://example.com:8443", "https://a.example.com"],
  },
  {
    pattern: "https://Example.com:8443",
    admitted: ["https://example.com:8443"],
    refused: ["https://example.com", "https://example.com:84430"],
  },
  {
    pattern: "example.com",
    admitted: ["http://example.com", "https://example.com", "https://example.com:8443"],
    refused: [
      "https://a.example.com",
      "https://notexample.com",
      "https://example.com.evil.test",
      "https://example.com@evil.test",
      "https://evil.test/example.com",
      "https://evil.test?example.com",
      "ftp://example.com",
      "chrome-extension://example.com",
      "null",
      "",
    ],
  },
  {
    pattern: "example.com:8443",
    admitted: ["https://example.com:8443", "http://example.com:8443"],
    refused: ["https://example.com", "https://example.com:8444"],
  },
  {
    pattern: "*.example.com",
    admitted: ["https://a.example.com", "http://a.b.example.com:81", "https://A.Example.Com"],
    refused: [
      "https://example.com",
      "https://notexample.com",
      "https://a.example.com.evil.test",
      "https://evil.test/a.example.com",
      "https://evil.test#.example.com",
      "ftp://a.example.com",
      "null",
    ],
  },
  {
    pattern: "*",
    admitted: ["https://evil.test", "http://127.0.0.1:1", "null"],
    refused: [],
  },
  { pattern: "*.com", admitted: ["https://a.com"], refused: ["https://a.org", "https://com"] },
];

for (const { pattern, admitted, refused } of PATTERNS) {
  Deno.test(`Access.checkOrigin() admits with --origin ${pattern} what it stands for`, () => {
    const seen = (origin: string) => admits([pattern], origin);
    assertEquals(admitted.filter((origin) => !seen(origin)), []);
    assertEquals(refused.filter(seen), []);
    assert(seen("http://river.test:9271"), "its own host");
  });
}

Deno.test("Access.checkOrigin() admits what any of several patterns stands for", () => {
  const origins = ["https://a.test", "*.b.test"];
  const asked = ["https://a.test", "https://x.b.test", "https://b.test", "http://a.test"];
  assertEquals(asked.map((origin) => admits(origins, origin)), [true, true, false, false]);
});
