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
 * Calls back once the network has been looked at. After `setImmediate` it might not have been: while one
 * follows another, Deno 2.9.6 looks at the network every 61st turn only (tokio's event interval), so nobody
 * would be heard meanwhile.
 */
export function afterOthers(action: () => void): ReturnType<typeof setTimeout> {
  return setTimeout(action, 0);
}

function wait(): void {
  afterOthers(() => {
    waiting.shift()!();
    if (waiting.length > 0) wait();
  });
}
