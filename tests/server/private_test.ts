import { assert, assertEquals } from "@std/assert";
import { ASSETS } from "../../lib/http/assets.ts";
import { ask, publish } from "../support/http.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";

/** Requests, and the status of each. All that any route answers is here. */
const REQUESTS: [line: string, status: number][] = [
  ["GET /publish?name=x&data=a", 200],
  ["GET /publish?name=x&name=y&data=a", 200],
  ["GET /publish", 400],
  ["OPTIONS /publish", 204],
  ["DELETE /publish", 405],
  ["GET /subscribe?name=x&seq=0&limit=1", 200],
  ["GET /subscribe?name=x&seq=0&keep=0&format=sse", 200],
  ["GET /subscribe?name=x&seq=0&callback=cb", 200],
  ["GET /subscribe?name=empty&timeout=0.01", 204],
  ["GET /subscribe", 400],
  ["GET /websocket?name=x", 426],
  ["GET /channels", 200],
  ["GET /channels?limit=0", 400],
  ["GET /channels/x", 200],
  ["GET /channels/unknown", 404],
  ["DELETE /channels/x", 200],
  ["OPTIONS /channels/x", 204],
  ["GET /healthz", 200],
  ["HEAD /healthz", 200],
  ["GET /metrics", 200],
  ["GET /chat-demo", 308],
  ["HEAD /chat-demo", 308],
  ["GET /nothing", 404],
  ["POST /publish?name=", 400],
  ["POST /nothing", 404],
  ["PATCH /", 405],
];

/** What keeps an answer out of caches and scripts. */
function keeping({ headers }: { headers: Headers }) {
  const directives = (headers.get("cache-control") ?? "").split(/, */);
  return [directives.includes("no-store"), headers.get("x-content-type-options")];
}

for (const [line, status] of REQUESTS) {
  Deno.test(`${line} gets ${status}, which no cache keeps and no page takes for a script`, async () => {
    await using server = await serveHere();
    await publish(server, "x", "a");
    const [method, path] = line.split(" ");
    const init = { method, redirect: "manual" } as const;
    const answer = await ask(server.url + path, init);
    assertEquals([answer.status, ...keeping(answer)], [status, true, "nosniff"]);
    const page = await ask(server.url + path, { ...init, headers: { origin: server.url } });
    assertEquals(keeping(page), [true, "nosniff"]);
  });
}

Deno.test("refusals before any route, of the server's end and of its errors are kept by no cache", async () => {
  await using server = await serveHere("--publish-key=k");
  const bad = await sendRaw(server, "GET /healthz HTTP/1.1", { Host: "a/b" });
  const foreign = await ask(`${server.url}/healthz`, { headers: { origin: "https://evil.test" } });
  const unknown = await ask(`${server.url}/metrics`);
  const fallen = server.fail(new Error("x"));
  const drained = server.refuse();
  const draining = await ask(`${server.url}/healthz`);
  const event = { headers: { accept: "text/event-stream" } };
  const back = await ask(`${server.url}/subscribe?name=x`, event);
  const answers = [bad, foreign, unknown, fallen, draining, back];
  assertEquals(answers.map(({ status }) => status), [400, 403, 401, 500, 503, 200]);
  for (const answer of answers) assertEquals(keeping(answer), [true, "nosniff"]);
  await drained;
});

Deno.test("receipts of POST ask no cache to keep them: HTTP has them kept only where they do", async () => {
  await using server = await serveHere();
  const { status, headers } = await ask(`${server.url}/publish?name=x&data=a`, { method: "POST" });
  assertEquals(status, 200);
  for (const name of ["cache-control", "expires", "content-location", "etag", "last-modified"]) {
    assert(["no-store", null].includes(headers.get(name)), name);
  }
});

Deno.test("assets are kept, and asked for anew with their tag", async () => {
  await using server = await serveHere();
  for (const [path, { shared }] of ASSETS) {
    const { headers } = await ask(server.url + path);
    const [allowed, vary] = ["access-control-allow-origin", "vary"].map((name) =>
      headers.get(name)
    );
    // A cache must not give a page of another origin what it kept for this one.
    assertEquals([allowed, vary], shared ? ["*", null] : [null, "Origin"], path);
    const page = await ask(server.url + path, { headers: { origin: server.url } });
    assertEquals(page.headers.get("vary"), vary, path);
    assertEquals(headers.get("cache-control"), "no-cache", path);
    assertEquals(headers.get("x-content-type-options"), "nosniff", path);
    const again = { headers: { "if-none-match": headers.get("etag")! } };
    const known = await ask(server.url + path, again);
    assertEquals([known.status, known.headers.get("cache-control")], [304, "no-cache"], path);
  }
});

Deno.test("a WebSocket's handshake is answered as the runtime does", async () => {
  await using server = await serveHere();
  assertEquals((await sendRaw(server, "GET /websocket?name=x HTTP/1.1", UPGRADE)).status, 101);
});
