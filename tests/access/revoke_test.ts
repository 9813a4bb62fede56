import { assert, assertEquals, assertMatch } from "@std/assert";
import { Access } from "../../lib/access/access.ts";
import { mintToken } from "../../lib/access/tokens.ts";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { serveHere } from "../support/server.ts";
import { openPlain, openSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const OLD = "fedcba9876543210fedcba9876543210";
const NEW = "0123456789abcdef0123456789abcdef";

/** A token without `exp` that allows publishing and subscribing to every channel. */
function tokenBy(secret: string): Promise<string> {
  return mintToken(secret, { publish: ["*"], subscribe: ["*"], operate: true, expires: Infinity });
}

const STREAMS = ["format=river", "format=river.v1", "format=raw", "format=sse", "format=sse.v1"];
const ONCE = ["keep=0", "keep=0&timeout=60", "callback=show", "keep=0&format=sse"];

for (const query of [...STREAMS, ...ONCE]) {
  Deno.test(`a subscription (${query}) ends when the secret of its token is replaced`, async () => {
    await using server = await serveHere("--token-secret", OLD);
    const path = `${server.url}/subscribe?name=x&token=${await tokenBy(OLD)}&${query}`;
    const ended = ask(path);
    await until(() => server.hub.subscribers("x") === 1);
    server.reload({ tokenSecrets: [NEW, OLD] });
    assertEquals(server.hub.subscribers("x"), 1);
    server.reload({ tokenSecrets: [NEW] });
    assertEquals(server.hub.size, 0);
    const { status } = await ended;
    assertEquals(status, query.includes("timeout") ? 204 : 200);
    assertEquals(errorCode(await ask(path)), "bad_token");
  });
}

for (const protocol of [undefined, "river.v1"]) {
  const name = protocol ?? "plain";
  const frame = protocol ? '["pub", {"channel": "x", "data": "a"}]' : "a";

  Deno.test(`a WebSocket (${name}) is closed with 3500 when the secret of its token is replaced`, async () => {
    await using server = await serveHere("--token-secret", OLD);
    const socket = await openSocket(server, `name=x&token=${await tokenBy(OLD)}`, protocol);
    await until(() => server.hub.subscribers("x") === 1);
    server.reload({ tokenSecrets: [NEW, OLD] });
    socket.send(frame);
    await until(() => server.engine.usage().published === 1);
    server.reload({ tokenSecrets: [NEW] });
    socket.send(frame);
    const { code, reason } = await socket.closed;
    assertEquals([code, reason], [3500, "token expired: reconnect with a new token and resume"]);
    assertEquals([server.engine.usage().published, server.hub.size], [1, 0]);
    assertEquals(server.errors, []);
  });

  Deno.test(`a WebSocket (${name}) is closed with 3500 when its key is replaced, and those without stay`, async () => {
    await using server = await serveHere("--publish-key", "old");
    await using anonymous = await openPlain(server, "x");
    await using reader = await subscribe(server, "name=x");
    const socket = await openSocket(server, "name=x&token=old", protocol);
    await until(() => server.hub.subscribers("x") === 3);
    server.reload({ publishKey: "old" });
    socket.send(frame);
    assertEquals(await reader.next(), msg("x", 1, "a"));
    server.reload({ publishKey: "new" });
    socket.send(frame);
    assertEquals((await socket.closed).code, 3500);
    const { status } = await ask(`${server.url}/publish?name=x&data=b&token=new`);
    assertEquals(status, 200);
    for (const each of [reader, anonymous]) {
      if (each === anonymous) assertEquals(await anonymous.line(), msg("x", 1, "a"));
      assertEquals((await each.take(1))[0], msg("x", 2, "b"));
    }
  });

  Deno.test(`a WebSocket (${name}) to an open server reads on but publishes no more once there is a key`, async () => {
    await using server = await serveHere();
    const socket = await openSocket(server, "name=x", protocol);
    await until(() => server.hub.subscribers("x") === 1);
    server.reload({ publishKey: "k" });
    assertEquals(server.hub.subscribers("x"), 1);
    socket.send(frame);
    if (protocol === undefined) assertEquals((await socket.closed).code, 1008);
    else {
      const lines = await socket.take(2);
      assertMatch(lines[1], /^\["error", \{"code": "missing_token"/);
      server.reload({ tokenSecrets: [NEW] });
      assertEquals((await socket.closed).code, 3500);
    }
    assertEquals(server.engine.usage().published, 0);
  });
}

Deno.test("subscribers that showed nothing end once a token is needed, and stay if one no longer is", async () => {
  await using server = await serveHere("--publish-key", "k");
  await using anonymous = await subscribe(server, "name=x");
  server.reload({});
  await publish(server, "x", "a");
  assertEquals(await anonymous.next(), msg("x", 1, "a"));
  server.reload({ publishKey: "k", tokenSecrets: [NEW] });
  assertEquals(await anonymous.rest(), "");
});

Deno.test("the same text as a key and then as a secret does not vouch for what it was before", async () => {
  await using server = await serveHere("--publish-key", OLD);
  await using holder = await subscribe(server, "name=x", { authorization: `Bearer ${OLD}` });
  server.reload({ publishKey: NEW, tokenSecrets: [OLD] });
  assertEquals(await holder.rest(), "");
});

for (
  const [what, before, after] of [
    ["key", { publishKey: OLD }, { publishKey: NEW }],
    ["secret", { tokenSecrets: [OLD] }, { tokenSecrets: [NEW] }],
    ["absence of a key", {}, { publishKey: NEW }],
  ] as const
) {
  Deno.test(`a publish whose body is still arriving is refused if its ${what} is replaced meanwhile`, async () => {
    await using server = await serveHere();
    server.reload(before);
    const credential = what === "secret" ? await tokenBy(OLD) : OLD;
    let send!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (send = controller),
    });
    const headers = { authorization: `Bearer ${credential}`, "content-type": "text/plain" };
    const answer = ask(`${server.url}/publish?name=x`, { method: "POST", body, headers });
    send.enqueue(new Uint8Array(20_000));
    // The server has read the headers when it answers a later request over another connection.
    await ask(`${server.url}/healthz`);
    server.reload(after);
    send.close();
    assertEquals((await answer).status, 401);
    assertEquals(server.engine.usage().published, 0);
  });
}

Deno.test("Access.grant() judges a token by the secrets at the end of its check", async () => {
  const access = new Access({ tokenSecrets: [OLD] });
  const [headers, token] = [new Headers(), await tokenBy(OLD)];
  const checked = access.grant(headers, token);
  assert(checked instanceof Promise);
  access.replace({ tokenSecrets: [NEW] });
  assertEquals((await checked).trusted, false);
});

Deno.test("Access.vouches() holds for every key and secret in force, and for nothing else", async () => {
  const access = new Access({ publishKey: "k", tokenSecrets: [OLD] });
  const key = await access.grant(new Headers(), "k");
  const token = await access.grant(new Headers(), await tokenBy(OLD));
  const holds = () => [key, token].map(({ voucher }) => access.vouches(voucher));
  assertEquals(holds(), [true, true]);
  for (
    const [options, expected] of [
      [{ publishKey: "k", tokenSecrets: [NEW, OLD] }, [true, true]],
      [{ publishKey: "k" }, [true, false]],
      [{ tokenSecrets: [OLD] }, [false, true]],
      [{}, [false, false]],
      [{ publishKey: "undefined" }, [false, false]],
    ] as const
  ) {
    access.replace(options);
    assertEquals(holds(), [...expected]);
  }
});
