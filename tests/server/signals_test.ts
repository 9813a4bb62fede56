import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ask, errorCode, msg, publish, subscribe } from "../support/http.ts";
import {
  freePort,
  logOf,
  MAIN,
  metric,
  RUN,
  type ServerProcess,
  spawnServer,
} from "../support/server.ts";
import { until } from "../support/until.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

async function withFile(text: string, action: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".toml" });
  try {
    await Deno.writeTextFile(path, text);
    await action(path);
  } finally {
    await Deno.remove(path);
  }
}

const statusOf = async (server: { url: string }, path: string, headers = {}) =>
  (await ask(`${server.url}/${path}`, { headers })).status;

Deno.test("SIGHUP reads keys, secrets, origins and limits again, and cuts nobody", async () => {
  await withFile('publish-key = "old"\norigin = "https://a.test"\nhistory = 3\n', async (path) => {
    await using server = await spawnServer(["--config", path]);
    await using reader = await subscribe(server, "name=x");
    assertEquals(await statusOf(server, "publish?name=x&data=1&token=old"), 200);
    await Deno.writeTextFile(
      path,
      'publish-key = "new"\norigin = "https://b.test"\nmax-message = "4B"\nhistory = 1\n',
    );
    server.process.kill("SIGHUP");
    await until(async () => await statusOf(server, "publish?name=x&data=2&token=new") === 200);
    assertEquals(await statusOf(server, "publish?name=x&data=2&token=old"), 401);
    assertEquals(await statusOf(server, "publish?name=x&data=12345&token=new"), 413);
    assertEquals(await statusOf(server, "healthz", { origin: "https://b.test" }), 200);
    assertEquals(await statusOf(server, "healthz", { origin: "https://a.test" }), 403);
    assertEquals(await reader.take(2), [msg("x", 1, "1"), msg("x", 2, "2")]);
    const { text } = await ask(`${server.url}/channels/x?token=new`);
    assertEquals(JSON.parse(text).history.messages, 1);
    await server.end();
    assertMatch(await server.stderr(), / info reloaded the options [^\n]*publish-key="set"/);
  });
});

Deno.test("a mistake in the file changes nothing at SIGHUP, and the log says so", async () => {
  await withFile('publish-key = "k"\n', async (path) => {
    await using server = await spawnServer(["--config", path]);
    const reload = async (text: string, line: string) => {
      const before = server.log().length;
      await Deno.writeTextFile(path, text);
      server.process.kill("SIGHUP");
      await until(() => server.log().slice(before).includes(line));
    };
    for (const text of ['publish-key = "other"\nhistroy = 1\n', 'publish-key = ""\n', "= ="]) {
      await reload(text, " error kept the old options, because the new ones are wrong ");
    }
    await reload(
      'publish-key = "k"\nheartbeat = "30s"\n',
      " warn some changed options need a restart ",
    );
    assertEquals(await statusOf(server, "publish?name=x&data=1&token=k"), 200);
    assertEquals(await statusOf(server, "publish?name=x&data=1&token=other"), 401);
    await server.end();
    const kept = / error kept the old options, because the new ones are wrong error="/g;
    assertEquals(server.log().match(kept)?.length, 3);
    assertMatch(server.log(), / warn some changed options need a restart options="heartbeat"/);
  });
});

