/**
 * Keys for maps in which clients choose the names.
 *
 * @module
 */

/** The key of a text in a map. Equal texts have equal keys. They differ between processes. */
export type Key = string & { readonly seeded: true };

/** Sixteen random characters, because the runtime's hash function reads sixteen at a time. */
const SEED = crypto.randomUUID().replaceAll("-", "").slice(0, 16);

/**
 * The key for `text` in a map.
 *
 * The runtime hashes strings with a seed that is the same in every process, and numbers without a
 * seed. So a client could choose names that all fall into one bucket. Each new name would then be
 * compared with all names before it. The random prefix prevents that.
 */
export function keyOf(text: string): Key {
  return SEED + text as Key;
}
