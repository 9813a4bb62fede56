import { assert, assertEquals, assertMatch } from "@std/assert";
import { isLocal, isLoopback } from "../../lib/access/local.ts";
import { curl } from "../support/curl.ts";
import { ask, errorCode, publish, subscribe } from "../support/http.ts";
import { sendRaw } from "../support/raw.ts";
import { serveHere, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const PEERS: [address: string, loopback: boolean][] = [
  ["127.0.0.1", true],
  ["127.255.0.9", true],
  ["::1", true],
  ["[::1]", true],
  ["::ffff:127.0.0.1", true],
  ["localhost", true],
  ["128.0.0.1", false],
  ["::ffff:10.0.0.1", false],
  ["127.0.0.1.evil.test", false],
  ["localhost.evil.test", false],
  ["::", false],
  ["0.0.0.0", false],
  ["", false],
];

for (const [address, loopback] of PEERS) {
  Deno.test(`isLoopback() is ${loopback} for "${address}"`, () => {
    assertEquals(isLoopback(address), loopback);
  });
}

const REQUESTS: [what: string, peer: string, headers: Record<string, string>, local: boolean][] = [
  ["a program of this machine", "127.0.0.1", { host: "127.0.0.1:9271" }, true],
  ["one that says localhost", "::1", { host: "LocalHost:9271" }, true],
  ["one that says [::1]", "::1", { host: "[::1]:9271" }, true],
  ["one that names no host", "127.0.0.1", {}, true],
  ["one that names no port", "127.0.0.1", { host: "localhost" }, true],
  // Nothing tells it apart: see docs/limits.md.
  [
    "an nginx with a bare proxy_pass",
    "127.0.0.1",
    { host: "127.0.0.1:9271", connection: "close" },
    true,
  ],
  ["another machine", "192.0.2.1", { host: "127.0.0.1:9271" }, false],
  ["another machine's container", "::ffff:172.17.0.1", { host: "127.0.0.1:9271" }, false],
  ["a page with a name that leads here", "127.0.0.1", { host: "evil.test:9271" }, false],
  ["a look-alike", "127.0.0.1", { host: "localhost.evil.test" }, false],
  ...["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto"]
    .map((name): [string, string, Record<string, string>, boolean] => [
      `a proxy that sends ${name}`,
      "127.0.0.1",
      { host: "127.0.0.1", [name]: "" },
      false,
    ]),
];

for (const [what, peer, headers, local] of REQUESTS) {
  Deno.test(`isLocal() is ${local} for ${what}`, () => {
    assertEquals(isLocal(peer, new Request("http://localhost:9271/", { headers })), local);
  });
}

/** What operators ask for. */
const OPERATOR = [
  "GET /channels",
  "GET /channels/x",
  "DELETE /channels/x",
  "GET /metrics",
];

for (const flags of [[], ["--open"], ["--open", "--trust-proxy"]]) {
  Deno.test(`[${flags}] without a key, a proxy and another name of this host are shown no channels and metrics`, async () => {
    await using server = await serveHere(...flags);
    await publish(server, "x", "a");
    const proxied: Record<string, string>[] = [
      { "X-Forwarded-For": "192.0.2.1" },
      { "Via": "1.1 proxy" },
      { "Host": "evil.test" },
    ];
    for (const headers of proxied) {
      for (const line of OPERATOR) {
        const answer = await sendRaw(server, `${line} HTTP/1.1`, headers);
        assertEquals([line, answer.status], [line, 403]);
        assertEquals(errorCode(answer), "local_only");
        assertMatch(answer.text, /--publish-key or --token-secret/);
      }
      const published = await sendRaw(server, "GET /publish?name=y&data=a HTTP/1.1", headers);
      assertEquals(published.status, 200);
    }
    assertEquals(server.engine.usage().messages, 4);
    for (const line of OPERATOR) {
      assertEquals((await sendRaw(server, `${line} HTTP/1.1`)).status, 200, line);
    }
  });
}

Deno.test("--open on a public host: this machine's other addresses are shown no channels and metrics", async () => {
  const other = Deno.networkInterfaces()
    .find(({ family, address }) => family === "IPv4" && !isLoopback(address))?.address;
  assert(other !== undefined, "this machine has no other address");
  await using server = await spawnServer(["--host=0.0.0.0", "--open"]);
  const url = `http://${other}:${server.port}`;
  for (const path of ["channels", "metrics"]) {
    const answer = await ask(`${url}/${path}`);
    assertEquals([answer.status, errorCode(answer)], [403, "local_only"]);
  }
  assertEquals((await ask(`${url}/publish?name=x&data=a`)).status, 200);
  assertEquals((await ask(`http://127.0.0.1:${server.port}/metrics`)).status, 200);
});

Deno.test("with a key a proxy is shown channels and metrics for it, and nothing without", async () => {
  await using server = await serveHere("--publish-key=k", "--trust-proxy");
  const headers = { "X-Forwarded-For": "192.0.2.1", "Host": "river.test" };
  for (const path of ["channels", "metrics"]) {
    const statusOf = async (more = {}) =>
      (await sendRaw(server, `GET /${path} HTTP/1.1`, { ...headers, ...more })).status;
    assertEquals([await statusOf(), await statusOf({ Authorization: "Bearer k" })], [401, 200]);
  }
});

const WARNED: [what: string, flags: string[], header: string | undefined, lines: number][] = [
  ["a proxy in front of an open server", [], "x-forwarded-for", 1],
  ["a proxy that sends only Via", [], "via", 1],
  ["a proxy in front of a server that is meant to be open", ["--open"], "forwarded", 1],
  ["no proxy", [], undefined, 0],
  ["a proxy that is known", ["--open", "--trust-proxy"], "x-forwarded-for", 0],
  ["a proxy in front of a server with a key", ["--publish-key=k"], "x-forwarded-for", 0],
];

for (const [what, flags, header, lines] of WARNED) {
  Deno.test(`${what} is warned of ${lines === 0 ? "never" : "once"}`, async () => {
    await using server = await spawnServer(flags);
    const headers = header === undefined ? undefined : { [header]: "192.0.2.1" };
    for (const path of ["healthz", "publish?name=x&data=a", "healthz"]) {
      await ask(`${server.url}/${path}`, { headers });
    }
    await (await subscribe(server, "name=x", headers))[Symbol.asyncDispose]();
    await server.end();
    const warnings = (await server.stderr()).split("\n")
      .filter((line) => / warn /.test(line) && !line.includes(" warn refused "));
    assertEquals(warnings.length, lines, warnings.join("\n"));
    if (lines === 0) return;
    assertMatch(warnings[0], /through a proxy.* --publish-key .*--trust-proxy.* code="open_behind/);
  });
}

Deno.test("a client elsewhere that has a proxy of its own is not a reason to warn", async () => {
  const other = Deno.networkInterfaces()
    .find(({ family, address }) => family === "IPv4" && !isLoopback(address))?.address;
  await using server = await spawnServer(["--host=0.0.0.0", "--open"]);
  await ask(`http://${other}:${server.port}/healthz`, { headers: { via: "1.1 office" } });
  await until(async () => (await ask(`${server.url}/healthz`)).status === 200);
  await server.end();
  assert(!/ warn /.test(await server.stderr()));
});

Deno.test("over HTTP/2 another name of this host is shown no channels and metrics either", async () => {
  await using server = await serveHere();
  await publish(server, "x", "a");
  const statusOf = async (name: string, path: string, ...args: string[]) => {
    await using answer = curl(
      ...["--http2-prior-knowledge", "--resolve", `${name}:${server.port}:127.0.0.1`],
      ...["--output", "/dev/null", "--write-out", "%{http_code}\n", ...args],
      `http://${name}:${server.port}/${path}`,
    );
    return (await answer.output()).trim();
  };
  for (const path of ["channels", "channels/x", "metrics"]) {
    const statuses = [await statusOf("river.test", path), await statusOf("localhost", path)];
    assertEquals([path, ...statuses], [path, "403", "200"]);
  }
  assertEquals(await statusOf("river.test", "channels/x", "--request", "DELETE"), "403");
});
