/**
 * `--data`: what was acknowledged survives a kill and a restart, and clients go on.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { EventSource } from "eventsource";
import { killRounds } from "../support/durable.ts";
import { ask, msg, publish, subscribe } from "../support/http.ts";
import { freePort, MAIN, RUN, spawnServer } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";
import { TempFolder } from "../support/temp_folder.ts";
import { until } from "../support/until.ts";

for (const sync of ["normal", "full"]) {
  Deno.test(`--data-sync ${sync}: what was answered with 200 is there after kill -9`, async () => {
    using temp = new TempFolder();
    const path = temp.file();
    const { acknowledged } = await killRounds(path, 3, ["--data-sync", sync]);
    console.log(`${acknowledged} messages acknowledged in 3 rounds`);
  });
}

Deno.test("clients go on over kill -9 and a restart without a gap and without loss", async () => {
  using temp = new TempFolder();
  const path = temp.file();
  const port = freePort();
  const start = () => spawnServer(["--data", path], { port });
  let server = await start();
  const events: string[] = [];
  const source = new EventSource(`${server.url}/subscribe?name=x`);
  for (const type of ["message", "gap"]) {
    source.addEventListener(type, ({ data }) => void events.push(`${type} ${data}`));
  }
  try {
    const socket = await openSocket(server, "name=x", "river.v1");
    const [, { cursor }] = JSON.parse(await socket.line());
    await until(() => publish(server, "x", "a").then(({ subscribers }) => subscribers === 2));
    const { seq } = await publish(server, "x", "before");
    await until(() => events.at(-1) === "message before");
    await server.end("SIGKILL");
    server = await start();
    await publish(server, "x", "after");
    await until(() => events.at(-1) === "message after", 10_000);
    assertEquals(events.filter((event) => event.startsWith("gap")), []);
    const epoch = cursor.split("-")[0];
    await using lines = await subscribe(server, `name=x&seq=${epoch}-${seq}`);
    assertEquals(await lines.next(), msg("x", seq + 1, "after"));
  } finally {
    source.close();
    await server.end("SIGKILL");
  }
});

Deno.test("after SIGTERM the file is one file, and ids and history are there", async () => {
  using temp = new TempFolder();
  const path = temp.file();
  const one = await spawnServer(["--data", path]);
  const { epoch } = await publish(one, "x", "a");
  const url = `${one.url}/publish?name=x&data=b&id=7`;
  const first = await (await fetch(url)).json();
  assertEquals((await one.end()).code, 0);
  const folder = path.slice(0, path.lastIndexOf("/"));
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  assertEquals(names, ["river.db", "river.db.lock"]);
  await using other = await spawnServer(["--data", path]);
  const again = await (await fetch(url.replace(one.url, other.url))).json();
  assertEquals([again.seq, again.epoch], [first.seq, epoch]);
});

for (
  const [what, prepare, error] of [
    [
      "no folder",
      () => {},
      /^river: Cannot open \S+\/none\/river\.db: there is no such folder \(--data\)\n$/,
    ],
    [
      "a text",
      (path: string) => Deno.writeTextFileSync(path, "hello ".repeat(1000)),
      /^river: Cannot use \S+: file is not a database \(--data\)\n$/,
    ],
  ] as const
) {
  Deno.test(`--data with ${what} is a mistake: one line, and exit code 2`, async () => {
    using temp = new TempFolder();
    const path = temp.file();
    prepare(path);
    const file = what === "no folder" ? path.replace("/river.db", "/none/river.db") : path;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...RUN, MAIN, "--port=0", "--data", file],
    }).output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assertEquals([code, decode(stdout)], [2, ""]);
    assertMatch(decode(stderr), error);
  });
}

for (const how of ["its name", "a symbolic link", "a hard link"] as const) {
  Deno.test(`a second process is refused the file by ${how}`, async () => {
    using temp = new TempFolder();
    const path = temp.file();
    await using _server = await spawnServer(["--data", path]);
    const other = how === "its name" ? path : `${path}.other`;
    if (how === "a symbolic link") Deno.symlinkSync(path, other);
    if (how === "a hard link") Deno.linkSync(path, other);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...RUN, MAIN, "--port=0", "--data", other],
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 2);
    assertMatch(
      text,
      how === "a hard link"
        ? /^river: Cannot use \S+: it has 2 names \(hard links\) \(--data\)\n$/
        : /^river: Process \d+ has \S+ open already \(--data\)\n$/,
    );
  });
}

Deno.test("a server that reads a long history says that it is starting, takes SIGHUP, and loses nobody", async () => {
  using temp = new TempFolder();
  const path = temp.file();
  const flags = ["--data", path, "--history", "1000000", "--max-memory", "1GiB"];
  const port = freePort();
  const one = await spawnServer(flags, { port });
  const body = '{"name":"x","data":"a"}\n'.repeat(40_000);
  const headers = { "content-type": "application/x-ndjson" };
  for (let i = 0; i < 5; i++) {
    assertEquals(
      (await ask(`${one.url}/publish`, { method: "POST", body, headers })).status,
      200,
    );
  }
  await one.end("SIGKILL");
  let child: Deno.ChildProcess | undefined;
  const starting = spawnServer(flags, { port, onSpawn: (process) => child = process });
  const statuses = new Set<number>();
  const codes = new Set<string>();
  let retried = false;
  await until(async () => {
    const answer = await ask(`${one.url}/healthz`).catch(() => undefined);
    if (answer === undefined) return false;
    statuses.add(answer.status);
    if (answer.status === 503) codes.add(JSON.parse(answer.text).error.code);
    if (answer.status === 503) {
      child?.kill("SIGHUP");
      child = undefined;
      // It may have started meanwhile. Then the stream goes on, and has no end.
      await using stream = await subscribe(one, "name=x", { accept: "text/event-stream" });
      retried ||= await stream.next() === "";
    }
    return answer.status === 200;
  }, 20_000);
  await using server = await starting;
  assertEquals([[...statuses], [...codes], retried], [[503, 200], ["starting"], true]);
  assertEquals((await publish(server, "x", "next")).seq, 200_001);
  assertMatch(server.log(), / info reloaded the options /);
  assert((await ask(`${server.url}/channels/x`)).text.includes('"messages":200001'));
});
