import { assert, assertEquals } from "@std/assert";
import { TimerWheel } from "../../lib/base/timer_wheel.ts";
import type { LogFields } from "../../lib/cli/log.ts";
import { Warnings } from "../../lib/http/warnings.ts";
import { ask } from "../support/http.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { logOf, spawnServer } from "../support/server.ts";

/** Warnings with a clock that is set by hand. */
function warnings() {
  let now = 0;
  const wheel = new TimerWheel({ clock: () => now });
  const written: [string, LogFields][] = [];
  return {
    written,
    warnings: new Warnings(wheel, (message, fields) => void written.push([message, fields])),
    /** Lets so many milliseconds pass. */
    pass(ms: number) {
      now += ms;
      wheel.advance();
    },
  };
}

Deno.test("Warnings.warn() writes the first at once, and then one a second with the number left out", () => {
  const { warnings: all, written, pass } = warnings();
  for (let i = 1; i <= 5; i++) all.warn("a", "it came", { n: String(i) });
  assertEquals(written, [["it came", { code: "a", n: "1" }]]);
  pass(900);
  assertEquals(written.length, 1);
  pass(300);
  assertEquals(written.slice(1), [["it came", { code: "a", n: "5", left_out: 3 }]]);
  all.warn("a", "it came", { n: "6" });
  assertEquals(written.length, 2);
  pass(1200);
  assertEquals(written.slice(2), [["it came", { code: "a", n: "6" }]]);
  pass(1200);
  pass(1200);
  assertEquals(written.length, 3);
  all.warn("a", "it came", { n: "7" });
  assertEquals(written.slice(3), [["it came", { code: "a", n: "7" }]]);
});

Deno.test("Warnings.warn() holds each code back on its own", () => {
  const { warnings: all, written } = warnings();
  for (const code of ["a", "b", "a"]) all.warn(code, code, {});
  assertEquals(written.map(([message]) => message), ["a", "b"]);
});

Deno.test("Warnings.warn() cuts long facts", () => {
  const { warnings: all, written } = warnings();
  all.warn("a", "it came", { text: "x".repeat(10_000) });
  assertEquals(written[0][1].text, "x".repeat(200) + "…");
});

/** The warnings that a server wrote, without their time. */
async function warningsOf(server: { stderr(): Promise<string> }): Promise<string[]> {
  return (await server.stderr()).split("\n")
    .filter((line) => / warn /.test(line)).map((line) => line.slice(line.indexOf("warn")));
}

Deno.test("a page of an origin that is not allowed is a line in the log that names it and --origin", async () => {
  await using server = await spawnServer(["--origin=https://app.test"]);
  for (let i = 0; i < 50; i++) {
    const headers = { ...UPGRADE, Origin: "https://evil.test" };
    const refused = await sendRaw(server, "GET /websocket?name=x&token=secret HTTP/1.1", headers);
    assertEquals(refused.status, 403);
  }
  for (const origin of ["https://app.test", server.url]) {
    assertEquals((await ask(`${server.url}/healthz`, { headers: { origin } })).status, 200);
  }
  await server.end();
  const [first, ...others] = await warningsOf(server);
  assertEquals(
    first,
    'warn refused code="forbidden_origin" status="403" client="127.0.0.1" path="/websocket" ' +
      'reason="Pages of the origin \\"https://evil.test\\" are not allowed here (--origin)" ' +
      'origin="https://evil.test"',
  );
  assert(others.length <= 2, "at most one line a second");
});

Deno.test("an element of a page that is not allowed is a line in the log that names the page", async () => {
  await using server = await spawnServer(["--log-format=json"]);
  const headers = { "Sec-Fetch-Site": "cross-site", "Referer": "https://evil.test/page" };
  await sendRaw(server, "GET /subscribe?name=x&callback=cb HTTP/1.1", headers);
  await server.end();
  const line = (await server.stderr()).split("\n").find((line) => line.includes("forbidden"))!;
  const { level, origin, path } = JSON.parse(line);
  assertEquals([level, origin, path], ["warn", "https://evil.test", "/subscribe"]);
});

for (const format of ["text", "json"]) {
  Deno.test(`an origin and a path cannot write lines into the log (${format})`, async () => {
    await using server = await spawnServer([`--log-format=${format}`]);
    // NEL, a C1 control that starts an escape sequence, and what ends a quoted text.
    const bytes = 'https://evil.test\x85error fake\x9b2J" code="x\\" \t';
    await sendRaw(server, 'GET /a"\x85b HTTP/1.1', { Origin: bytes });
    await sendRaw(server, "GET /" + "a".repeat(9000) + " HTTP/1.1", { Origin: "x".repeat(9000) });
    await server.end();
    const log = await logOf(server);
    const lines = log.split(/[\n\r\x85\u2028\u2029]/).filter((line) => line !== "");
    assert(lines.every((line) => format === "json" ? JSON.parse(line).time : /^\d{4}-/.test(line)));
    assert(!/[^\n\x20-\x7eÂ…]/.test(log) && log.length < 3000, log);
  });
}
