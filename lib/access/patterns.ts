/**
 * Patterns of channel names, as tokens list them.
 *
 * @module
 */

/**
 * A set of patterns. A pattern is the name of a channel, or a prefix of names followed by `*`.
 *
 * The set holds sorted lists instead of a hash table. A lookup costs a few comparisons whatever the
 * names are, and a client cannot choose names that collide.
 */
export class Patterns {
  readonly #names: readonly string[];
  /**
   * A prefix that a shorter one covers is left out. So only the last prefix that does not sort
   * after a name can match the name.
   */
  readonly #prefixes: readonly string[];

  /** A set of these patterns. */
  constructor(patterns: readonly string[]) {
    this.#names = patterns.filter((pattern) => !pattern.endsWith("*")).sort();
    const prefixes: string[] = [];
    const all = patterns.filter((pattern) => pattern.endsWith("*"));
    for (const prefix of all.map((pattern) => pattern.slice(0, -1)).sort()) {
      if (prefixes.length === 0 || !prefix.startsWith(prefixes.at(-1)!)) prefixes.push(prefix);
    }
    this.#prefixes = prefixes;
  }

  /** Whether one of the patterns matches the channel. */
  fit(channel: string): boolean {
    const prefix = lastUpTo(this.#prefixes, channel);
    return prefix !== undefined && channel.startsWith(prefix) ||
      lastUpTo(this.#names, channel) === channel;
  }
}

/** The last of the sorted texts that does not sort after `text`. Undefined if all of them do. */
function lastUpTo(sorted: readonly string[], text: string): string | undefined {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (sorted[middle] <= text) from = middle + 1;
    else to = middle;
  }
  return sorted[from - 1];
}
