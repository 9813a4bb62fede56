/**
 * Heads of requests: addresses and headers of almost 64 KiB, which is what the runtime takes.
 *
 * @module
 */
import { requestHead, UPGRADE } from "../../support/raw.ts";
import { bytesOf, ENDED, get, type Input, KEYED, LOCKED, LONG, type Row, send } from "./harness.ts";

/** Bytes of one address or header. */
const SIZE = 60_000;
/** Requests on one connection, so that what one of them costs adds up to what a body does. */
const REQUESTS = 16;

/** Heads make little memory: it is measured where there is time. */
const MEMORY = LONG ? 32 : 0;

function filled(unit: string, before = "", after = ""): string {
  return before + unit.repeat(Math.floor((SIZE - before.length - after.length) / unit.length)) +
    after;
}

/** The same request again and again on one connection, as many bytes as a body may have. */
function repeated({ bytes }: Input, times: number): Input {
  return { bytes: bytesOf(...Array.from({ length: times }, () => bytes)), answers: times };
}

const honest = () => repeated(get(`/publish?name=a&data=hi&pad=${"x".repeat(SIZE)}`), REQUESTS);

/** What a position may get: a stream ends the connection here, as its body has no length. */
const STREAMED = [200, 204, 400, ENDED];

/** Targets, and the statuses that are right. */
const targets: [name: string, target: string, expected: number[]][] = [
  ["%&", filled("%&", "/publish?"), [400]],
  ["bad escapes", filled("%ff&", "/publish?name=a&data=hi&"), [200, 400]],
  ["&", filled("&", "/publish?name=a&data=hi"), [200, 400]],
  ["= and &", filled("=&", "/publish?name=a&data=hi&"), [200, 400]],
  ["many channels", filled("name=a&", "/publish?data=hi&"), [400]],
  ["a channel of +", filled("+", "/publish?data=hi&name="), [400]],
  ["data of escapes", filled("%41", "/publish?name=a&data="), [200]],
  ["data of bad escapes", filled("%", "/publish?name=a&data="), [400]],
  ["a token of +", filled("+", "/publish?name=a&data=hi&token="), [200, 400, 401]],
  ["a token of dots", filled(".", "/publish?name=a&data=hi&token="), [200, 400, 401]],
  ["a token that is not base64", filled("!", "/publish?name=a&data=hi&token=a.", ".b"), [
    200,
    400,
    401,
  ]],
  ["a position of commas", filled(",", "/subscribe?name=a&timeout=0.001&seq="), [400]],
  ["a position of digits", filled("1", "/subscribe?name=a&timeout=0.001&seq="), [400]],
  ["a position of dashes", filled("-", "/subscribe?name=a&timeout=0.001&last_event_id="), STREAMED],
  ["a callback of dots", filled("a.", "/subscribe?name=a&timeout=0.001&callback=", "a"), [400]],
  ["a format of its own", filled("x", "/subscribe?name=a&timeout=0.001&format="), [400]],
  ["a limit of digits", filled("1", "/subscribe?name=a&timeout=0.001&limit="), [400]],
  ["a timeout of digits", filled("1", "/subscribe?name=a&timeout="), [400]],
  ["a path of slashes", filled("/", "/"), [404]],
  ["a path of escapes", filled("%2f", "/"), [404]],
  ["a path of dots", filled("/..", ""), [404]],
  ["a channel of bad escapes", filled("%", "/channels/"), [400]],
  ["a channel of escapes", filled("%41", "/channels/"), [400]],
  ["a channel of emoji", filled("%F0%9F%98%80", "/channels/"), [400]],
  ["a prefix", filled("a", "/channels?prefix="), [200, 400, 401]],
  ["an after of digits", filled("1", "/channels?after="), [400, 401]],
  ["a host in the target", filled("a.", "http://", "/publish?name=a&data=hi"), [200, 400]],
  ["an at sign in the target", filled("@", "http://a", "/publish?name=a&data=hi"), [200, 400]],
];

