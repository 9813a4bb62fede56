/**
 * The clock for durations, and the names of epochs.
 *
 * Durations are measured by the monotonic clock: the wall clock may be set, forwards or back, while a
 * message has an hour to live. On Linux it is CLOCK_MONOTONIC, which stands still while the machine
 * sleeps: after a sleep everything lives longer by as much. What is a time by nature, such as the end
 * of a token, is compared with `Date.now()`.
 *
 * @module
 */

/** The longest time that a timer of the runtime can wait, in milliseconds; beyond it, it fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Random digits in the name of an epoch. */
const RANDOM_DIGITS = 5;

/**
 * Whole milliseconds since the process started, by a clock that nobody can set. For weeks the numbers
 * are small enough for the runtime to keep them in an object, where others are objects of their own.
 */
export function sinceStart(): number {
  return Math.trunc(performance.now());
}

/**
 * Names for epochs: `0-9a-z`, at most 32 characters, in the order of their making, none of them twice.
 * All begin with the time of the start in milliseconds and five random digits, both to the base 36: so
 * no other process has the same ones, not even one that starts in the same millisecond, or after the
 * clock was set back. All but the first end with a number that counts up; the count of its digits comes
 * before it, so that texts sort as the numbers do.
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
