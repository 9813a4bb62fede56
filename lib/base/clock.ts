/**
 * The clock for durations, and the names of epochs.
 *
 * Durations are measured by the monotonic clock, because the wall clock may be set while a message
 * has an hour to live. On Linux it is CLOCK_MONOTONIC, which stands still while the machine sleeps.
 * So everything lives longer by the time of the sleep. A point in time, such as the end of a token,
 * is compared with `Date.now()`.
 *
 * @module
 */

/** Longest delay of a timer, in milliseconds. With a longer one the runtime fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Random digits in the name of an epoch. */
const RANDOM_DIGITS = 5;

/**
 * Whole milliseconds since the process started, by a clock that nobody can set. The runtime keeps
 * such small integers inside an object, without an allocation of their own, for weeks.
 */
export function sinceStart(): number {
  return Math.trunc(performance.now());
}

/**
 * Makes names for epochs: `0-9a-z`, at most 32 characters, sorted in the order of their making,
 * none of them twice. All begin with the time of the start in milliseconds and five random digits,
 * both in base 36. So no other process makes the same names, even if it starts in the same
 * millisecond, or after the clock was set back. All except the first end with a number that counts
 * up. The number of its digits comes before it, so that the texts sort as the numbers do.
 *
 * @param start When the process started, in milliseconds since 1970.
 */
export function epochs(start: number = Date.now()): () => string {
  const random = crypto.getRandomValues(new Uint32Array(RANDOM_DIGITS));
  const own = start.toString(36) +
    Array.from(random, (number) => (number % 36).toString(36)).join("");
  let made = 0;
  return () => {
    const count = made++;
    if (count === 0) return own;
    const digits = count.toString(36);
    return own + digits.length.toString(36) + digits;
  };
}
