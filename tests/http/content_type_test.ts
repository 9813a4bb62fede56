import { assertEquals, assertThrows } from "@std/assert";
import { Refusal } from "../../lib/core/refusal.ts";
import { contentOf, textOf } from "../../lib/http/content_type.ts";
import { ask, errorCode, LineReader, subscribe } from "../support/http.ts";
import { sendRaw } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";

const content = (type: string) => contentOf(new Headers({ "content-type": type }));

for (
  const [header, type, charset] of [
    ["text/plain", "text/plain", "utf-8"],
    ["", "", "utf-8"],
    ["Text/Plain ; CharSet=UTF-8", "text/plain", "utf-8"],
    ["text/plain;charset=utf8", "text/plain", "utf-8"],
    ["text/plain; charset=", "text/plain", "utf-8"],
    ["text/plain; format=flowed; charset=ISO-8859-1; x=y", "text/plain", "windows-1252"],
    ['text/plain; charset="iso-8859-15"', "text/plain", "iso-8859-15"],
    ["application/json;charset=utf-16", "application/json", "utf-16le"],
    ["text/plain; xcharset=koi8-r", "text/plain", "utf-8"],
    ["text/plain; charset=Shift_JIS", "text/plain", "shift_jis"],
  ]
) {
  Deno.test(`contentOf() reads "${header}"`, () =>
    assertEquals(content(header), { type, charset }));
}

for (const label of ["klingon", "utf-7", "iso-2022-kr", "utf-8x", "\u00e9"]) {
  Deno.test(`contentOf() refuses the character encoding ${label}, and names it`, () => {
    const { status, code, message } = assertThrows(
      () => content(`text/plain; charset="${label}"`),
      Refusal,
    );
    assertEquals([status, code], [415, "unsupported_charset"]);
    assertEquals(message, `Cannot read the character encoding "${label}": send UTF-8`);
  });
}

for (
  const coding of [
    "gzip",
    "x-gzip",
    "deflate",
    "br",
    "zstd",
    "GZIP",
    "identity, gzip",
    "aws-chunked",
  ]
) {
  Deno.test(`contentOf() refuses the content encoding ${coding}, and says what to send`, () => {
    const { status, code, headers } = assertThrows(
      () => contentOf(new Headers({ "content-encoding": coding })),
      Refusal,
    );
    assertEquals([status, code, headers], [415, "unsupported_encoding", {
      "accept-encoding": "identity",
    }]);
  });
}

Deno.test("contentOf() takes a body that says that it is not encoded", () => {
  for (const coding of ["identity", "Identity", "", "identity, identity"]) {
    contentOf(new Headers({ "content-encoding": coding }));
  }
});

Deno.test("textOf() reads UTF-16 in both orders, and leaves out its mark alone", () => {
  const bytes = (...units: number[]) => new Uint8Array(units);
  assertEquals(textOf(bytes(0xff, 0xfe, 0x61, 0), "utf-16le"), "a");
  assertEquals(textOf(bytes(0xfe, 0xff, 0, 0x61), "utf-16le"), "a");
  assertEquals(textOf(bytes(0x61, 0), "utf-16le"), "a");
  assertEquals(textOf(bytes(0xfe, 0), "utf-16le"), "þ");
  assertEquals(textOf(bytes(0x61, 0xff), "utf-16le"), "\uff61");
  assertEquals(textOf(bytes(0, 0x61), "utf-16be"), "a");
  assertEquals(textOf(bytes(0xef, 0xbb, 0xbf, 0x61), "utf-8"), "\ufeffa");
});

for (
  const [what, charset, bytes] of [
    ["half a character", "utf-16le", [0x61]],
    ["half a pair", "utf-16le", [0, 0xd8, 0x61, 0]],
    ["an unknown character", "shift_jis", [0x81]],
    ["Latin-1", "utf-8", [0x61, 0xe4]],
  ] as const
) {
  Deno.test(`textOf() refuses ${what} in ${charset}`, () => {
    const { status, code } = assertThrows(
      () => textOf(new Uint8Array(bytes), charset),
      Refusal,
    );
    assertEquals([status, code], [400, "bad_encoding"]);
  });
}

