/**
 * Keys for maps whose names are chosen by strangers.
 *
 * @module
 */

/** The key of a text in a map. It is the same for the same text, and differs between processes. */
export type Key = string & { readonly seeded: true };

/** Sixteen random characters: the runtime's hash reads sixteen at a time. */
const SEED = crypto.randomUUID().replaceAll("-", "").slice(0, 16);

/**
 * The key for `text` in a map.
 *
 * The runtime hashes strings with a seed that is the same in every process, and numbers without
 * one. So a stranger can choose names that all fall into one bucket, and each then costs as much as
 * all before it.
 */
export function keyOf(text: string): Key {
  return SEED + text as Key;
}
