/**
 * The names that other servers use for river's required parameters.
 *
 * @module
 */
import { isNear, plainName } from "../base/spelling.ts";

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
