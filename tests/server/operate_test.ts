import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { nameOf } from "../../lib/cli/option.ts";
import { SERVER_OPTIONS } from "../../lib/cli/options.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { createRiver } from "../../lib/river.ts";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import { MAIN, memoryLimits, metric, RUN, serveHere, spawnServer } from "../support/server.ts";
import { openPlain } from "../support/sockets.ts";
import { until } from "../support/until.ts";

/** Gets JSON. */
async function get(server: { url: string }, path: string): Promise<unknown> {
  const { status, text } = await ask(server.url + path);
  assertEquals(status, 200, text);
  return JSON.parse(text);
}

Deno.test("/channels/NAME shows a channel", async () => {
  await using server = await serveHere("--history", "2");
  await using _lines = await subscribe(server, "name=a/b");
  for (const data of ["1", "22", "ä3"]) await publish(server, "a/b", data);
  const { epoch } = await publish(server, "c", "");
  for (const path of ["a/b", "a%2Fb"]) {
    assertEquals(await get(server, `/channels/${path}`), {
      channel: "a/b",
      seq: 3,
      epoch,
      subscribers: 1,
      history: { messages: 2, bytes: 5, oldest: 2 },
    });
  }
});

Deno.test("others are answered while many channels are listed", async () => {
  await using server = await serveHere("--max-channels", "100000", "--max-memory", "256MiB");
  for (let i = 0; i < 100_000; i++) server.engine.publish(`c${i}`, "");
  let listed = 0;
  let answered = 0;
  const lists = Array.from({ length: 32 }, async () => {
    await get(server, "/channels?prefix=none");
    listed++;
  });
  while (listed < lists.length) {
    await get(server, "/healthz");
    answered++;
  }
  await Promise.all(lists);
  assert(answered > 6, `${answered} answers while channels were listed`);
});

Deno.test("/channels lists pages, and each channel once", async () => {
  await using server = await serveHere();
  const names = Array.from({ length: 7 }, (_, i) => `n${i}`);
  for (const name of ["other", ...names]) await publish(server, name, "x");
  const seen: string[] = [];
  for (let after: string | null = ""; after !== null;) {
    const query: string = `prefix=n&limit=3${after && `&after=${after}`}`;
    const page = await get(server, `/channels?${query}`) as {
      channels: { channel: string; seq: number; subscribers: number }[];
      next: string | null;
    };
    assert(page.channels.length <= 3);
    for (const { channel, seq, subscribers } of page.channels) {
      assertEquals([seq, subscribers], [1, 0]);
      seen.push(channel);
    }
    after = page.next;
  }
  assertEquals(seen.sort(), names);
});

Deno.test("/channels shows a hundred on a page, up to a thousand if it is asked for them", async () => {
  await using server = await serveHere();
  for (let i = 0; i < 1001; i++) await server.hub.publish({ channel: `c${i}`, data: "x" });
  const lengthOf = async (query: string) => {
    const { channels, next } = JSON.parse((await ask(`${server.url}/channels${query}`)).text);
    return [channels.length, next !== null];
  };
  assertEquals(await lengthOf(""), [100, true]);
  assertEquals(await lengthOf("?limit=1"), [1, true]);
  assertEquals(await lengthOf("?limit=1000"), [1000, true]);
  assertEquals(await lengthOf("?prefix=c100&limit=2"), [2, false]);
});

Deno.test("/channels refuses pages that make no sense", async () => {
  await using server = await serveHere();
  for (const query of ["limit=0", "limit=1001", "limit=a", "after=abc", "after=-1", "prefix=%ff"]) {
    const answer = await ask(`${server.url}/channels?${query}`);
    assertEquals([answer.status, errorCode(answer)], [400, "bad_parameter"]);
  }
  assertEquals(await get(server, "/channels"), { channels: [], next: null });
});

