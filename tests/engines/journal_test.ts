import { DatabaseSync } from "node:sqlite";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Engine, EngineUnavailableError } from "../../lib/core/engine.ts";
import { JournalEngine, type JournalSettings } from "../../lib/engines/journal.ts";
import { JournalError } from "../../lib/engines/journal/rows.ts";
import type { MemoryLimits } from "../../lib/engines/memory.ts";
import { engineSuite } from "../support/engine_suite.ts";
import { memoryLimits } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";
import { until } from "../support/until.ts";

const LOCAL = { deliver() {}, subscribers: () => 0 };

function engineOn(
  path: string,
  limits: Partial<MemoryLimits> = {},
  settings: Partial<JournalSettings> = {},
): JournalEngine {
  return new JournalEngine(memoryLimits(limits), {
    path,
    sync: "normal",
    maxData: 2 ** 30,
    maxUnwritten: 2 ** 26,
    boot: "this run",
    ...settings,
  });
}

/** All that an engine keeps: positions and messages of channels that had any. */
async function keptBy(engine: JournalEngine): Promise<unknown[]> {
  const { channels } = await engine.list("", 1e6);
  return channels.filter(({ seq }) => seq > 0).map(({ channel }) => {
    const { epoch, head, messages } = engine.since(channel, { seq: 0 }, 1e9);
    return [channel, epoch, head, messages.map(({ seq, data, type }) => [seq, data, type])];
  }).sort();
}

/**
 * An engine with a file of its own, which is removed with it. At its end, another engine on the same file
 * must keep the same.
 */
function reopened(limits: MemoryLimits): Engine {
  const file = new TempFolder();
  const engine = engineOn(file.file(), limits);
  const { close } = engine;
  engine.close = async () => {
    try {
      const before = await keptBy(engine);
      await close.call(engine);
      assertEquals(await run(engineOn(file.file(), limits), keptBy), before);
    } finally {
      file[Symbol.dispose]();
    }
  };
  return engine;
}

engineSuite("JournalEngine, closed and opened again,", reopened);

/** Starts an engine, does something with it, and closes it. */
async function run<T>(
  engine: JournalEngine,
  action: (engine: JournalEngine) => Promise<T> | T,
): Promise<T> {
  await engine.start(LOCAL);
  try {
    return await action(engine);
  } finally {
    await engine.close();
  }
}

/** What a channel keeps, as `seq data`. */
function kept(engine: JournalEngine, channel: string): string[] {
  return engine.since(channel, { seq: 0 }, 1e9).messages.map(({ seq, data }) => `${seq} ${data}`);
}

Deno.test("what was published is there after a restart, with its positions, types and ids", async () => {
  using file = new TempFolder();
  const epoch = await run(engineOn(file.file()), async (engine) => {
    const { epoch } = await engine.publish("a", "x", "id");
    await engine.publishAll([{ channel: "a", data: "é", type: "t" }, { channel: "b", data: "z" }]);
    return epoch;
  });
  const engine = engineOn(file.file());
  assertEquals(engine.ready()?.reason, "starting");
  await run(engine, async () => {
    assertEquals(engine.ready(), undefined);
    const { published, publishedBytes, messages } = engine.usage();
    assertEquals([published, publishedBytes, messages], [0, 0, 3]);
    const replay = engine.since("a", { epoch, seq: 0 }, 1e9);
    assertEquals([replay.epoch, replay.from, replay.head], [epoch, undefined, 2]);
    assertEquals(replay.messages.map(({ seq, data, type }) => [seq, data, type]), [
      [1, "x", undefined],
      [2, "é", "t"],
    ]);
    assert(!("type" in replay.messages[0]));
    const again = await engine.publish("a", "again", "id");
    assertEquals([again.seq, again.epoch], [1, epoch]);
    assertEquals((await engine.publish("a", "next")).seq, 3);
  });
});

Deno.test("an engine that has not started is not available, and says so", async () => {
  using file = new TempFolder();
  const engine = engineOn(file.file());
  await assertRejects(() => engine.publish("a", "x"), EngineUnavailableError);
  for (const ask of [() => engine.watch("a"), () => engine.info("a"), () => kept(engine, "a")]) {
    assertThrows(ask, EngineUnavailableError);
  }
  await run(engine, () => engine.publish("a", "x"));
});

