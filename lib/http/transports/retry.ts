/**
 * The delay after which clients reconnect.
 *
 * @module
 */

/** Bounds of the delay after which clients are told to reconnect. It is random for each client. */
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 3000;

/**
 * The delay after which a client is told to reconnect, in milliseconds. It is random, so that
 * clients do not all reconnect at the same moment.
 */
export function retryMs(): number {
  return Math.round(MIN_RETRY_MS + Math.random() * (MAX_RETRY_MS - MIN_RETRY_MS));
}