Deno.test("a channel that is not known is not found, and not made", async () => {
  await using server = await serveHere();
  for (const method of ["GET", "DELETE"]) {
    const answer = await ask(`${server.url}/channels/x`, { method });
    assertEquals([answer.status, errorCode(answer)], [404, "unknown_channel"]);
  }
  for (const path of ["/channels/", "/channels/%00", "/channels/%ff", "/channels/%"]) {
    assertEquals((await ask(server.url + path)).status, 400);
  }
  assertEquals(server.engine.usage().channels, 0);
});

Deno.test("DELETE /channels/NAME starts over with a new epoch, and subscribers are told", async () => {
  await using server = await serveHere();
  const { epoch: old } = await publish(server, "x", "a");
  await using resuming = await subscribe(server, "name=x&seq=0");
  await using live = await openPlain(server, "x");
  assertEquals(await resuming.next(), msg("x", 1, "a"));
  const answer = await ask(`${server.url}/channels/x`, { method: "DELETE" });
  const { epoch, ...rest } = JSON.parse(answer.text);
  assertNotEquals(epoch, old);
  assertEquals(rest, {
    channel: "x",
    seq: 0,
    subscribers: 2,
    history: { messages: 0, bytes: 0, oldest: null },
  });
  assertEquals(await publish(server, "x", "b"), { channel: "x", seq: 1, epoch, subscribers: 2 });
  const gap =
    `["gap", {"channel": "x", "from": 2, "to": 0, "epoch": "${epoch}", "reason": "restart"}]`;
  assertEquals(await resuming.take(2), [gap, msg("x", 1, "b")]);
  assertEquals(await live.frame(), msg("x", 1, "b"));
  const stale = await ask(`${server.url}/subscribe?name=x&seq=${old}-1&keep=0`);
  assertEquals(stale.text, `${gap}\n${msg("x", 1, "b")}\n`);
});

Deno.test("--publish-key: channels and metrics need it, health does not", async () => {
  await using server = await serveHere("--publish-key", "k");
  const authorized = { headers: { Authorization: "Bearer k" } };
  await ask(`${server.url}/publish?name=x&data=a`, authorized);
  for (
    const [path, method] of [["/channels", "GET"], ["/channels/x", "GET"], ["/metrics", "GET"], [
      "/channels/x",
      "DELETE",
    ]]
  ) {
    const answer = await ask(server.url + path, { method });
    assertEquals([answer.status, errorCode(answer)], [401, "missing_token"]);
    assertEquals(answer.headers.get("www-authenticate"), 'Bearer realm="river"');
    assertEquals(server.engine.usage().messages, 1);
    assertEquals((await ask(server.url + path, { method, ...authorized })).status, 200);
  }
  assertEquals((await ask(`${server.url}/healthz`)).status, 200);
});

/** An engine that cannot do its work for a reason of its own, as one that reads its file at the start. */
class UnreadyEngine extends MemoryEngine {
  unreadySince = Date.UTC(2026, 0, 2, 3, 4, 5);

  override ready() {
    return { reason: "starting", since: this.unreadySince };
  }
}

Deno.test("/healthz is 503 with the reason while the engine is not ready, and 200 with live", async () => {
  const engine = new UnreadyEngine(memoryLimits());
  const warned: unknown[] = [];
  const river = createRiver({ engine, warn: (_, facts) => void warned.push(facts.path) });
  await river.start();
  const answerOf = async (path: string, method = "GET") =>
    await river.handle(new Request(`http://localhost${path}`, { method }));
  const unready = await answerOf("/healthz");
  assertEquals([unready.status, unready.headers.get("retry-after")], [503, "5"]);
  assertEquals(
    await unready.text(),
    '{"error":{"code":"starting",' +
      '"message":"The engine has not been ready since 2026-01-02T03:04:05.000Z: starting"}}\n',
  );
  for (const path of ["/healthz?live", "/healthz?live=1", "/healthz?a=b&live"]) {
    const live = await answerOf(path);
    assertEquals([path, live.status, await live.json()], [path, 200, { status: "ok" }]);
    assertEquals((await answerOf(path, "HEAD")).status, 200);
  }
  engine.unreadySince = NaN;
  const { error } = await (await answerOf("/healthz")).json();
  assertEquals(error, { code: "starting", message: "The engine is not ready: starting" });
  for (const path of ["/healthz?alive", "/healthz?lives", "/healthz?a=live"]) {
    assertEquals([path, (await answerOf(path)).status], [path, 503]);
  }
  // To tell a probe is no refusal.
  assertEquals((await answerOf("/healthz", "PUT")).status, 405);
  assertEquals(warned, ["/healthz"]);
  const metrics = await (await answerOf("/metrics")).text();
  assertMatch(metrics, /river_refusals_total\{status="405",code="method_not_allowed"\} 1\n/);
  assertEquals(metrics.includes("starting"), false);
  await river.drain();
  await river.close();
});

