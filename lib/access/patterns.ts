/**
 * Patterns of channel names, as tokens list them.
 *
 * @module
 */

/**
 * A set of patterns. A pattern is the name of a channel, or a prefix of names and `*`.
 *
 * It holds sorted lists instead of a hash table: a lookup costs a few comparisons whatever the
 * names are, and names that a stranger chose cannot collide.
 */
export class Patterns {
  readonly #names: readonly string[];
  /**
   * Without prefixes that a shorter one covers, so that only the last one before a name can fit it.
   */
  readonly #prefixes: readonly string[];

  /** The set of these patterns. */
  constructor(patterns: readonly string[]) {
    this.#names = patterns.filter((pattern) => !pattern.endsWith("*")).sort();
    const prefixes: string[] = [];
    const all = patterns.filter((pattern) => pattern.endsWith("*"));
    for (const prefix of all.map((pattern) => pattern.slice(0, -1)).sort()) {
      if (prefixes.length === 0 || !prefix.startsWith(prefixes.at(-1)!)) prefixes.push(prefix);
    }
    this.#prefixes = prefixes;
  }

  /** Whether one of the patterns fits the channel. */
  fit(channel: string): boolean {
    const prefix = lastUpTo(this.#prefixes, channel);
    return prefix !== undefined && channel.startsWith(prefix) ||
      lastUpTo(this.#names, channel) === channel;
  }
}

/** The last of the sorted texts that does not come after `text`. Undefined if all do. */
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
