import { assert, assertEquals, assertMatch } from "@std/assert";
import { ask } from "../support/http.ts";
import { serveHere } from "../support/server.ts";

const TYPES: [path: string, type: string, shared: boolean][] = [
  ["/", "text/html;charset=UTF-8", false],
  ["/home.css", "text/css;charset=UTF-8", false],
  ["/home.js", "text/javascript;charset=UTF-8", false],
  ["/river.css", "text/css;charset=UTF-8", false],
  ["/favicon.svg", "image/svg+xml", false],
  ["/client.js", "text/javascript;charset=UTF-8", true],
  ["/lib.js", "text/javascript;charset=UTF-8", true],
  ["/uplot.js", "text/javascript;charset=UTF-8", false],
  ["/uplot.css", "text/css;charset=UTF-8", false],
  ["/chat-demo/", "text/html;charset=UTF-8", false],
  ["/chat-demo/chat.css", "text/css;charset=UTF-8", false],
  ["/chat-demo/chat.js", "text/javascript;charset=UTF-8", false],
];

for (const [path, type, shared] of TYPES) {
  Deno.test(`${path} is ${type}, locked down, and ${shared ? "for pages of every origin" : "for its own pages"}`, async () => {
    await using server = await serveHere();
    const { status, headers, text } = await ask(server.url + path);
    assertEquals([status, headers.get("content-type")], [200, type]);
    assert(text.length > 0);
    assertEquals(headers.get("x-content-type-options"), "nosniff");
    assertEquals(headers.get("cache-control"), "no-cache");
    const policy = headers.get("content-security-policy") ?? "";
    for (const rule of ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"]) {
      assert(policy.split("; ").includes(rule), `${rule} in ${policy}`);
    }
    assertMatch(policy, /script-src 'self';/);
    assertEquals(headers.get("access-control-allow-origin"), shared ? "*" : null);
    const foreign = await ask(server.url + path, { headers: { origin: "https://evil.test" } });
    assertEquals(foreign.status, shared ? 200 : 403);
  });
}

Deno.test("an asset is sent again to a client that has another version, and not to one that has this version", async () => {
  await using server = await serveHere();
  const { headers } = await ask(`${server.url}/river.css`);
  const etag = headers.get("etag")!;
  const statusFor = async (known: string) => {
    const answer = await ask(`${server.url}/river.css`, { headers: { "if-none-match": known } });
    assertEquals(answer.headers.get("etag"), etag);
    assertEquals(answer.text === "", answer.status === 304);
    return answer.status;
  };
  const other = (await ask(`${server.url}/home.css`)).headers.get("etag")!;
  assertEquals(await statusFor(etag), 304);
  assertEquals(await statusFor("*"), 304);
  assertEquals(await statusFor(other), 200);
  // Longer headers are not looked at.
  const long = (length: number) => `${etag}, "${"x".repeat(length - etag.length - 4)}"`;
  assertEquals([await statusFor(long(256)), await statusFor(long(257))], [304, 200]);
});