const PUBLISH = "/publish?name=a&data=hi";
const STREAM = "/subscribe?name=a&timeout=0.001";
const SPACES = " ".repeat(SIZE);
const TABS = "\t".repeat(SIZE);

/** Headers, and the statuses that are right. */
const headers: [
  name: string,
  target: string,
  headers: Record<string, string>,
  expected: number[],
][] = [
  ["Cookie of semicolons", PUBLISH, { Cookie: filled(";") }, [200, 401]],
  ["Cookie of semicolons and spaces", PUBLISH, { Cookie: filled("; ") }, [200, 401]],
  ["Cookie of a name that is almost ours", PUBLISH, { Cookie: filled("; river_toke") }, [200, 401]],
  ["Cookie of many tokens", PUBLISH, { Cookie: filled("; river_token=a") }, [200, 400, 401]],
  ["Cookie of a long token", PUBLISH, { Cookie: filled("a", "river_token=") }, [200, 400, 401]],
  ["Authorization of spaces", PUBLISH, { Authorization: `Bearer${SPACES}x` }, [200, 401]],
  ["Authorization of tabs", PUBLISH, { Authorization: `Bearer ${TABS}x` }, [200, 400, 401]],
  ["Authorization of a long token", PUBLISH, { Authorization: filled("a", "Bearer ") }, [
    200,
    400,
    401,
  ]],
  ["Authorization of dots", PUBLISH, { Authorization: filled(".", "Bearer ") }, [200, 400, 401]],
  ["Authorization of a token with a long payload", PUBLISH, {
    Authorization: filled("e30", "Bearer eyJhbGciOiJIUzI1NiJ9.", ".AAAA"),
  }, [200, 400, 401]],
  ["Accept of spaces", STREAM, { Accept: `text/${SPACES}x` }, [204]],
  ["Accept of commas", STREAM, { Accept: filled("text/event-strea,") }, [204]],
  ["Accept of many types", STREAM, { Accept: filled("a/b;q=0.1, ") }, [204]],
  ["Accept-Encoding of many", STREAM, { "Accept-Encoding": filled("a;q=0.1, ") }, [204]],
  ["If-None-Match of spaces", "/", { "If-None-Match": `"a"${SPACES}"b"` }, [200]],
  ["If-None-Match of tabs", "/", { "If-None-Match": `"a"${TABS}"b"` }, [200]],
  ["If-None-Match of many tags", "/", { "If-None-Match": filled('W/"a", ') }, [200]],
  ["If-None-Match of commas", "/", { "If-None-Match": filled(",") }, [200]],
  ["If-None-Match of spaces and commas", "/", { "If-None-Match": filled(" ,") }, [200]],
  ["If-Modified-Since of digits", "/", { "If-Modified-Since": filled("1") }, [200]],
  ["Range of commas", "/client.js", { Range: filled("0-0,", "bytes=") }, [200, 206, 416]],
  ["Last-Event-ID of commas", STREAM, { "Last-Event-ID": filled(",") }, STREAMED],
  ["Last-Event-ID of positions", STREAM, { "Last-Event-ID": filled("a-1,") }, STREAMED],
  ["Last-Event-ID of dashes", STREAM, { "Last-Event-ID": filled("-") }, STREAMED],
  ["Last-Event-ID of digits", STREAM, { "Last-Event-ID": filled("1") }, STREAMED],
  ["Origin of dots", PUBLISH, { Origin: filled("a.", "http://") }, [403]],
  ["Origin of letters beyond ASCII", PUBLISH, { Origin: filled("ü", "http://") }, [
    400,
    403,
    ENDED,
  ]],
  ["Origin of labels in Punycode", PUBLISH, { Origin: filled("xn--a.", "http://") }, [403]],
  ["Origin of a long label in Punycode", PUBLISH, { Origin: filled("a", "http://xn--") }, [403]],
  ["Origin of at signs", PUBLISH, { Origin: filled("@", "http://") }, [403]],
  ["Origin of digits", PUBLISH, { Origin: filled("1", "http://") }, [403]],
  ["Origin of a long scheme", PUBLISH, { Origin: filled("a") }, [403]],
  ["Referer of dots", PUBLISH, {
    "Sec-Fetch-Site": "cross-site",
    Referer: filled("a.", "http://"),
  }, [403]],
  ["Referer of a long path", PUBLISH, {
    "Sec-Fetch-Site": "cross-site",
    Referer: filled("/..", "http://a"),
  }, [403]],
  ["Referer of escapes", PUBLISH, {
    "Sec-Fetch-Site": "cross-site",
    Referer: filled("%zz", "http://a/?"),
  }, [403]],
  ["Referer of labels in Punycode", PUBLISH, {
    "Sec-Fetch-Site": "cross-site",
    Referer: filled("xn--a.", "http://"),
  }, [403]],
  ["Host of dots", PUBLISH, { Host: filled("a.") }, [200, 400]],
  ["Host of colons", PUBLISH, { Host: filled(":") }, [200, 400]],
  ["Host of slashes", PUBLISH, { Host: filled("/") }, [400]],
  ["Host of brackets", PUBLISH, { Host: filled("[") }, [200, 400]],
  ["X-Forwarded-For of commas", PUBLISH, { "X-Forwarded-For": filled(",") }, [200, 401]],
  ["X-Forwarded-For of spaces", PUBLISH, { "X-Forwarded-For": `a,${SPACES}b` }, [200, 401]],
  ["X-Forwarded-For of colons", PUBLISH, { "X-Forwarded-For": filled(":") }, [200, 401]],
  ["X-Forwarded-For of hexadecimal digits", PUBLISH, { "X-Forwarded-For": filled("f:") }, [
    200,
    401,
  ]],
  ["Content-Type of semicolons", PUBLISH, { "Content-Type": filled(";") }, [200, 401]],
  ["Access-Control-Request-Headers", PUBLISH, {
    "Access-Control-Request-Headers": filled("a,"),
  }, [200, 401]],
  ["Connection of words", PUBLISH, { ...UPGRADE, Connection: filled("upgrad,") }, [200, 401]],
  ["Connection of words, for a WebSocket", "/websocket?name=a", {
    ...UPGRADE,
    Connection: filled("upgrad, "),
  }, [400]],
  ["Sec-WebSocket-Protocol of commas", "/websocket", {
    ...UPGRADE,
    "Sec-WebSocket-Protocol": filled(","),
  }, [400]],
  ["Sec-WebSocket-Protocol of spaces", "/websocket", {
    ...UPGRADE,
    "Sec-WebSocket-Protocol": `a${SPACES}b`,
  }, [400]],
  ["Sec-WebSocket-Protocol of many", "/websocket", {
    ...UPGRADE,
    "Sec-WebSocket-Protocol": filled("river.v2,"),
  }, [400]],
  ["Sec-WebSocket-Key of letters", "/websocket?name=a", {
    ...UPGRADE,
    "Sec-WebSocket-Key": filled("A"),
  }, [400]],
  ["Sec-WebSocket-Extensions of semicolons", "/websocket", {
    ...UPGRADE,
    "Sec-WebSocket-Extensions": filled("a;"),
  }, [400]],
];

