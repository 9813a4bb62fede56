/**
 * kill -9 in every phase of the work on the file of `--data`: what was answered with 200 is there, and no
 * position ever has two data.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Disk, type Phase, PHASES } from "../support/disk/disk.ts";
import { type Killer, killRounds } from "../support/durable.ts";
import type { ServerProcess } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";

/** Aims of the rounds, one after the other. The last is to kill at any moment. */
const AIMS: readonly (Phase | undefined)[] = [...PHASES, undefined];
/** Rounds per file. */
const ROUNDS = 25;
/** Files per setting of `--data-sync`. */
const FILES = 2;
/** How often each phase must be hit per setting. */
const HITS = 5;
/** How long after the beginning of a phase at most the kill comes, in microseconds: some come too late. */
const WITHIN_US: Record<Phase, number> = {
  restoring: 20_000,
  accepting: 300,
  inserting: 100,
  committing: 100,
  checkpointing: 1000,
};

/**
 * SQLite mends its file and begins a run in ten steps. A step is a lock that is taken or let go of, or the
 * first write of a transaction. After the last one, the history is read.
 */
const LAST_STEP = 9;

/** Kills in one phase after the other. Counts the phases that were hit. */
class Aimed implements Killer {
  readonly env: Record<string, string>;
  readonly #disk: Disk;
  readonly #file: number;
  readonly #hits: Record<Phase, number>;

  constructor(disk: Disk, file: number, hits: Record<Phase, number>) {
    this.#file = file;
    this.#disk = disk;
    this.#hits = hits;
    this.env = disk.env;
  }

  prepare(round: number): boolean {
    const phase = AIMS[round % AIMS.length];
    if (phase !== "restoring") return false;
    this.#shoot(phase, round);
    return true;
  }

  async kill(
    server: ServerProcess,
    round: number,
  ): Promise<void> {
    this.#disk.set({ ready: 1 });
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 200));
    const phase = AIMS[round % AIMS.length];
    if (phase === undefined || phase === "restoring") {
      await server.end("SIGKILL");
      return;
    }
    this.#shoot(phase, round);
    assertEquals((await server.process.status).signal, "SIGKILL");
  }

  killed(): void {
    this.#hits[this.#disk.phase]++;
    this.#disk.set({ ready: 0, aim: -1 });
  }

  /** Aims at the beginning of a phase. Some shots come a moment later, or too late. */
  #shoot(phase: Phase, round: number): void {
    const shot = Math.floor(round / AIMS.length);
    const isRestoring = phase === "restoring";
    // In the first file a start dies at each of its last steps, in the others while it reads the history.
    const isAtOnce = isRestoring ? this.#file === 0 : shot < 3;
    this.#disk.set({
      skip: !isRestoring ? 0 : isAtOnce ? LAST_STEP - shot : LAST_STEP,
      waitUs: isAtOnce ? 0 : Math.ceil(Math.random() * WITHIN_US[phase]),
    });
    this.#disk.set({ aim: PHASES.indexOf(phase) });
  }
}

for (const sync of ["normal", "full"]) {
  Deno.test(`kill -9 ${FILES * ROUNDS} times with --data-sync ${sync}, in every phase: nothing is lost, and no number is given twice`, async () => {
    const hits = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>;
    const start = performance.now();
    for (let file = 0; file < FILES; file++) {
      using temp = new TempFolder();
      const folder = temp.path;
      const path = `${folder}/river.db`;
      using disk = await Disk.of(path);
      // So the log of changes is small, and is copied into the file often.
      const flags = ["--data-sync", sync, "--max-data", "64MiB"];
      const counts = await killRounds(path, ROUNDS, flags, new Aimed(disk, file, hits));
      const { size } = await Deno.stat(path);
      console.log(`${sync}: ${JSON.stringify(counts)}, file of ${size} bytes`);
    }
    const seconds = Math.round((performance.now() - start) / 1000);
    console.log(`${sync}: kills ${JSON.stringify(hits)} in ${seconds} s`);
    for (const phase of PHASES) {
      assert(hits[phase] >= HITS, `${phase} was hit ${hits[phase]} times`);
    }
  });
}
