/**
 * The names of epochs.
 *
 * @module
 */

/** Number of digits of the time in the name of an epoch. It is enough until the year 2059. */
const TIME_DIGITS = 8;
/** Number of random digits in the name of an epoch. */
const RANDOM_DIGITS = 5;

/**
 * Returns a function that makes names for epochs. A name consists of `0-9a-z` and has at most 32
 * characters. No name is made twice, and each sorts after all names made before it.
 *
 * All names begin with the start time in milliseconds and five random digits, both in base 36. So
 * no other process makes the same names, even if it starts in the same millisecond, or after the
 * clock was set back. All names except the first end with a counter. The number of its digits comes
 * before it, so that the names sort as the numbers do.
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

/**
 * When to start so that all names sort after an epoch that another process made, though the clock may have
 * been set back: now, or just after that process, in milliseconds since 1970.
 */
export function afterEpoch(epoch: string): number {
  return Math.max(Date.now(), parseInt(epoch.slice(0, TIME_DIGITS), 36) + 1 || 0);
}