const many = Object.fromEntries(
  Array.from({ length: 120 }, (_, i) => [`x-${i}`, "a".repeat(400)]),
);
/** A short request, as often as fits into a megabyte. */
const pipelined: [name: string, input: Input, expected: number[], flags?: readonly string[]][] = [
  ["publishing", get("/publish?name=a&data="), [200]],
  ["publishing without a key", get("/publish?name=a&data="), [401], KEYED],
  ["nothing that is there", get("/x"), [404]],
  ["a page that it has", get("/", { "If-None-Match": "*" }), [200, 304]],
  ["another method", { bytes: bytesOf(requestHead("PUT /publish HTTP/1.1")) }, [405]],
  ["the metrics", get("/metrics"), [200]],
  ["a channel", get("/channels/a"), [200, 404]],
  [
    "no POST",
    { bytes: bytesOf(requestHead("POST /publish HTTP/1.1", { "Content-Length": "0" })) },
    [
      400,
    ],
  ],
];

/** Requests that each claim to be from another client. */
function forwarded(n: number, times: number): Input {
  const requests = Array.from(
    { length: times },
    (_, i) => get(PUBLISH, { "X-Forwarded-For": `10.${n & 255}.${i >> 8}.${i & 255}` }).bytes,
  );
  return { bytes: bytesOf(...requests), answers: times };
}

