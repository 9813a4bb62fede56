/**
 * One run of a load: its connections, its first error, and its figures.
 *
 * @module
 */
import { sleep } from "./connection.ts";
import type { Server } from "./servers.ts";
import { type Sample, watchBusy } from "./workload.ts";

/** Warming up takes this share of the time that is measured. */
const WARM_UP = 0.3;

/** Something that is closed at the end. */
export interface Closable {
  /** Lets go of it. */
  close(): void;
}

/** What a run holds. */
export class Trial {
  readonly #closables: Closable[] = [];
  readonly #failure = Promise.withResolvers<never>();
  /** Ends the run with an error. */
  readonly fail = (error: Error): void => this.#failure.reject(error);

  private constructor() {
    this.#failure.promise.catch(() => {});
  }

  /** Runs a load. Closes everything that it opens, and ends at the first failure. */
  static async run<T>(action: (trial: Trial) => Promise<T>): Promise<T> {
    const trial = new Trial();
    try {
      return await trial.watch(action(trial));
    } finally {
      for (const closable of trial.#closables) closable.close();
    }
  }

  /** Closes all of these at the end. */
  keep<T extends Closable>(closables: T[]): T[] {
    this.#closables.push(...closables);
    return closables;
  }

  /** Waits for something, unless the run fails before. */
  watch<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#failure.promise]);
  }

  /**
   * Lets the load warm up, then measures how fast a count rises.
   *
   * @returns The rate a second, under the name of `metric`.
   */
  async rate(
    server: Server,
    { metric, seconds, count }: { metric: string; seconds: number; count: () => number },
  ): Promise<Sample> {
    await this.watch(sleep(WARM_UP * seconds * 1000));
    const busy = watchBusy(server);
    const [from, started] = [count(), performance.now()];
    await this.watch(sleep(seconds * 1000));
    const rate = (count() - from) / (performance.now() - started) * 1000;
    return { values: { [metric]: rate }, ...busy() };
  }
}

/**
 * Makes the load look at each of many connections a little later when it finds less than this many
 * bytes a read, so that there is more to read next time: a read costs it more than the messages in
 * it. So it keeps up with servers that send every message in a packet of its own. Not for measuring
 * times.
 */
export class Napper {
  readonly #readers: number;
  #reads = 0;
  #bytes = 0;

  /**
   * Has not read anything yet.
   *
   * @param readers How many connections are looked at in turn.
   */
  constructor(readers: number) {
    this.#readers = readers;
  }

  /** Counts a read. Sleeps after one per reader, if the reads were small. */
  read(bytes: number): void {
    this.#bytes += bytes;
    if (++this.#reads < this.#readers) return;
    if (this.#bytes < this.#reads * ENOUGH_BYTES) Atomics.wait(sleeping, 0, 0, NAP_MS);
    this.#reads = this.#bytes = 0;
  }
}

const ENOUGH_BYTES = 512;
const NAP_MS = 1;
const sleeping = new Int32Array(new SharedArrayBuffer(4));
