/**
 * Turns of the event loop, for work that takes long.
 *
 * @module
 */

/** Longest work without a turn for others, in milliseconds. */
export const SLICE_MS = 5;

const waiting: (() => void)[] = [];

/**
 * Resolves when it is the caller's turn to continue. All long work shares one turn per round of the
 * event loop, so that a lot of it delays others no more than a little.
 */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) wait();
  });
}

/**
 * Calls back once the runtime has looked at the network. After `setImmediate` it might not have:
 * while one immediate follows another, Deno 2.9.6 looks at the network only every 61st turn
 * (tokio's event interval), so no client would be heard meanwhile.
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
