/**
 * Recognises misspelt names, and names in another case or with other hyphens.
 *
 * @module
 */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** The longest name that can count as a misspelt parameter, in characters. */
const MAX_LENGTH = 24;
/**
 * The longest name that is compared with others, in characters. The time of a comparison grows with
 * the square of the length.
 */
const MAX_COMPARED = 64;

/** Parameters whose misspellings could be real parameters of other software. */
const TOO_COMMON = ["jsonp", "last"];

/** The name in lower case, without hyphens and underscores. */
export function plainName(name: string): string {
  return name.replaceAll(/[-_]/g, "").toLowerCase();
}

/**
 * Whether an unknown name is most likely a misspelling of `meant`. Names of up to three letters,
 * `jsonp` (close to `json`) and `last` (close to `list`) are too close to names that other software
 * uses. For them, only case, hyphens and underscores may differ.
 */
export function isNear(name: string, meant: string): boolean {
  if (name.length > MAX_LENGTH) return false;
  const [plain, plainMeant] = [plainName(name), plainName(meant)];
  if (plain === plainMeant) return true;
  if (meant.length < 4 || TOO_COMMON.includes(meant)) return false;
  return levenshteinDistance(plain, plainMeant) <= (meant.length < 6 ? 1 : 2);
}

/**
 * The name that a misspelt name most likely means: the nearest one, or else one that begins with
 * it. Undefined if there is no such name.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = plainName(name);
  if (plain === "" || plain.length > MAX_COMPARED) return undefined;
  // Two swapped letters have a distance of 2.
  const maxDistance = plain.length < 4 ? 1 : plain.length < 9 ? 2 : 3;
  const near = names
    .map((each) => ({ each, distance: levenshteinDistance(plain, plainName(each)) }))
    .filter(({ distance }) => distance <= maxDistance)
    .sort((a, b) => a.distance - b.distance);
  if (near.length > 0) return near[0].each;
  return plain.length < 4 ? undefined : names.find((each) => plainName(each).startsWith(plain));
}
