/**
 * Keys for maps of what strangers name.
 *
 * @module
 */

/** The key of a text in a map: the same for the same text, and different in every process. */
export type Key = string & { readonly seeded: true };

/** Sixteen random characters: the runtime's hash reads sixteen at a time. */
const SEED = crypto.randomUUID().replaceAll("-", "").slice(0, 16);

/**
 * The key under which a map may keep what belongs to `text`.
 *
 * The runtime hashes strings with a seed that is the same in every process, and numbers without any. So
 * names can be made that all fall into one bucket, and then each of them costs as much as all before it.
 */
export function keyOf(text: string): Key {
  return SEED + text as Key;
}
