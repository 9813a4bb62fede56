/**
 * Counts durations, for the histograms of the metrics.
 *
 * @module
 */

/** Upper bounds of the ranges, in seconds. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Durations, counted by how long they are. */
export class Histogram {
  /**
   * The number of durations per range. A range holds durations of at most its bound, but longer than the
   * bound before it. The last one holds those longer than all bounds.
   */
  readonly #counts = new Float64Array(BOUNDS.length + 1);
  /** The sum of all durations, in seconds. */
  sum = 0;

  /** Counts a duration, in seconds. */
  add(seconds: number): void {
    let at = 0;
    while (at < BOUNDS.length && seconds > BOUNDS[at]) at++;
    this.#counts[at]++;
    this.sum += seconds;
  }

  /** For each upper bound, how many durations are at most as long. The last bound is infinite. */
  cumulative(): [bound: number, count: number][] {
    let sum = 0;
    return Array.from(this.#counts, (count, i) => [BOUNDS[i] ?? Infinity, sum += count]);
  }
}
