/**
 * A disk that is full, or fails: publishers hear it, subscribers stay, and river goes on by itself.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Disk } from "../support/disk/disk.ts";
import { ask, errorCode, publish } from "../support/http.ts";
import { Follower, Ledger, publishersOf } from "../support/publishers.ts";
import { freePort, type ServerProcess, spawnServer, subscriberCount } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";
import { until } from "../support/until.ts";

/** The size of the file system that is filled. */
const TMPFS = "64m";
/** How long the disk is out of order, in milliseconds. */
const BROKEN_MS = 3000;
/** The errno of a disk that fails. */
const EIO = 5;

/** A disk that can be put out of order. */
interface Breakable extends Partial<Disposable> {
  readonly under?: readonly string[];
  readonly env?: Record<string, string>;
  break(server: ServerProcess): Promise<void>;
  mend(server: ServerProcess): Promise<void>;
}

/** A small file system that another file fills. Only the server sees it. */
async function smallDisk(folder: string): Promise<Breakable> {
  const under = [
    "unshare",
    "-m",
    "sh",
    "-c",
    `mount -t tmpfs -o size=${TMPFS} none "$0" && exec "$@"`,
    folder,
  ];
  const { success, stderr } = await new Deno.Command(under[0], {
    args: [...under.slice(1), "true"],
  }).output();
  const text = new TextDecoder().decode(stderr);
  assert(
    success,
    `this test mounts a file system, for which it needs root (CAP_SYS_ADMIN): ${text}`,
  );
  const other = (server: ServerProcess) => `/proc/${server.process.pid}/root${folder}/other`;
  return {
    under,
    async break(server) {
      using file = await Deno.open(other(server), { write: true, create: true });
      const bytes = new Uint8Array(2 ** 16);
      const written = (async () => {
        for (;;) await file.write(bytes);
      })();
      await written.catch((error) => assertMatch(String(error), /No space left/));
    },
    mend: (server) => Deno.remove(other(server)),
  };
}

/** A disk whose writes and syncs fail. */
async function failingDisk(folder: string): Promise<Breakable> {
  const disk = await Disk.of(`${folder}/river.db`);
  return {
    env: disk.env,
    break: () => Promise.resolve(disk.set({ error: EIO })),
    mend: () => Promise.resolve(disk.set({ error: 0 })),
    [Symbol.dispose]: () => disk[Symbol.dispose](),
  };
}

/** What a client sees while the disk is out of order. */
async function checkBroken(server: ServerProcess, code: string): Promise<void> {
  const refused = await ask(`${server.url}/publish?name=other&data=a`);
  assertEquals([refused.status, errorCode(refused)], [503, code]);
  assertMatch(refused.headers.get("retry-after") ?? "", /^[1-9][0-9]?$/);
  // It never had a message, and a request that was refused gave it no number.
  assertEquals((await ask(`${server.url}/subscribe?name=other&seq=0&timeout=0.01`)).status, 204);
  const { text } = await ask(`${server.url}/subscribe?name=first&seq=0&limit=1`);
  assertMatch(text, /"seq": 1, "data": "a"/);
}

for (
  const [what, code, diskOf] of [
    ["is full", "storage_full", smallDisk],
    ["fails", "storage_failed", failingDisk],
  ] as const
) {
  Deno.test(`a disk that ${what}: 503 ${code}, subscribers stay, no hole, and it goes on by itself`, async () => {
    const folder = await Deno.makeTempDir();
    const disk = await diskOf(folder);
    const flags = ["--data", `${folder}/river.db`, "--history", "1000000", "--max-memory", "1GiB"];
    const ledger = new Ledger();
    const follower = new Follower(ledger);
    let over = false;
    let publishing: Promise<unknown> = Promise.resolve();
    try {
      await using server = await spawnServer(flags, { ...disk, port: freePort() });
      await publish(server, "first", "a");
      const following = follower.follow(server.url);
      await until(async () => await subscriberCount(server) > 0);
      const subscribers = await subscriberCount(server);
      publishing = publishersOf(ledger).run(server.url, () => over);
      await until(() => ledger.count > 500);
      await disk.break(server);
      await until(async () => (await ask(`${server.url}/healthz`)).status === 503, 20_000);
      assertEquals(errorCode(await ask(`${server.url}/healthz`)), code);
      const before = ledger.count;
      for (const end = performance.now() + BROKEN_MS; performance.now() < end;) {
        await checkBroken(server, code);
      }
      assertEquals(await subscriberCount(server), subscribers);
      const during = ledger.count - before;
      await disk.mend(server);
      await until(async () => (await ask(`${server.url}/healthz`)).status === 200);
      const after = ledger.count;
      await until(() => ledger.count > after + 500);
      over = true;
      await publishing;
      assertEquals((await publish(server, "other", "a")).seq, 1);
      await ledger.check(server);
      await until(() => follower.count >= ledger.count);
      console.log(`${ledger.count} acknowledged, of these ${during} with a broken disk`);
      const lines = server.log().split("\n");
      for (const text of ["the disk does not take messages", "the disk works again"]) {
        assertEquals(lines.filter((line) => line.includes(text)).length, 1, server.log());
      }
      await server.end("SIGKILL");
      await following;
    } finally {
      over = true;
      await publishing.catch(() => {});
      disk[Symbol.dispose]?.();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("a file that is removed or replaced while river runs is told: 503 storage_failed", async () => {
  using temp = new TempFolder();
  await using server = await spawnServer(["--data", temp.file()]);
  await publish(server, "x", "a");
  await Deno.rename(temp.file(), temp.file("elsewhere.db"));
  await until(async () => (await ask(`${server.url}/healthz`)).status === 503, 20_000);
  const refused = await ask(`${server.url}/publish?name=x&data=b`);
  assertEquals([refused.status, errorCode(refused)], [503, "storage_failed"]);
  assertMatch(server.log(), /the file was removed or replaced/);
  await Deno.rename(temp.file("elsewhere.db"), temp.file());
  await until(async () => (await ask(`${server.url}/healthz`)).status === 200, 20_000);
  assertEquals((await publish(server, "x", "c")).seq, 2);
});
