/**
 * Names that are nearly others: misspelt, or spelt with other case and hyphens.
 *
 * @module
 */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** Characters that the name of a misspelt parameter may have. */
const MAX_LENGTH = 24;

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
