/**
 * `client.js` in the versions of Node that people use.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { LineReader } from "../support/http.ts";
import { NODE_VERSIONS } from "../support/node_versions.ts";
import { Proxy } from "../support/proxies.ts";
import { serveHere } from "../support/server.ts";

const SCRIPT = new URL("../support/node_client.mjs", import.meta.url).pathname;

/** What the script prints. */
interface Report {
  readonly version: string;
  readonly transports: string[];
  readonly heard: string[];
  readonly refusedMs: number;
  readonly instead: string;
  readonly afterSleep: string;
  readonly relative: string;
}

/** Runs the script in a version of Node. */
async function runIn(version: number): Promise<{ report: Report; stderr: string }> {
  await using server = await serveHere();
  await using refusing = new Proxy(server, { refuseUpgrades: true });
  await using swallowing = new Proxy(server);
  // Node takes a module by the end of its name.
  const folder = await Deno.makeTempDir();
  const client = `${folder}/client.mjs`;
  await Deno.copyFile(new URL("../../static/client.js", import.meta.url), client);
  const urls = [server, refusing, swallowing].map(({ url }) => url);
  const node = new Deno.Command("npx", {
    args: ["-y", `node@${version}`, SCRIPT, client, ...urls],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(node.stderr).text();
  await using lines = new LineReader(new Response(node.stdout));
  const input = node.stdin.getWriter();
  try {
    assertEquals(await lines.next(), "swallow");
    swallowing.swallow();
    await input.write(new TextEncoder().encode("done\n"));
    const text = await lines.next();
    return { report: JSON.parse(text ?? "null"), stderr: await stderr };
  } finally {
    await input.close().catch(() => {});
    await node.status;
    await Deno.remove(folder, { recursive: true });
  }
}

// Side by side, as most of their time is waiting.
const runs = new Map(NODE_VERSIONS.map((version) => [version, runIn(version)]));
for (const run of runs.values()) run.catch(() => {});

for (const [version, run] of runs) {
  Deno.test({
    name: `client.js works in Node ${version}: each transport, refused sockets, after a sleep`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const { report, stderr } = await run;
      const sockets = version >= 22 ? ["websocket"] : [];
      assertMatch(report.version, new RegExp(`^v${version}\\.`));
      assertEquals(report.transports, [...sockets, "stream", "longpoll"]);
      assertEquals(report.heard, report.transports.map(() => "hello"));
      assertEquals(report.instead, "stream");
      // The time for a connection to show life is 4 s.
      assert(report.refusedMs < 2000, `${report.refusedMs} ms`);
      assertEquals(report.afterSleep, "missed");
      assertMatch(report.relative, /^TypeError: Bad url: expected/);
      assert(stderr.includes("thrown on purpose"), stderr);
    },
  });
}