const bad = Array.from({ length: 40 }, (_, i) => `n${i}=${"x".repeat(1400)}`).join("&");

/** Tokens that are all different, and signed by nobody. */
function tokens(n: number, times: number, size: number): Input {
  const requests = Array.from({ length: times }, (_, i) => {
    const payload = btoa(JSON.stringify({ n, i, pad: "x".repeat(size) })).replace(/=+$/, "");
    const token = `eyJhbGciOiJIUzI1NiJ9.${payload}.${"A".repeat(43)}`;
    return get(PUBLISH, { Authorization: `Bearer ${token}` }).bytes;
  });
  return { bytes: bytesOf(...requests), answers: times };
}

/** All rows about heads. */
export const heads: Row[] = [
  ...targets.map(([name, target, expected]): Row => ({
    name: `addresses with ${name}`,
    hostile: () => repeated(get(target), REQUESTS),
    honest,
    times: MEMORY,
    expected,
  })),
  ...targets.filter(([name]) => name.includes("token")).map(([name, target]): Row => ({
    name: `addresses with ${name}, to a server that takes tokens`,
    flags: LOCKED,
    hostile: () => repeated(get(target), REQUESTS),
    honest,
    times: MEMORY,
    expected: [400, 401],
  })),
  // A server with all that looks at headers.
  ...headers.map(([name, target, fields, expected]): Row => ({
    name: `the header ${name}`,
    flags: [...LOCKED, "--trust-proxy", "--publish-rate=1000000", "--origin=*.example.com"],
    hostile: () => repeated(get(target, fields), REQUESTS),
    honest,
    times: MEMORY,
    expected: [...expected, 401],
  })),
  {
    name: "120 headers",
    hostile: () => repeated(get(PUBLISH, many), REQUESTS),
    honest,
    expected: [200],
  },
  {
    name: "addresses with long unknown parameters",
    hostile: () => repeated(get(`/publish?name=a&data=hi&${bad}`), REQUESTS),
    honest,
    expected: [200, 400],
  },
  ...[[130, 5600], [4000, 0]].map(([times, size]): Row => ({
    name: `${times} tokens of their own that nobody signed`,
    flags: LOCKED,
    hostile: (n) => tokens(n, times, size),
    honest: () => repeated(get("/healthz"), times),
    expected: [401],
    times: 2,
  })),
  {
    name:
      "thousands of requests with addresses of their own, while as many as possible are remembered",
    flags: ["--trust-proxy", "--publish-rate=1000000", "--open"],
    async setup(server) {
      for (let i = 0; i < 25; i++) await send(server, forwarded(-i, 4000));
    },
    hostile: (n) => forwarded(n + 1, 4000),
    honest: () => repeated(get(PUBLISH, { "X-Forwarded-For": "10.0.0.1" }), 4000),
    expected: [200],
    times: 4,
  },
  ...pipelined.map(([name, input, expected, flags = []]): Row => {
    const times = Math.min(4000, Math.floor(1_000_000 / input.bytes.length));
    return {
      name: `thousands of requests in one write, for ${name}`,
      flags,
      hostile: () => repeated(input, times),
      honest: () => repeated(get("/healthz"), times),
      expected,
      times: 4,
    };
  }),
];