Deno.test("after SIGHUP the metrics and the log show what is in force, not what needs a restart", async () => {
  await withFile('heartbeat = "20s"\nmax-message = "1KiB"\n', async (path) => {
    await using server = await spawnServer(["--config", path]);
    const needRestart = ["max-ids", "max-queue", "max-unsent", "max-inbox", "heartbeat"];
    const names = [...needRestart, "max-message"];
    const limits = () =>
      Promise.all(names.map((name) => metric(server, `river_limit{option="${name}"}`)));
    const before = await limits();
    const file = [
      'host = "127.0.0.2"\nport = 9\nheartbeat = "3s"\nmax-message = "2KiB"\nmax-ids = 7\n',
      'max-queue = "2MiB"\nmax-unsent = "9MiB"\nmax-inbox = "8MiB"\n',
      'drain-delay = "7s"\ngrace = "7s"\nlog-format = "json"\n',
    ];
    await Deno.writeTextFile(path, file.join(""));
    server.process.kill("SIGHUP");
    await until(() => server.log().includes(" warn some changed options need a restart "));
    assertEquals(await limits(), [...before.slice(0, -1), 2048]);
    const [line] = / info reloaded the options .*/.exec(server.log())!;
    assertEquals(
      [...line.matchAll(/ ([a-z-]+)=("[^"]*")/g)].map(([, name, value]) => [name, value])
        .filter(([name]) => name !== "port"),
      [["config", JSON.stringify(path)], ["max-message", '"2KiB"'], ["heartbeat", '"20s"']],
    );
    assert(!line.includes('port="9"'), line);
    assertMatch(
      server.log(),
      /need a restart options="host max-ids max-queue max-unsent max-inbox heartbeat drain-delay grace log-format"/,
    );
  });
});

Deno.test("SIGUSR1 and SIGUSR2 are harmless", async () => {
  await using server = await spawnServer();
  await using reader = await subscribe(server, "name=x");
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) server.process.kill(signal);
  await publish(server, "x", "alive");
  assertEquals(await reader.next(), msg("x", 1, "alive"));
  assertEquals((await server.end()).code, 0);
  assert(!(await server.stderr()).includes("9229"));
});

Deno.test("--drain-delay: /healthz is 503 first, everything else is served until then", async () => {
  await using server = await spawnServer(["--drain-delay", "1s"]);
  await using reader = await subscribe(server, "name=x");
  const ended = server.end();
  await until(async () => await statusOf(server, "healthz") === 503);
  assertEquals(errorCode(await ask(`${server.url}/healthz`)), "shutting_down");
  assertEquals(await statusOf(server, "healthz?live"), 200);
  assertEquals((await publish(server, "x", "still")).subscribers, 1);
  assertEquals(await reader.next(), msg("x", 1, "still"));
  const { text } = await ask(`${server.url}/metrics`);
  // To tell a probe is no refusal.
  assert(!text.includes("shutting_down"), text);
  assertMatch(text, /river_requests_total\{route="healthz",status="503"\} [1-9]/);
  assertEquals((await ended).code, 0);
  assertMatch(
    await logOf(server),
    /^\S+ info about to shut down signal="SIGTERM" drain-delay="1s"\n\S+ info shutting down\n$/,
  );
  assertEquals(await reader.next(), undefined);
});

/** Runs the program until it ends of itself. */
async function run(args: string[], env = {}): Promise<[number, string, string]> {
  const command = new Deno.Command(Deno.execPath(), { args: [...RUN, MAIN, ...args], env });
  const { code, stdout, stderr } = await command.output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return [code, decode(stdout), decode(stderr)];
}

Deno.test("--check says whether the options are good, and starts nothing", async () => {
  assertEquals(await run(["--check", "--port=1"]), [0, "river: the options are valid\n", ""]);
  const [code, stdout, stderr] = await run(["--check", "--host=0.0.0.0"]);
  assertEquals([code, stdout], [2, ""]);
  assertMatch(stderr, /^river: Refusing to listen on 0\.0\.0\.0 /);
});

Deno.test("--print-config prints a file that means the same, without secrets", async () => {
  const flags = ["--history-ttl=90m", "--origin=a.test", "--origin=b.test", "--max-queue=512KiB"];
  const env = { RIVER_PUBLISH_KEY: "s3cret", RIVER_TOKEN_SECRET: SECRET };
  const [code, file] = await run([...flags, "--print-config"], env);
  assertEquals(code, 0);
  for (const secret of ["s3cret", SECRET]) assert(!file.includes(secret));
  assertStringIncludes(file, 'history-ttl = "90m"\n');
  assertStringIncludes(file, "# publish-key is set\n");
  await withFile(file, async (path) => {
    assertEquals((await run(["--config", path, "--print-config"], env))[1], file);
  });
});

Deno.test("a log that nobody reads stops nothing: requests, SIGTERM, the end", async () => {
  const shell = ['exec 3> >(sleep 30); exec "$@" 2>&3', "river", Deno.execPath(), ...RUN, MAIN];
  const child = new Deno.Command("bash", {
    args: ["-c", ...shell, "--port=0", "--log-level=info"],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const greeting = new TextDecoder().decode((await reader.read()).value);
  const url = /http:\/\/\S+(?=\/\n)/.exec(greeting)![0];
  // Every code is one line a second: many paths and reasons are needed to fill a pipe.
  const server = { url } as ServerProcess;
  for (let i = 0; i < 50; i++) {
    assertEquals(await statusOf(server, `nothing${"x".repeat(200)}`), 404);
    assertEquals(await statusOf(server, "publish"), 400);
  }
  assertEquals((await publish(server, "x", "alive")).seq, 1);
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
  await reader.cancel();
});

for (const [stdout, how] of [[">/dev/full", "is full"], ["> >(:)", "nobody reads"]]) {
  Deno.test(`a stdout that ${how} costs the first line and nothing else`, async () => {
    const port = freePort();
    const shell = [`exec "$@" ${stdout}`, "river", Deno.execPath(), ...RUN, MAIN];
    const child = new Deno.Command("bash", { args: ["-c", ...shell, `--port=${port}`] }).spawn();
    const server = { url: `http://127.0.0.1:${port}` };
    await until(() =>
      ask(`${server.url}/healthz`).then(({ status }) => status === 200, () => false)
    );
    assertEquals((await publish(server, "x", "alive")).seq, 1);
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0);
  });
}

Deno.test("help that cannot be written is one line on stderr", async () => {
  const shell = ['exec "$@" >/dev/full', "river", Deno.execPath(), ...RUN, MAIN, "--help"];
  const { code, stderr } = await new Deno.Command("bash", { args: ["-c", ...shell] }).output();
  assertEquals(code, 1);
  assertMatch(new TextDecoder().decode(stderr), /^river: cannot write to stdout: [^\n]+\n$/);
});

Deno.test("an echo of the signal to end does not break off what is open", async () => {
  await using server = await spawnServer();
  await using lines = await subscribe(server, "name=x");
  await publish(server, "x", "a");
  server.process.kill("SIGINT");
  const { code } = await server.end("SIGINT");
  assertMatch(await lines.rest(), /"a"/);
  assertEquals(code, 0);
});
