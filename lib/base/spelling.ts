/**
 * Misspelt names, and names in another case or with other hyphens.
 *
 * @module
 */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** Longest name that counts as a misspelt parameter, in characters. */
const MAX_LENGTH = 24;
/**
 * Longest name that is compared with others, in characters. A comparison takes the square of them.
 */
const MAX_COMPARED = 64;

/** Parameters whose near names mean something elsewhere. */
const TOO_COMMON = ["jsonp", "last"];

/** The name in lower case, without hyphens and underscores. */
export function plainName(name: string): string {
  return name.replaceAll(/[-_]/g, "").toLowerCase();
}

/**
 * Whether an unknown name most likely means another. Names of up to three letters, `jsonp` (which
 * `json` is near) and `last` (`list`) are too close to names that other software uses.
 */
export function isNear(name: string, meant: string): boolean {
  if (name.length > MAX_LENGTH) return false;
  const [plain, plainMeant] = [plainName(name), plainName(meant)];
  if (plain === plainMeant) return true;
  if (meant.length < 4 || TOO_COMMON.includes(meant)) return false;
  return levenshteinDistance(plain, plainMeant) <= (meant.length < 6 ? 1 : 2);
}

/**
 * The name that a misspelt one most likely means: the nearest one, or one that begins with it.
 * Undefined if none is near.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = plainName(name);
  if (plain === "" || plain.length > MAX_COMPARED) return undefined;
  // Two letters that change places count as two.
  const maxDistance = plain.length < 4 ? 1 : plain.length < 9 ? 2 : 3;
  const near = names
    .map((each) => ({ each, distance: levenshteinDistance(plain, plainName(each)) }))
    .filter(({ distance }) => distance <= maxDistance)
    .sort((a, b) => a.distance - b.distance);
  if (near.length > 0) return near[0].each;
  return plain.length < 4 ? undefined : names.find((each) => plainName(each).startsWith(plain));
}
