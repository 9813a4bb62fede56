/**
 * Rounds of a server that is killed while it takes messages.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { Follower, Ledger, publishersOf } from "./publishers.ts";
import { freePort, type ServerProcess, spawnServer } from "./server.ts";

/** How servers are killed. */
export interface Killer {
  /** The variables that the server needs for it. */
  readonly env?: Record<string, string>;
  /** Called before a server starts. Returns whether it is to die before it serves. */
  prepare(round: number): boolean;
  /** Called when a server serves. Kills it with SIGKILL within a moment, or lets it die so. */
  kill(server: ServerProcess, round: number): Promise<void>;
  /** Called after each death. */
  killed?(round: number): void;
}

/** Kills at any moment of the first third of a second. */
export const atRandom: Killer = {
  prepare: () => false,
  async kill(server) {
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 300));
    await server.end("SIGKILL");
  },
};

/**
 * Kills a server so many times under 20 publishers and a subscriber that comes back. After each round all
 * that was acknowledged is there, the numbers have no hole, and no position had two data.
 */
export async function killRounds(
  path: string,
  rounds: number,
  flags: string[],
  killer: Killer = atRandom,
): Promise<{ acknowledged: number; followed: number }> {
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  const start = () =>
    spawnServer(["--data", path, "--history", "1000000", "--max-memory", "1GiB", ...flags], {
      port,
      env: killer.env,
    });
  const ledger = new Ledger();
  const publishers = publishersOf(ledger);
  const follower = new Follower(ledger);
  for (let round = 0; round < rounds; round++) {
    let over = false;
    let working: Promise<unknown> = Promise.resolve();
    const isDoomed = killer.prepare(round);
    if (isDoomed) working = publishers.run(url, () => over);
    let server: ServerProcess | undefined;
    try {
      server = await start().catch((error) => {
        if (!isDoomed) throw error;
        return undefined;
      });
      if (server !== undefined) {
        if (!isDoomed) {
          await ledger.check(server);
          working = publishers.run(url, () => over);
        }
        working = Promise.all([working, follower.follow(url)]);
        // What it finds shows when the round is over.
        working.catch(() => {});
        await killer.kill(server, round);
      }
      killer.killed?.(round);
    } finally {
      over = true;
      await server?.end("SIGKILL");
    }
    await working;
    await quickCheck(path);
  }
  await using server = await start();
  await ledger.check(server);
  assert(ledger.count > 0 && follower.count > 0);
  assertEquals(ledger.forks, 0, "channels that went on in another epoch");
  return { acknowledged: ledger.count, followed: follower.count };
}

/** SQLite finds no damage in a copy of the file: to open the file itself would mend it. */
async function quickCheck(path: string): Promise<void> {
  const copy = `${path}.copy`;
  for (const part of ["", "-wal"]) {
    await Deno.copyFile(path + part, copy + part).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }
  const db = new DatabaseSync(copy);
  try {
    assertEquals({ ...db.prepare("PRAGMA quick_check").get() }, { quick_check: "ok" });
  } finally {
    db.close();
    for (const part of ["", "-wal", "-shm"]) await Deno.remove(copy + part).catch(() => {});
  }
}