for (
  const [what, type, body, data] of [
    ["plain text in Latin-1", "text/plain; charset=iso-8859-1", [0x62, 0xe4, 0x68], "b\u00e4h"],
    [
      "JSON in UTF-16",
      "application/json; charset=utf-16",
      utf16('{"data":"b\u00e4h"}'),
      "b\u00e4h",
    ],
    [
      "a form in Latin-1",
      "application/x-www-form-urlencoded;charset=latin1",
      latin("data=b\u00e4h"),
      "b\u00e4h",
    ],
    [
      "NDJSON in Latin-1",
      "application/x-ndjson; charset=latin1",
      latin('{"name":"x","data":"\u00e4"}'),
      "\u00e4",
    ],
  ] as const
) {
  Deno.test(`${what} is published as the text that it says`, async () => {
    await using server = await serveHere();
    const path = type.includes("ndjson") ? "publish" : "publish?name=x";
    const { status, text } = await post(server, path, type, body);
    assertEquals([status, JSON.parse(text).seq ?? 1], [200, 1]);
    await using lines = await subscribe(server, "name=x&seq=0&format=raw");
    assertEquals(await lines.next(), data);
  });
}

Deno.test("what is compressed is refused on every route that reads a body, and nothing of it is kept", async () => {
  await using server = await serveHere();
  const gzip = await new Response(
    new Blob(["name=x&data=hi"]).stream().pipeThrough(new CompressionStream("gzip")),
  ).bytes();
  for (const path of ["publish?name=x", "subscribe?name=x"]) {
    const headers = { "content-type": "text/plain", "content-encoding": "gzip" };
    const answer = await ask(`${server.url}/${path}`, { method: "POST", body: gzip, headers });
    assertEquals([answer.status, errorCode(answer)], [415, "unsupported_encoding"]);
    assertEquals(answer.headers.get("accept-encoding"), "identity");
  }
  assertEquals(server.engine.usage().published, 0);
});

Deno.test("a form in Latin-1 subscribes to the channel that it names", async () => {
  await using server = await serveHere();
  const type = "application/x-www-form-urlencoded; charset=iso-8859-1";
  const response = await fetch(`${server.url}/subscribe`, {
    method: "POST",
    body: new Uint8Array(latin("name=b\u00e4h&limit=1")),
    headers: { "content-type": type },
  });
  await using lines = new LineReader(response);
  await ask(`${server.url}/publish?name=b%C3%A4h&data=1`);
  assertEquals(await lines.next(), '["msg", {"channel": "b\u00e4h", "seq": 1, "data": "1"}]');
});

function post(server: { url: string }, path: string, type: string, body: readonly number[]) {
  return ask(`${server.url}/${path}`, {
    method: "POST",
    body: new Uint8Array(body),
    headers: { "content-type": type },
  });
}

/** The bytes of a text in Latin-1. */
function latin(text: string): number[] {
  return Array.from(text, (char) => char.charCodeAt(0));
}

/** The bytes of a text in UTF-16, the low one of each unit first, after its mark. */
function utf16(text: string): number[] {
  return [0xff, 0xfe, ...latin(text).flatMap((unit) => [unit & 0xff, unit >> 8])];
}

Deno.test("a body whose Transfer-Encoding compresses it is refused, and nothing of it is kept", async () => {
  await using server = await serveHere();
  for (const coding of ["gzip, chunked", "Deflate,chunked", "x-unknown, chunked"]) {
    const headers = { "Content-Type": "text/plain", "Transfer-Encoding": coding };
    const answer = await sendRaw(
      server,
      "POST /publish?name=x HTTP/1.1",
      headers,
      "2\r\nhi\r\n0\r\n\r\n",
    );
    assertEquals([coding, answer.status, errorCode(answer)], [coding, 415, "unsupported_encoding"]);
  }
  assertEquals(server.engine.usage().published, 0);
  const headers = { "Content-Type": "text/plain", "Transfer-Encoding": "Chunked" };
  const line = "POST /publish?name=x HTTP/1.1";
  assertEquals((await sendRaw(server, line, headers, "2\r\nhi\r\n0\r\n\r\n")).status, 200);
});