Deno.test("what memory forgets is deleted from the file, too", async () => {
  using file = new TempFolder();
  const limits = { history: 3 };
  await run(engineOn(file.file(), limits), async (engine) => {
    for (let i = 1; i <= 50; i++) await engine.publish("a", `m${i}`);
    await engine.reset("b");
    await engine.publish("b", "x");
    const { epoch } = (await engine.reset("b"))!;
    assertEquals((await engine.publish("b", "y")).epoch, epoch);
  });
  const db = new DatabaseSync(file.file(), { readOnly: true });
  const rows = db.prepare("SELECT data FROM message ORDER BY row").all();
  const channels = db.prepare("SELECT name FROM channel ORDER BY id").all();
  db.close();
  assertEquals(rows.map(({ data }) => data), ["m48", "m49", "m50", "y"]);
  assertEquals(channels.map(({ name }) => name), ["a", "b"]);
  await run(engineOn(file.file(), limits), (engine) => {
    assertEquals(kept(engine, "a"), ["48 m48", "49 m49", "50 m50"]);
    assertEquals(kept(engine, "b"), ["1 y"]);
  });
});

Deno.test("a channel that lost all of its messages keeps its numbers while it is known", async () => {
  using file = new TempFolder();
  const limits = { history: 2, historyTtl: 50 };
  const { epoch, seq } = await run(engineOn(file.file(), limits), async (engine) => {
    engine.watch("a");
    await engine.publish("a", "x");
    return await engine.publish("a", "y");
  });
  assertEquals(seq, 2);
  await new Promise((resolve) => setTimeout(resolve, 60));
  await run(engineOn(file.file(), limits), async (engine) => {
    const next = await engine.publish("a", "z");
    // Either the numbers go on, or the epoch is another one.
    assert(next.epoch === epoch ? next.seq === 3 : next.epoch > epoch, JSON.stringify(next));
  });
});

for (
  const [what, prepare, error] of [
    ["another process has", (path: string) => lockFile(path), "Another process has "],
    [
      "is another program's",
      (path: string) => database(path, "CREATE TABLE x (y)"),
      "another program",
    ],
    [
      "is an empty database of another program",
      (path: string) =>
        database(path, "PRAGMA auto_vacuum = NONE; CREATE TABLE x (y); DROP TABLE x"),
      "another program: remove it",
    ],
    [
      "a newer river wrote",
      (path: string) =>
        database(
          path,
          "PRAGMA application_id = 1919514226; PRAGMA user_version = 99; CREATE TABLE x (y)",
        ),
      "a newer river",
    ],
    [
      "is not a database",
      (path: string) => Deno.writeTextFileSync(path, "river".repeat(1000)),
      "not a database",
    ],
    ["is a folder", (path: string) => Deno.mkdirSync(path), "Cannot open"],
  ] as const
) {
  Deno.test(`a file that ${what} is refused in a line, and left as it is`, async () => {
    using file = new TempFolder();
    using _held = (prepare(file.file()) ?? { [Symbol.dispose]() {} }) as Disposable;
    const before = contentOf(file.file());
    const refused = await assertRejects(
      () => engineOn(file.file()).start(LOCAL),
      JournalError,
      error,
    );
    assert(!refused.message.includes("\n"), refused.message);
    assertEquals(contentOf(file.file()), before);
  });
}

