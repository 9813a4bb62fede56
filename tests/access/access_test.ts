import { assert, assertEquals, assertThrows } from "@std/assert";
import { Access } from "../../lib/access/access.ts";
import { refusalResponse } from "../../lib/http/call.ts";

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

Deno.test("Access takes no empty key or secret: a client that shows nothing would hold it", () => {
  for (
    const options of [
      { publishKey: "" },
      { publishKey: " " },
      { tokenSecrets: [""] },
      { tokenSecrets: ["0123456789abcdef0123456789abcdef", "\t"] },
    ]
  ) assertThrows(() => new Access(options), TypeError, "must not be empty");
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

const CHALLENGES: [what: string, token: string | undefined, challenge: string, body: string][] = [
  [
    "nothing is shown",
    undefined,
    'Bearer realm="river"',
    '{"error":{"code":"missing_token","message":"A key or token is needed to publish (--publish-key, --token-secret)"}}\n',
  ],
  [
    "what is shown is not the key",
    "x",
    'Bearer realm="river", error="invalid_token", error_description="this is not the key"',
    '{"error":{"code":"bad_token","message":"Cannot publish: this is not the key (--publish-key)"}}\n',
  ],
];

for (const [what, token, challenge, body] of CHALLENGES) {
  Deno.test(`Access.grant() refuses with 401 and a challenge when ${what}`, async () => {
    const grant = await new Access({ publishKey: KEY }).grant(new Headers(), token);
    const response = refusalResponse(grant.refusal("publish"));
    assertEquals(response.status, 401);
    assertEquals(response.headers.get("www-authenticate"), challenge);
    assertEquals(await response.text(), body);
  });
}

Deno.test("Access.grant() takes a key beyond ASCII in the header, as clients send it: in UTF-8", async () => {
  for (const key of ["ключ", "schlüssel", "🔑"]) {
    const bytes = new TextEncoder().encode(`Bearer ${key}`);
    const authorization = String.fromCharCode(...bytes);
    const access = new Access({ publishKey: key });
    assertEquals(rights(access, { authorization }), [true, true, true], key);
    const latin1 = /^[\0-\xff]*$/.test(key) ? `Bearer ${key}` : "Bearer \xff";
    const grant = await access.grant(new Headers({ authorization: latin1 }), undefined);
    assertEquals(grant.mayOperate, latin1 === `Bearer ${key}`, "as it is, where it is not UTF-8");
  }
});
