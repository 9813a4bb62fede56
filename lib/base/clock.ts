/**
 * The clock for durations.
 *
 * Durations are measured with the monotonic clock, because the wall clock may be set during the
 * hour that a message has to live. On Linux it is CLOCK_MONOTONIC, which stops while the machine
 * sleeps. So everything lives longer by the time of the sleep. A point in time, such as the expiry
 * of a token, is compared with `Date.now()`.
 *
 * @module
 */

/**
 * The longest delay of a timer, in milliseconds. The runtime fires a timer with a longer one at
 * once.
 */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Whole milliseconds since the process started, from a clock that nobody can set. For weeks the
 * numbers are so small that the runtime stores them inside an object, without an allocation of
 * their own.
 */
export function sinceStart(): number {
  return Math.trunc(performance.now());
}
