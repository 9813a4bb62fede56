import { assert, assertEquals, assertThrows } from "@std/assert";
import { Origins, preflightHeaders } from "../../lib/access/origins.ts";
import { Refusal } from "../../lib/core/refusal.ts";
import { ask } from "../support/http.ts";
import { serveHere } from "../support/server.ts";

/** Whether a page of `origin` may talk to the server. */
function admits(origins: string[], origin: string, host = "river.test:9271"): boolean {
  const headers = new Headers({ host, origin });
  try {
    // CORS wants the origin back as it came.
    assertEquals(new Origins(origins).check(headers), origin);
    return true;
  } catch (error) {
    assert(error instanceof Refusal, String(error));
    return false;
  }
}

Deno.test("Origins.check() lets pass what comes from no page", () => {
  assertEquals(new Origins([]).check(new Headers({ host: "river.test" })), undefined);
});

Deno.test("Origins.check() refuses with 403 and shows the origin", () => {
  const headers = new Headers({ host: "river.test", origin: 'https://evil.test/"' });
  const origins = new Origins(["example.com"]);
  const { status, code, message } = assertThrows(() => origins.check(headers), Refusal);
  assertEquals({ status, code, message }, {
    status: 403,
    code: "forbidden_origin",
    message: 'Pages of the origin "https://evil.test/\\"" are not allowed here (--origin)',
  });
});

Deno.test("Origins.check() says of a page without an origin that it was opened as a file", () => {
  const headers = new Headers({ host: "river.test", origin: "null" });
  const { message } = assertThrows(() => new Origins([]).check(headers), Refusal);
  assertEquals(
    message,
    "Pages without an origin, such as a page opened as a file, are not allowed here: serve the " +
      "page over HTTP",
  );
});

Deno.test("Origins.check() refuses pages of a request that names no host", () => {
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
    assertEquals(assertThrows(() => new Origins([]).check(headers), Refusal).status, 403);
  }
});

/** Whether a request that tells no origin is let in. */
function lets(headers: Record<string, string>, method = "GET", origins: string[] = []): boolean {
  const all = { host: "river.test", ...headers };
  const request = new Request("http://river.test/publish", { method, headers: all });
  try {
    new Origins(origins).checkEmbedding(request);
    return true;
  } catch (error) {
    assert(error instanceof Refusal && error.status === 403, String(error));
    return false;
  }
}

Deno.test("Origins.checkEmbedding() refuses what pages of other sites embed, also those of the same domain", () => {
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

Deno.test("Origins.checkEmbedding() calls a page that tells no referrer null, as a browser would", () => {
  const headers = { "host": "river.test", "sec-fetch-site": "cross-site" };
  const request = new Request("http://river.test/publish", { headers });
  const error = assertThrows(() => new Origins([]).checkEmbedding(request), Refusal);
  assertEquals(error.code, "forbidden_origin");
});

Deno.test("Origins.checkEmbedding() looks at GET alone: with other methods pages tell their origin", () => {
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
  // A proxy may name the port that browsers leave out.
  ["https://river.test", "river.test:443", true],
  ["http://river.test", "river.test:80", true],
  ["https://river.test", "river.test:80", false],
  ["http://river.test", "river.test:443", false],
  ["https://river.test:443", "river.test", false],
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
  Deno.test(`Origins.check() ${allowed ? "admits" : "refuses"} "${origin}" at ${host}`, () => {
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
    pattern: "http://localhost:8000/",
    admitted: ["http://localhost:8000"],
    refused: ["http://localhost", "https://localhost:8000"],
  },
  {
    pattern: "capacitor://localhost",
    admitted: ["capacitor://localhost"],
    refused: ["http://localhost", "tauri://localhost", "capacitor://localhost.evil.test"],
  },
  {
    pattern: "chrome-extension://abcdefghijklmnop",
    admitted: ["chrome-extension://abcdefghijklmnop"],
    refused: ["chrome-extension://abcdefghijklmnoq", "https://abcdefghijklmnop"],
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
  Deno.test(`Origins.check() admits with --origin ${pattern} what it stands for`, () => {
    const seen = (origin: string) => admits([pattern], origin);
    assertEquals(admitted.filter((origin) => !seen(origin)), []);
    assertEquals(refused.filter(seen), []);
    assert(seen("http://river.test:9271"), "its own host");
  });
}

Deno.test("Origins.check() admits what any of several patterns stands for", () => {
  const origins = ["https://a.test", "*.b.test"];
  const asked = ["https://a.test", "https://x.b.test", "https://b.test", "http://a.test"];
  assertEquals(asked.map((origin) => admits(origins, origin)), [true, true, false, false]);
});

for (
  const [requested, allowed] of [
    ["x-requested-with, traceparent", "x-requested-with, traceparent"],
    ["Authorization", "Authorization"],
    [null, "Authorization, Content-Type, Last-Event-ID"],
    ["", "Authorization, Content-Type, Last-Event-ID"],
    ["a b", "Authorization, Content-Type, Last-Event-ID"],
    ["a\u00e4", "Authorization, Content-Type, Last-Event-ID"],
    ["a".repeat(1025), "Authorization, Content-Type, Last-Event-ID"],
  ] as const
) {
  Deno.test(`preflightHeaders() allows ${JSON.stringify(requested)?.slice(0, 40)}, if it is a list of headers`, () => {
    assertEquals(preflightHeaders("GET", requested)["access-control-allow-headers"], allowed);
  });
}
