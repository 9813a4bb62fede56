/**
 * Medians and percentiles.
 *
 * @module
 */

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The value that a share of the sorted values does not exceed. */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

/** The median and the 99th percentile. */
export function quantiles(times: readonly number[]): { p50: number; p99: number } {
  const sorted = Float64Array.from(times).sort();
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
}

/**
 * An interval that holds the true median with a probability of at least 95 %, whatever the
 * distribution. The binomial distribution picks its ends from the sorted values (Conover, Practical
 * Nonparametric Statistics, 3.2).
 *
 * @param values At least six. Fewer values lie too often on one side of the median.
 */
export function medianInterval(values: readonly number[]): [low: number, high: number] {
  const sorted = values.toSorted((a, b) => a - b);
  const { length } = sorted;
  // The chance that fewer than `rank + 1` values lie below the median.
  let below = 0;
  let term = 0.5 ** length;
  let rank = 0;
  while (below + term <= 0.025) {
    below += term;
    term *= (length - rank) / (rank + 1);
    rank++;
  }
  if (rank === 0) {
    throw new RangeError(`Cannot give an interval for ${length} values: at least 6 are needed`);
  }
  return [sorted[rank - 1], sorted[length - rank]];
}
