/**
 * `river backup` and `river restore`: whole copies, which go on in other epochs.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { ask, publish, subscribe } from "../support/http.ts";
import { MAIN, metric, RUN, spawnServer } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";

/** Runs a command of river to its end. */
async function river(...args: string[]): Promise<{ code: number; out: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...RUN, MAIN, ...args],
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: decode(stdout) + decode(stderr) };
}

Deno.test("a backup of a server that takes messages is whole, and a server goes on from it", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const [data, copy, other] = ["river.db", "copy.db", "other.db"].map((n) => `${folder}/${n}`);
  await using server = await spawnServer(["--data", data, "--history", "100000"]);
  const { epoch } = await publish(server, "x", "1");
  let publishing = true;
  let last = 1;
  const publisher = (async () => {
    while (publishing) ({ seq: last } = await publish(server, "x", String(last + 1)));
  })();
  const before = last;
  const made = await river("backup", copy, "--data", data);
  const after = last;
  publishing = false;
  await publisher;
  assertEquals(made, { code: 0, out: `river: copied ${data} to ${copy}\n` });
  assertEquals(await river("restore", copy, "--data", other), {
    code: 0,
    out: `river: restored ${other} from ${copy}\n`,
  });
  await using restored = await spawnServer(["--data", other, "--history", "100000"]);
  const { text } = await ask(`${restored.url}/subscribe?name=x&seq=0&keep=0`);
  const found = text.trimEnd().split("\n").map((line) => JSON.parse(line)[1]);
  assertEquals(found.map(({ data }) => data), found.map((_, i) => String(i + 1)));
  assert(found.length >= before && found.length <= after + 1, `${found.length} of ${after}`);
  // Positions that the copy has are good, and those after it are not: two servers gave them.
  const next = await publish(restored, "x", "another");
  assertEquals([next.seq, next.epoch > epoch], [found.length + 1, true]);
  await using shared = await subscribe(restored, `name=x&seq=${epoch}-${found.length}`);
  assertMatch(await shared.next() ?? "", /"another"/);
  await using beyond = await subscribe(restored, `name=x&seq=${epoch}-${found.length + 1}`);
  assertEquals(JSON.parse(await beyond.next() ?? "")[1].reason, "restart");
});

Deno.test("what was restored in the place of the history goes on in another epoch", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const [data, copy] = ["river.db", "copy.db"].map((name) => `${folder}/${name}`);
  let epoch: string;
  {
    await using server = await spawnServer(["--data", data]);
    ({ epoch } = await publish(server, "x", "1"));
    await river("backup", copy, "--data", data);
    await publish(server, "x", "2");
    assertMatch((await river("restore", copy, "--data", data, "--overwrite")).out, /has .* open/);
    await server.end("SIGKILL");
  }
  assertMatch((await river("restore", copy, "--data", data)).out, /exists already/);
  assertEquals((await river("restore", copy, "--data", data, "--overwrite")).code, 0);
  await using server = await spawnServer(["--data", data]);
  const next = await publish(server, "x", "not 2");
  assertEquals([next.seq, next.epoch > epoch], [2, true]);
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
    "copy.db",
    "river.db",
    "river.db-shm",
    "river.db-wal",
    "river.db.lock",
  ]);
});

Deno.test("a file whose server was killed can be restored from, with what is in its log of changes", async () => {
  using temp = new TempFolder();
  const server = await spawnServer(["--data", temp.file()]);
  await publish(server, "x", "1");
  await server.end("SIGKILL");
  assertEquals((await river("restore", temp.file(), "--data", temp.file("other.db"))).code, 0);
  await using restored = await spawnServer(["--data", temp.file("other.db")]);
  assertEquals((await publish(restored, "x", "2")).seq, 2);
});

Deno.test("a backup never lands beside the log of changes of another file", async () => {
  using temp = new TempFolder();
  const server = await spawnServer(["--data", temp.file()]);
  await publish(server, "x", "1");
  await server.end("SIGKILL");
  await using other = await spawnServer(["--data", temp.file("other.db")]);
  await publish(other, "x", "1");
  const { code, out } = await river("backup", temp.file(), "--data", temp.file("other.db"));
  assertEquals(code, 2);
  assertMatch(out, /^river: \S+ is in use, or was not closed: there is \S+-wal\n$/);
});

