/**
 * What other servers call the parameters that river needs.
 *
 * @module
 */
import { isNear, plainName } from "../base/spelling.ts";

/** Their names, by ours. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  name: ["channel", "channels", "topic", "room"],
  channel: ["name", "topic", "room"],
  data: ["message", "msg", "text", "body", "payload"],
  seq: ["cursor", "position", "offset", "since", "lasteventid"],
};

/**
 * Like `isNear`, for a parameter that is required and missing. Its name in other servers counts
 * too.
 */
export function mayMean(name: string, missing: string): boolean {
  return isNear(name, missing) || (OTHERS[missing]?.includes(plainName(name)) ?? false);
}
