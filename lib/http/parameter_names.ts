/**
 * The names of parameters: river's own, and those that others use for them.
 *
 * @module
 */
import { isNear, plainName } from "../base/spelling.ts";

/** The parameters of all routes. Others are ignored, because caches and libraries add some. */
export const KNOWN = [
  "name",
  "data",
  "id",
  "type",
  "keep",
  "seq",
  "last",
  "last_event_id",
  "callback",
  "jsonp",
  "format",
  "limit",
  "timeout",
  "token",
  "prefix",
  "after",
  // Stands for other spellings of `last_event_id` that libraries use, in any case, with or without
  // hyphens and underscores.
  "lastEventId",
] as const;

/** The name of a known parameter. */
export type ParameterName = typeof KNOWN[number];

/**
 * An array, because a Set would hash every name that a client chose. Many names with equal hashes
 * would take seconds.
 */
const knownNames: readonly string[] = KNOWN;

/** The longest encoded name that is decoded, in characters. No parameter has a longer name. */
const MAX_ENCODED = 64;

/** River's names, each with the names that other servers use. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  name: ["channel", "channels", "topic", "room"],
  channel: ["name", "topic", "room"],
  data: ["message", "msg", "text", "body", "payload"],
  seq: ["cursor", "position", "offset", "since", "lasteventid"],
};

/**
 * Whether a given parameter most likely means the missing one. Like `isNear`, but names that other
 * servers use count too.
 */
export function mayMean(name: string, missing: string): boolean {
  return isNear(name, missing) || (ALIASES[missing]?.includes(plainName(name)) ?? false);
}

/** The decoded name. If it cannot be decoded, the encoded name: no parameter has such a name. */
export function decodedName(text: string): string {
  if (!text.includes("%")) return text;
  if (text.length > MAX_ENCODED) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The known parameter that a name stands for. Undefined if there is none. */
export function nameOf(name: string): ParameterName | undefined {
  if (knownNames.includes(name)) return name as ParameterName;
  // The first polyfills of EventSource used the prefix `evs_`.
  return name.length <= MAX_ENCODED && /^(?:evs)?lasteventid$/.test(plainName(name))
    ? "lastEventId"
    : undefined;
}
