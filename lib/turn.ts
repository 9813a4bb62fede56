/**
 * Turns of the event loop, for work that takes long.
 *
 * @module
 */

/** Milliseconds that work may go on for before it must wait for a turn. */
export const SLICE_MS = 5;

const waiting: (() => void)[] = [];

/**
 * Resolves when it is the caller's turn to go on. All long work shares one turn per round of the event loop,
 * so that much of it delays others no more than a little.
 */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) wait();
  });
}

/**
 * Waits with a timer: as long as `setImmediate` has work, the runtime looks for what has come in only once in
 * about sixty rounds (tokio's event interval).
 */
function wait(): void {
  setTimeout(() => {
    waiting.shift()!();
    if (waiting.length > 0) wait();
  });
}
