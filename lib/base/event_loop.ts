/**
 * Splits long work into turns of the event loop.
 *
 * @module
 */

/** How long work may run before other work gets a turn, in milliseconds. */
export const SLICE_MS = 5;

const waiting: (() => void)[] = [];

/**
 * Resolves when the caller may continue. Only one caller continues per round of the event loop, so
 * that many of them delay other work no more than a few do.
 */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) wait();
  });
}

/**
 * Calls back after the runtime has polled the network. `setImmediate` does not ensure that. While
 * one immediate follows another, Deno 2.9.6 polls the network only every 61st turn (tokio's event
 * interval), so the server would not hear its clients until then.
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
