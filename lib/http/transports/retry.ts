/**
 * When clients come back.
 *
 * @module
 */

/** Bounds of the delay that clients are told before they come back. Each is told another delay. */
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 3000;

/**
 * A delay for clients that have to come back, in milliseconds. Random, so that they do not come at
 * once.
 */
export function retryMs(): number {
  return Math.round(MIN_RETRY_MS + Math.random() * (MAX_RETRY_MS - MIN_RETRY_MS));
}
