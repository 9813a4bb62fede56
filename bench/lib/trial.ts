/**
 * One run of a load: its connections, its first error, and its figures.
 *
 * @module
 */
import { sleep } from "./connection.ts";
import type { Server } from "./servers.ts";
import { type Sample, watchBusy } from "./workload.ts";

/** The time for warming up, as a share of the measured time. */
const WARM_UP = 0.3;

/** Something that is closed at the end. */
export interface Closable {
  /** Closes it. */
  close(): void;
}

/** One run of a load. */
export class Trial {
  readonly #closables: Closable[] = [];
  readonly #failure = Promise.withResolvers<never>();
  /** Ends the run with an error. */
  readonly fail = (error: Error): void => this.#failure.reject(error);

  private constructor() {
    this.#failure.promise.catch(() => {});
  }

  /** Runs a load. Ends it at the first failure, and closes everything that it opened. */
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

  /** Waits for a promise. Rejects as soon as the run fails. */
  watch<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#failure.promise]);
  }

  /**
   * Lets the load warm up, then measures how fast a count rises.
   *
   * @returns The rate per second, under the name of `metric`.
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

  /**
   * Sends by the clock, `rate` times per second, and does not wait for answers.
   *
   * @param send Takes when its message is due, as `performance.now()` counts.
   */
  async pace(
    rate: number,
    times: number,
    send: (index: number, due: number) => void,
  ): Promise<void> {
    const started = performance.now();
    for (let index = 0; index < times; index++) {
      const due = started + index * 1000 / rate;
      const early = due - performance.now();
      if (early > 0) await this.watch(sleep(early));
      send(index, due);
    }
  }
}

/**
 * Makes the load sleep a little after small reads, so that the next ones find more. A read costs
 * the load more than the messages in it. So the load keeps up with servers that send every message
 * in its own packet. It must not be used where times are measured.
 */
export class Napper {
  readonly #readers: number;
  #reads = 0;
  #bytes = 0;

  /**
   * Begins before the first read.
   *
   * @param readers How many connections are read in turn.
   */
  constructor(readers: number) {
    this.#readers = readers;
  }

  /** Counts a read. After one read per reader, sleeps if the reads were small. */
  read(bytes: number): void {
    this.#bytes += bytes;
    if (++this.#reads < this.#readers) return;
    if (this.#bytes < this.#reads * ENOUGH_BYTES) Atomics.wait(sleeping, 0, 0, NAP_MS);
    this.#reads = this.#bytes = 0;
  }
}

/** Reads that average fewer bytes than this are small. */
const ENOUGH_BYTES = 512;
const NAP_MS = 1;
const sleeping = new Int32Array(new SharedArrayBuffer(4));