Deno.test("/healthz says that all is well", async () => {
  await using server = await serveHere();
  assertEquals(await get(server, "/healthz"), { status: "ok" });
  const head = await ask(`${server.url}/healthz`, { method: "HEAD" });
  assertEquals([head.status, head.text], [200, ""]);
});

Deno.test("/metrics counts what happens, and names no channel", async () => {
  await using server = await serveHere("--history", "2");
  await using stream = await subscribe(server, "name=secret-name&seq=0");
  await using _socket = await openPlain(server, "secret-name");
  for (const data of ["a", "ä", "c"]) await publish(server, "secret-name", data);
  await stream.take(3);
  await ask(`${server.url}/subscribe?name=secret-name&seq=0&keep=0`);
  await ask(`${server.url}/publish`);
  const { text, headers } = await ask(`${server.url}/metrics`);
  assertEquals(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (
    const line of [
      "river_messages_published_total 3",
      "river_messages_delivered_total 8",
      'river_gaps_total{reason="evicted"} 1',
      'river_connections_total{transport="stream"} 1',
      'river_connections_total{transport="websocket"} 1',
      'river_connections_total{transport="long-poll"} 1',
      'river_disconnections_total{reason="done"} 1',
      'river_refusals_total{status="400",code="missing_parameter"} 1',
      'river_subscribers{transport="stream"} 1',
      'river_subscribers{transport="websocket"} 1',
      'river_subscribers{transport="long-poll"} 0',
      "river_channels 1",
      "river_history_messages 2",
      "river_history_bytes 3",
    ]
  ) assertStringIncludes(text, `\n${line}\n`);
  assert(!text.includes("secret-name"));
  for (
    const pattern of [
      /^river_build_info\{version="",deno="\d+\.\d+\.\d+"\} 1$/m,
      /^river_limit\{option="max-memory"\} 134217728$/m,
      /^river_limit\{option="max-queue"\} 1048576$/m,
      /^process_start_time_seconds 1[0-9]{9}(?:\.\d+)?$/m,
      /^process_cpu_seconds_total [0-9.]+$/m,
      /^process_heap_bytes [1-9][0-9]+$/m,
      /^river_event_loop_lag_seconds [0-9.]+$/m,
      /^river_published_bytes_total 4$/m,
      /^river_delivered_bytes_total [1-9][0-9]*$/m,
      /^river_requests_total\{route="publish",status="200"\} 3$/m,
      /^river_requests_total\{route="publish",status="400"\} 1$/m,
      /^river_request_seconds_count\{route="subscribe"\} 2$/m,
      /^river_requests_total\{route="websocket",status="101"\} 1$/m,
    ]
  ) assertMatch(text, pattern);
  const families = [...text.matchAll(/^# TYPE (\S+) (?:counter|gauge|histogram)$/gm)].map((
    [, name],
  ) => name);
  assertEquals(new Set(families).size, families.length);
  for (const line of text.trimEnd().split("\n")) {
    assertMatch(
      line,
      /^(?:# (?:HELP|TYPE) \S+ .+|[a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$/,
    );
  }
  assert(await metric(server, "process_resident_memory_bytes") > 1_000_000);
});

Deno.test("/ serves a page, and not again when it is known", async () => {
  await using server = await serveHere();
  const page = await ask(`${server.url}/`);
  assertEquals(page.status, 200);
  assertStringIncludes(page.headers.get("content-type") ?? "", "text/html");
  const headers = { "If-None-Match": page.headers.get("etag") ?? "" };
  assertEquals((await ask(`${server.url}/`, { headers })).status, 304);
});

Deno.test("a list of 50,000 spaces in If-None-Match holds nobody up: it is not looked at", async () => {
  await using server = await serveHere();
  const etag = (await ask(`${server.url}/`)).headers.get("etag");
  const listed = { "If-None-Match": `"x", ${etag}` };
  assertEquals((await ask(`${server.url}/`, { headers: listed })).status, 304);
  const spaces = { "If-None-Match": `"x"${" ".repeat(50_000)}x, ${etag}` };
  assertEquals((await ask(`${server.url}/`, { headers: spaces })).status, 200);
});

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program until it ends of itself. */
async function run(args: string[], env: Record<string, string> = {}): Promise<Run> {
  const command = new Deno.Command(Deno.execPath(), { args: [...RUN, MAIN, ...args], env });
  const { code, stdout, stderr } = await command.output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}

/** A file that is there while `action` runs. */
async function withFile<T>(text: string, action: (path: string) => Promise<T>): Promise<T> {
  const path = await Deno.makeTempFile({ suffix: ".toml" });
  try {
    await Deno.writeTextFile(path, text);
    return await action(path);
  } finally {
    await Deno.remove(path);
  }
}

const MISTAKES: [args: string[], env: Record<string, string>, mention: string][] = [
  [["--colour"], {}, "--colour"],
  [["-x"], {}, "-x"],
  [["listen"], {}, '"listen"'],
  [["serve", "serve"], {}, '"serve"'],
  [["--port", "65536"], {}, '"65536" for --port'],
  [["--port", "http"], {}, '"http" for --port'],
  [["--port"], {}, "--port"],
  [["--history=-1"], {}, "--history"],
  [["--history", "1", "--history", "2"], {}, "--history is given 2 times"],
  [["--max-message", "1 ZiB"], {}, "--max-message"],
  [["--max-message", "2MiB"], {}, "--max-body"],
  [["--heartbeat", "99ms"], {}, "--heartbeat"],
  [["--grace", "soon"], {}, "--grace"],
  [["--log-format", "xml"], {}, "--log-format"],
  [[], { RIVER_HISTORY: "many" }, "RIVER_HISTORY"],
  [[], { RIVER_HISTROY: "7" }, "did you mean RIVER_HISTORY?"],
  [["--prot", "80"], {}, "did you mean --port?"],
  [["tokne"], {}, "did you mean token?"],
  [["help", "x"], {}, 'Unknown command "x"'],
  [["--config", "/nonexistent/river.toml"], {}, '"/nonexistent/river.toml"'],
  [[], { RIVER_CONFIG: "/nonexistent/river.toml" }, '"/nonexistent/river.toml"'],
  [["--host", "0.0.0.0"], {}, "--publish-key"],
  [["--host", "::"], {}, "--publish-key"],
  [["--trust-proxy"], {}, "--publish-key"],
  [[], { RIVER_PUBLISH_KEY: "" }, "RIVER_PUBLISH_KEY"],
  [[], { RIVER_TOKEN_SECRET: "" }, "RIVER_TOKEN_SECRET"],
  [["--port", "0"], { DENO_SERVE_ADDRESS: "tcp:0.0.0.0:0" }, "DENO_SERVE_ADDRESS"],
  [["--host", "203.0.113.1", "--open"], {}, "Cannot listen on 203.0.113.1"],
];

Deno.test("mistakes on the command line are one line on stderr and exit code 2", async () => {
  const runs = await Promise.all(MISTAKES.map(([args, env]) => run(args, env)));
  runs.forEach(({ code, stdout, stderr }, i) => {
    const [args, env, mention] = MISTAKES[i];
    const shown = JSON.stringify([args, env, stderr]);
    assertEquals([code, stdout], [2, ""], shown);
    assertMatch(stderr, /^river: [^\n]+\n$/, shown);
    assertStringIncludes(stderr, mention, shown);
  });
});

const BAD_FILES: [text: string, mention: string][] = [
  ["colour = 1", '"colour"'],
  ["histroy = 1", "did you mean history?"],
  ['history = "many"', '"history"'],
  ["history = ", "Cannot parse"],
  ['config = "other.toml"', '"config"'],
  ["[history]\nn = 1", '"history"'],
];

Deno.test("mistakes in the config file are one line on stderr and exit code 2", async () => {
  const check = ([text, mention]: typeof BAD_FILES[number]) =>
    withFile(text, async (path) => {
      const { code, stdout, stderr } = await run(["--config", path]);
      assertEquals([code, stdout], [2, ""], text);
      assertMatch(stderr, /^river: [^\n]+\n$/);
      assertStringIncludes(stderr, mention);
      assertStringIncludes(stderr, path);
    });
  await Promise.all(BAD_FILES.map(check));
});

Deno.test("a port that is taken is one line on stderr and exit code 2", async () => {
  await using server = await serveHere();
  const { code, stderr } = await run(["--port", String(server.port)]);
  assertEquals(code, 2);
  assertMatch(
    stderr,
    new RegExp(`^river: Cannot listen on 127\\.0\\.0\\.1 port ${server.port}: [^\\n]+\\n$`),
  );
});

Deno.test("--help lists every flag and --version says which it is", async () => {
  const [help, version] = await Promise.all([run(["--help"]), run(["--version"])]);
  assertEquals([help.code, help.stderr, version.code, version.stderr], [0, "", 0, ""]);
  assertMatch(version.stdout, /^river [0-9]+\.[0-9]+\.[0-9]+\n$/);
  for (const name of [...Object.keys(SERVER_OPTIONS).map(nameOf), "help", "version"]) {
    assertMatch(help.stdout, new RegExp(`^  --${name}[ \\n]`, "m"));
  }
});

Deno.test("the first line on stdout says where it listens", async () => {
  await using server = await spawnServer();
  assertMatch(
    server.greeting,
    /^river [0-9.]+ listening on http:\/\/127\.0\.0\.1:[1-9][0-9]*\/\n$/,
  );
  assertEquals(await get(server, "/healthz"), { status: "ok" });
  assertEquals((await server.end("SIGINT")).code, 0);
});

Deno.test("variables that an orchestrator sets are ignored, and one line of the log tells it", async () => {
  const injected = {
    RIVER_PORT: "tcp://10.0.0.143:9271",
    RIVER_SERVICE_HOST: "10.0.0.143",
    RIVER_PORT_9271_TCP_ADDR: "10.0.0.143",
  };
  await using server = await spawnServer([], { env: injected });
  assertEquals((await server.end()).code, 0);
  const [line, ...others] = (await server.stderr()).split("\n");
  assertMatch(line, / info ignored variables that an orchestrator set variables="/);
  for (const name of Object.keys(injected)) assertStringIncludes(line, name);
  assertEquals(others.filter((other) => other.includes("RIVER_")), []);
});

Deno.test("takeEnvironment() reads the environment once: nothing gets at it afterwards", async () => {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const program = new URL("../../lib/cli/program.ts", import.meta.url).href;
    await Deno.writeTextFile(
      file,
      `import { takeEnvironment } from "${program}";
      console.log(takeEnvironment().RIVER_PUBLISH_KEY);
      try { console.log(Deno.env.get("RIVER_PUBLISH_KEY")); } catch (error) { console.log(error.name); }`,
    );
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    const outputs = [["--allow-env"], ["--allow-env=RIVER_*"]].map(async (flags) => {
      const args = ["run", "--no-prompt", "--no-check", ...flags, "--config", config, file];
      const env = { RIVER_PUBLISH_KEY: "secret", NO_COLOR: "1" };
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, env }).output();
      return decode(stdout) + decode(stderr);
    });
    const [whole, named] = await Promise.all(outputs);
    assertEquals(whole, "secret\nNotCapable\n");
    assertStringIncludes(named, "Cannot list the environment: run with --allow-env");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("IPv6 is written with brackets", async () => {
  await using server = await spawnServer(["serve", "--host", "::1"]);
  assertMatch(server.greeting, /http:\/\/\[::1\]:[0-9]+\/\n$/);
  assertEquals((await publish(server, "x", "a")).seq, 1);
});

Deno.test("flags win over the environment, the environment over the file, the file over defaults", async () => {
  await withFile('history = 5\nmax-message = "5"\nmax-channels-per-client = 5\n', async (path) => {
    await using server = await spawnServer(["--config", path, "--history", "3"], {
      env: { RIVER_HISTORY: "4", RIVER_MAX_MESSAGE: "4" },
    });
    for (let i = 0; i < 6; i++) await publish(server, "x", "1234");
    const { history } = await get(server, "/channels/x") as { history: { messages: number } };
    assertEquals(history.messages, 3);
    assertEquals((await ask(`${server.url}/publish?name=x&data=12345`)).status, 413);
    const names = (n: number) => Array.from({ length: n }, (_, i) => `name=${i}`).join("&");
    assertEquals((await ask(`${server.url}/publish?data=a&${names(6)}`)).status, 400);
    assertEquals((await ask(`${server.url}/publish?data=a&${names(5)}`)).status, 200);
  });
});

Deno.test("every kind of option can be set in the file", async () => {
  const text = 'publish-key = "k"\norigin = ["a.example", "b.example"]\nopen = true\n' +
    'heartbeat = "100ms"\nlog-format = "json"\nhost = "127.0.0.1"\n';
  await withFile(text, async (path) => {
    await using server = await spawnServer([], { env: { RIVER_CONFIG: path } });
    assertEquals((await ask(`${server.url}/publish?name=x&data=a`)).status, 401);
    const headers = { Origin: "https://b.example" };
    const answer = await ask(`${server.url}/publish?name=x&data=a&token=k`, { headers });
    assertEquals(answer.status, 200);
    assertEquals(answer.headers.get("access-control-allow-origin"), "https://b.example");
    await using lines = await subscribe(server, "name=x");
    assertEquals(await lines.next(), "");
    await lines[Symbol.asyncDispose]();
    assertEquals((await server.end()).code, 0);
    const logged = (await server.stderr()).trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(logged.map(({ level, message, signal }) => [level, message, signal]), [
      ["info", "started", undefined],
      ["warn", "refused", undefined],
      ["info", "shutting down", "SIGTERM"],
      ["info", "ended", undefined],
    ]);
    const [{ version, url, ...options }] = logged;
    assertEquals([/^\d/.test(version), url], [true, `${server.url}/`]);
    assertEquals(options["publish-key"], "set");
    assertEquals(options.origin, "a.example,b.example");
    assert(!JSON.stringify(logged).includes('"k"'), "no secret is shown");
  });
});

Deno.test("--max-connections follows from the file descriptors, less a reserve, when it is not set", async () => {
  await using server = await spawnServer([], { nofile: 128 });
  await using streams = new AsyncDisposableStack();
  for (let i = 0; i < 63; i++) streams.use(await subscribe(server, "name=x"));
  const last = await subscribe(server, "name=x");
  const answer = await ask(`${server.url}/subscribe?name=x`);
  assertEquals([answer.status, errorCode(answer)], [503, "too_many_connections"]);
  assertEquals((await publish(server, "x", "a")).subscribers, 64);
  await last[Symbol.asyncDispose]();
  await until(async () => await metric(server, 'river_subscribers{transport="stream"}') === 63);
  streams.use(await subscribe(server, "name=x"));
});
