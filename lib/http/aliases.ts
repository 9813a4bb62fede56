/**
 * What other servers call the parameters that river needs.
 *
 * @module
 */
import { isNear, plainName } from "../base/spelling.ts";

/** By our name, theirs. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  name: ["channel", "channels", "topic", "room"],
  channel: ["name", "topic", "room"],
  data: ["message", "msg", "text", "body", "payload"],
  seq: ["cursor", "position", "offset", "since", "lasteventid"],
};

/** As `isNear`, for a parameter that is needed and missing: its name in other servers will do as well. */
export function mayMean(name: string, missing: string): boolean {
  return isNear(name, missing) || (OTHERS[missing]?.includes(plainName(name)) ?? false);
}
