/**
 * Names that are nearly others: misspelt, or spelt with other case and hyphens.
 *
 * @module
 */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** Characters that the name of a misspelt parameter may have. */
const MAX_LENGTH = 24;
/** Characters of a name for which a near one is looked for: a comparison takes the square of them. */
const MAX_COMPARED = 64;

/** The name without what spellings differ in: case, hyphens and underscores. */
export function plainName(name: string): string {
  return name.replaceAll(/[-_]/g, "").toLowerCase();
}

/**
 * Whether a name that means nothing is most likely meant as another. Names of up to three letters, and
 * `jsonp` beside `json`, are too near to names that mean something elsewhere.
 */
export function isNear(name: string, meant: string): boolean {
  if (name.length > MAX_LENGTH) return false;
  const [plain, plainMeant] = [plainName(name), plainName(meant)];
  if (plain === plainMeant) return true;
  if (meant.length < 4 || meant === "jsonp") return false;
  return levenshteinDistance(plain, plainMeant) <= (meant.length < 6 ? 1 : 2);
}

/**
 * The name that a misspelt one most likely means: the nearest, or one that begins with it. Undefined if
 * none is near.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = plainName(name);
  if (plain === "" || plain.length > MAX_COMPARED) return undefined;
  // Two letters that change places count as two.
  const most = plain.length < 4 ? 1 : plain.length < 9 ? 2 : 3;
  const near = names
    .map((each) => ({ each, distance: levenshteinDistance(plain, plainName(each)) }))
    .filter(({ distance }) => distance <= most)
    .sort((a, b) => a.distance - b.distance);
  if (near.length > 0) return near[0].each;
  return plain.length < 4 ? undefined : names.find((each) => plainName(each).startsWith(plain));
}