function database(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

function lockFile(path: string): Disposable {
  const lock = Deno.openSync(`${path}.lock`, { write: true, create: true });
  lock.lockSync(true);
  return { [Symbol.dispose]: () => lock.close() };
}

function contentOf(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

const ENDINGS = ["", "-wal", "-shm", ".lock"];

/** What is in the files of an engine that runs, as a crash would leave it. */
function snapshot(path: string): (Uint8Array | undefined)[] {
  return ENDINGS.map((ending) => {
    try {
      return Deno.readFileSync(path + ending);
    } catch {
      return undefined;
    }
  });
}

/** Lets the files be as they were. They stay the same files. */
function putBack(path: string, contents: readonly (Uint8Array | undefined)[]): void {
  contents.forEach((content, i) => {
    if (content !== undefined) Deno.writeFileSync(path + ENDINGS[i], content);
  });
}

/** Does something with an engine, and leaves the file as if the engine had been killed then. */
async function runAndCrash<T>(
  engine: JournalEngine,
  path: string,
  action: (engine: JournalEngine) => Promise<T> | T,
): Promise<T> {
  const [result, contents] = await run(engine, async (engine) => {
    const result = await action(engine);
    return [result, snapshot(path)] as const;
  });
  putBack(path, contents);
  return result;
}

for (
  const [what, settings, forks] of [
    ["a process", {}, false],
    ["the machine", { boot: "another run" }, true],
    ["a machine that does not name its runs", { boot: "" }, true],
    ["the machine, with full sync", { boot: "another run", sync: "full" }, false],
  ] as const
) {
  Deno.test(`after a crash of ${what}, ${forks ? "all channels fork" : "positions go on"}`, async () => {
    using file = new TempFolder();
    const { sync = "normal", boot = "this run" } = settings as Partial<JournalSettings>;
    const first = engineOn(file.file(), {}, { sync, boot: boot && "this run" });
    const { epoch } = await runAndCrash(first, file.file(), async (engine) => {
      for (const data of ["x", "y"]) await engine.publish("a", data);
      return await engine.publish("a", "z");
    });
    await run(engineOn(file.file(), {}, settings), async (engine) => {
      assertEquals(kept(engine, "a"), ["1 x", "2 y", "3 z"]);
      const at = engine.since("a", { epoch, seq: 2 }, 1e9);
      assertEquals([at.epoch === epoch, at.messages.length], [!forks, 1]);
      assertEquals(at.from, forks ? { epoch: at.epoch, seq: 2 } : undefined);
      // What was beyond the last message that is here may have been lost.
      const beyond = engine.since("a", { epoch, seq: 4 }, 1e9);
      assertEquals([beyond.from, beyond.messages.length], [undefined, forks ? 3 : 0]);
      const next = await engine.publish("a", "next");
      assertEquals([next.seq, next.epoch >= epoch], [4, true]);
    });
    // A second restart, in order, forks nothing more and still knows the first epoch.
    await run(engineOn(file.file(), {}, settings), (engine) => {
      const at = engine.since("a", { epoch, seq: 3 }, 1e9);
      assertEquals(at.messages.map(({ seq }) => seq), [4]);
      assertEquals(at.from?.seq, forks ? 3 : undefined);
    });
  });
}

Deno.test("a copy of the file goes on in another epoch", async () => {
  using file = new TempFolder();
  using copy = new TempFolder();
  const { epoch } = await run(engineOn(file.file()), (engine) => engine.publish("a", "x"));
  Deno.copyFileSync(file.file(), copy.file());
  await run(engineOn(copy.file()), (engine) => {
    const { from, epoch: now } = engine.since("a", { epoch, seq: 1 }, 1e9);
    assertEquals([now > epoch, from], [true, { epoch: now, seq: 1 }]);
  });
  await run(engineOn(file.file()), (engine) => {
    assertEquals(engine.since("a", undefined, 0).epoch, epoch);
  });
});

Deno.test("a copy of the file and of its lock goes on in another epoch, too", async () => {
  using file = new TempFolder();
  using copy = new TempFolder();
  const { epoch } = await run(engineOn(file.file()), async (engine) => {
    const receipt = await engine.publish("a", "x");
    const contents = snapshot(file.file());
    await engine.publish("a", "the copy never saw it");
    putBack(copy.file(), contents);
    return receipt;
  });
  await run(engineOn(copy.file()), async (engine) => {
    const next = await engine.publish("a", "another");
    assertEquals([next.seq, next.epoch > epoch], [2, true]);
  });
});

Deno.test("a copy in the place of the file goes on in another epoch, though it has the number of the file", async () => {
  using file = new TempFolder();
  const copy = `${file.file()}.copy`;
  const { epoch } = await runAndCrash(engineOn(file.file()), file.file(), async (engine) => {
    const receipt = await engine.publish("a", "x");
    Deno.copyFileSync(file.file(), copy);
    return receipt;
  });
  // The file system may give the number of the removed file to the next one.
  Deno.removeSync(file.file());
  Deno.copyFileSync(copy, file.file());
  await run(engineOn(file.file()), async (engine) => {
    assert((await engine.publish("a", "y")).epoch > epoch);
  });
});

Deno.test("a file whose log of changes was removed after a crash goes on in another epoch", async () => {
  using file = new TempFolder();
  const { epoch } = await runAndCrash(engineOn(file.file()), file.file(), async (engine) => {
    await engine.publish("a", "x");
    const db = new DatabaseSync(file.file());
    db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    const receipt = await engine.publish("a", "in the log only");
    // It would empty the log if it were the last to close.
    db.close();
    return receipt;
  });
  Deno.removeSync(`${file.file()}-wal`);
  await run(engineOn(file.file()), async (engine) => {
    assertEquals(kept(engine, "a"), ["1 x"]);
    assert((await engine.publish("a", "y")).epoch > epoch);
  });
});

Deno.test("without a history the file holds positions only", async () => {
  using file = new TempFolder();
  await run(engineOn(file.file(), { history: 0 }), async (engine) => {
    for (let i = 0; i < 50; i++) await engine.publish("a", `${i}`);
    await engine.publish("b", "x");
    // What the last transaction brought is forgotten with the next.
    assertEquals(engine.usage().storage!.rows, 1);
  });
});

Deno.test("a channel that lost all of its messages goes on counting after a crash", async () => {
  using file = new TempFolder();
  const limits = { history: 0 };
  const { epoch } = await runAndCrash(
    engineOn(file.file(), limits),
    file.file(),
    async (engine) => {
      engine.watch("a");
      for (const data of ["x", "y"]) await engine.publish("a", data);
      const last = await engine.publish("a", "z");
      // What is forgotten goes into the next transaction.
      await engine.publish("b", "x");
      return last;
    },
  );
  await run(engineOn(file.file(), limits), async (engine) => {
    assertEquals(kept(engine, "a"), []);
    const next = await engine.publish("a", "next");
    assertEquals([next.seq, next.epoch], [4, epoch]);
  });
});

Deno.test("a position in a channel that never had a message is good after a restart", async () => {
  using file = new TempFolder();
  const empty = await run(engineOn(file.file()), async (engine) => {
    await engine.publish("b", "x");
    await engine.reset("b");
    return engine.since("a", undefined, 0).epoch;
  });
  await run(engineOn(file.file()), async (engine) => {
    assertEquals((await engine.publish("a", "x")).epoch, empty);
  });
});

Deno.test("a channel that was reset or dropped does not come back with its old messages after a crash", async () => {
  using file = new TempFolder();
  const limits = { history: 50_000, maxMemory: 2 ** 30 };
  await runAndCrash(engineOn(file.file(), limits), file.file(), async (engine) => {
    const many = Array.from({ length: 30_000 }, (_, i) => ({ channel: "a", data: `old ${i}` }));
    await engine.publishAll(many);
    await engine.reset("a");
    await engine.publish("a", "new");
  });
  await run(engineOn(file.file(), limits), async (engine) => {
    assertEquals(kept(engine, "a"), ["1 new"]);
    assertEquals((await engine.publish("a", "next")).seq, 2);
  });
  const rows = await run(engineOn(file.file(), limits), (engine) => engine.usage().storage!.rows);
  assert(rows <= 20_002, `${rows} rows`);
});

Deno.test("with less memory than before, a channel that gives way while others are read stays the same channel", async () => {
  using file = new TempFolder();
  const epoch = await run(engineOn(file.file()), async (engine) => {
    const publish = async (channel: string, count: number) => {
      for (let i = 0; i < count; i++) await engine.publish(channel, "x".repeat(1000));
    };
    await publish("a", 5);
    await publish("b", 60);
    await publish("a", 5);
    return engine.since("a", undefined, 0).epoch;
  });
  // There is room for fewer messages than those of b.
  const limits = { maxMemory: 30_000 };
  for (let i = 0; i < 2; i++) {
    await run(engineOn(file.file(), limits), (engine) => {
      const { head, messages, ...at } = engine.since("a", { seq: 0 }, 1e9);
      assertEquals([at.epoch, head, messages.map(({ seq }) => seq)], [epoch, 10, [6, 7, 8, 9, 10]]);
    });
  }
});

Deno.test("any text survives as it is", async () => {
  using file = new TempFolder();
  const texts = ["", "\0a\0", "é€😀", "\u2028\r\n", "'\"`;--", "x".repeat(1000)];
  await run(engineOn(file.file()), async (engine) => {
    for (const data of texts) await engine.publish("€ \0'", data, `id ${data}`, "t'");
  });
  await run(engineOn(file.file()), async (engine) => {
    const { messages } = engine.since("€ \0'", { seq: 0 }, 1e9);
    assertEquals(messages.map(({ data }) => data), texts);
    assertEquals((await engine.publish("€ \0'", "again", "id \0a\0")).seq, 2);
  });
});

Deno.test("no more receipts are kept than ids are remembered", async () => {
  using file = new TempFolder();
  const limits = { maxIds: 10 };
  const publish = (engine: JournalEngine, from: number, to: number) =>
    engine.publishAll(
      Array.from({ length: to - from }, (_, i) => ({ channel: "a", data: "x", id: `${from + i}` })),
    );
  await run(engineOn(file.file(), limits), (engine) => publish(engine, 0, 50));
  await run(engineOn(file.file(), limits), async (engine) => {
    const [old, kept] = [await engine.publish("a", "y", "0"), await engine.publish("a", "y", "49")];
    assertEquals([old.seq, kept.seq], [51, 50]);
  });
});

Deno.test("a file that is almost full forgets the oldest messages, and never refuses one", async () => {
  using file = new TempFolder();
  const maxData = 4 * 2 ** 20;
  await run(engineOn(file.file(), { history: 1000 }, { maxData }), async (engine) => {
    const data = "x".repeat(50_000);
    for (let i = 0; i < 300; i++) await engine.publish("a", data);
    const { messages, storage } = engine.usage();
    assert(messages! > 30 && messages! < 90, `${messages} messages of 50,000 bytes`);
    assert(storage!.bytes <= maxData, `${storage!.bytes} bytes`);
    assertEquals(storage!.failures, 0);
  });
});

Deno.test("a file that is almost full of ids forgets the oldest of them", async () => {
  using file = new TempFolder();
  const maxData = 2 ** 20;
  const limits = { history: 1, idTtl: 3_600_000 };
  await run(engineOn(file.file(), limits, { maxData }), async (engine) => {
    for (let i = 0; i < 100; i++) {
      await engine.publishAll(Array.from({ length: 100 }, (_, n) => ({
        channel: "a",
        data: "x",
        id: `${i}.${n} ${"i".repeat(200)}`,
      })));
    }
    const { failures, bytes } = engine.usage().storage!;
    assertEquals(failures, 0);
    assert(bytes <= maxData, `${bytes} bytes`);
  });
});

Deno.test("a file without room refuses messages, loses none, and takes them again when there is room", async () => {
  using file = new TempFolder();
  const states: (string | undefined)[] = [];
  const settings = { maxData: 2 ** 20, onState: (error?: string) => void states.push(error) };
  await run(engineOn(file.file(), { history: 1000 }, settings), async (engine) => {
    const { seq, epoch } = await engine.publish("a", "x");
    const refused = () =>
      assertRejects(() => engine.publish("a", "x".repeat(2 ** 20)), EngineUnavailableError);
    const full = await refused();
    assertEquals([full.code, full.status], ["storage_full", 503]);
    assertEquals(engine.ready()?.reason, "storage_full");
    await refused();
    assertEquals([states.length, states[0]], [1, "database or disk is full"]);
    assertEquals(engine.since("a", { seq: 0 }, 1e9).messages.length, 1);
    await until(() => engine.ready() === undefined, 10_000);
    const next = await engine.publish("a", "y");
    assertEquals([next.seq, next.epoch], [seq + 1, epoch]);
    assertEquals(states, ["database or disk is full", undefined]);
  });
});

Deno.test("messages that wait for the disk take no more than they may", async () => {
  using file = new TempFolder();
  await run(engineOn(file.file(), {}, { maxUnwritten: 2 ** 20 }), async (engine) => {
    const data = "x".repeat(100_000);
    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, () => engine.publish("a", data)),
    );
    const refused = answers.filter(({ status }) => status === "rejected");
    assertEquals(refused.length, 10);
    for (const answer of refused) {
      const { code } = (answer as PromiseRejectedResult).reason as EngineUnavailableError;
      assertEquals(code, "storage_slow");
    }
    assertEquals(engine.since("a", undefined, 0).head, 10);
    assertEquals(engine.usage().storage!.unwritten, 0);
  });
});
