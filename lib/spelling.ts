/**
 * Names that are nearly those of parameters.
 *
 * @module
 */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** Characters that the name of a misspelt parameter may have. */
const MAX_LENGTH = 24;

/** What other servers call it. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  name: ["channel", "channels", "topic", "room"],
  channel: ["name", "topic", "room"],
  data: ["message", "msg", "text", "body", "payload"],
  seq: ["cursor", "position", "offset", "since", "lasteventid"],
};

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

/** As `isNear`, for a parameter that is needed and missing: its name in other servers will do as well. */
export function mayMean(name: string, missing: string): boolean {
  return isNear(name, missing) || (OTHERS[missing]?.includes(plainName(name)) ?? false);
}