Deno.test("backup and restore follow symbolic links, and the lock is that of the file", async () => {
  using temp = new TempFolder();
  const [data, copy] = ["link.db", "copy.db"].map((name) => temp.file(name));
  Deno.symlinkSync(temp.file(), data);
  Deno.symlinkSync(temp.file("real-copy.db"), copy);
  {
    await using server = await spawnServer(["--data", temp.file()]);
    await publish(server, "x", "1");
    assertEquals((await river("backup", copy, "--data", data)).code, 0);
    assertMatch((await river("restore", copy, "--data", data, "--overwrite")).out, /has .* open/);
    await server.end();
  }
  assertEquals((await river("restore", copy, "--data", data, "--overwrite")).code, 0);
  assert(Deno.lstatSync(data).isSymlink && Deno.lstatSync(copy).isSymlink);
  await using server = await spawnServer(["--data", data]);
  assertEquals((await publish(server, "x", "2")).seq, 2);
});

Deno.test("a copy of the file that is put back over it goes on in another epoch", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const [data, copy] = ["river.db", "copy.db"].map((name) => `${folder}/${name}`);
  const run = async (action: (server: { url: string }) => Promise<void>) => {
    const server = await spawnServer(["--data", data]);
    await action(server);
    await server.end();
  };
  let epoch = "";
  await run(async (server) => void ({ epoch } = await publish(server, "x", "1")));
  await Deno.copyFile(data, copy);
  await run(async (server) => void await publish(server, "x", "2"));
  await Deno.copyFile(copy, data);
  await run(async (server) => {
    const next = await publish(server, "x", "not 2");
    assertEquals([next.seq, next.epoch > epoch], [2, true]);
  });
});

for (
  const [what, args, error] of [
    ["without a name", ["backup", "--data", "DATA"], /^river: Name the copy: river backup FILE\n$/],
    ["without --data", ["backup", "COPY"], /^river: Name the server's file: set --data\n$/],
    ["of nothing", ["backup", "COPY", "--data", "NONE"], /^river: Cannot open \S+\/none: /],
    [
      "to itself",
      ["backup", "DATA", "--data", "DATA"],
      /^river: \S+ belongs to the history itself\n$/,
    ],
    [
      "to no folder",
      ["backup", "NONE/x", "--data", "DATA"],
      /^river: Cannot open \S+\/none\/x: there is no such folder\n$/,
    ],
    [
      "to its log",
      ["backup", "DATA-wal", "--data", "DATA"],
      /^river: \S+ belongs to the history itself\n$/,
    ],
    ["of a text", ["restore", "TEXT", "--data", "COPY"], /^river: Cannot use \S+: file is not a /],
    ["of an empty file", ["restore", "EMPTY", "--data", "COPY"], /^river: \S+ is empty\n$/],
  ] as const
) {
  Deno.test(`river ${args[0]} ${what} is a mistake: one line, and exit code 2`, async () => {
    using temp = new TempFolder();
    const folder = temp.path;
    const server = await spawnServer(["--data", `${folder}/data`]);
    await server.end();
    Deno.writeTextFileSync(`${folder}/text`, "hello ".repeat(1000));
    Deno.writeTextFileSync(`${folder}/empty`, "");
    const before = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    const { code, out } = await river(
      ...args.map((arg) => arg.replace(/^[A-Z]+/, (name) => `${folder}/${name.toLowerCase()}`)),
    );
    assertEquals(code, 2);
    assertMatch(out, error);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), before);
  });
}

Deno.test("a program that copies the file all the time, as Litestream does, disturbs nobody", async () => {
  using temp = new TempFolder();
  const folder = temp.path;
  const data = `${folder}/river.db`;
  await using server = await spawnServer(["--data", data, "--history", "100000"]);
  await publish(server, "x", "1");
  // It keeps tables of its own in the file, holds a read transaction, and copies the log of changes itself.
  const beside = new DatabaseSync(data);
  beside.exec("PRAGMA busy_timeout = 5000; CREATE TABLE _beside (id INTEGER PRIMARY KEY)");
  let last = 1;
  for (let round = 0; round < 20; round++) {
    beside.exec("BEGIN; SELECT count(*) FROM message");
    const receipts = Array.from(
      { length: 20 },
      (_, i) => publish(server, "x", `${last + i + 1}`),
    );
    await Promise.all(receipts);
    last += receipts.length;
    beside.exec("COMMIT; INSERT INTO _beside DEFAULT VALUES");
    beside.exec(`PRAGMA wal_checkpoint(${round % 2 === 0 ? "PASSIVE" : "TRUNCATE"})`);
  }
  beside.close();
  assertEquals(await metric(server, "river_storage_failures_total"), 0);
  await server.end("SIGKILL");
  await using other = await spawnServer(["--data", data, "--history", "100000"]);
  assertEquals((await publish(other, "x", "next")).seq, last + 1);
});
