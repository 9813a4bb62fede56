/**
 * The thread that writes the journal: a slow disk delays the publishers that wait for it, and nobody else.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { JournalFile } from "./file.ts";
import { type FileOptions, JournalError, type Opened } from "./rows.ts";

/** The address of this module, or of the bundle that it is in. */
export const JOURNAL_WORKER: string = import.meta.url;
/** The name of the thread. A program of one file is loaded in every thread. */
export const JOURNAL_THREAD = "river-journal";

/** What the thread can do beside opening the file. */
export type Method = "messages" | "commit" | "probe" | "tidy" | "close";

/** What the thread is asked to do. It does one after the other. */
export type Order =
  | { readonly method: "open"; readonly args: readonly [FileOptions] }
  | { readonly method: Method; readonly args: readonly unknown[] };

/** The answer to an order. */
export type Answer =
  | { readonly value: unknown }
  /** `refused`: the file cannot be used. Otherwise SQLite failed; `full` if there is no room. */
  | { readonly error: string; readonly refused: boolean; readonly full: boolean };

/** SQLite's code for "there is no room". */
const SQLITE_FULL = 13;

let file: JournalFile | undefined;

function open(options: FileOptions): Opened {
  file = new JournalFile(options);
  return file.opened(options.receiptsAfter);
}

function answer(order: Order): Answer {
  try {
    if (order.method === "open") return { value: open(...order.args) };
    const action = file?.[order.method] as ((...args: readonly unknown[]) => unknown) | undefined;
    return { value: action?.apply(file, order.args as unknown[]) };
  } catch (error) {
    const { message, errcode } = error as Error & { errcode?: number };
    return {
      error: message,
      refused: error instanceof JournalError,
      // The errors of `exec` have no code, and a COMMIT is what meets a full disk.
      full: errcode === SQLITE_FULL || message === "database or disk is full",
    };
  }
}

if ((globalThis as { name?: string }).name === JOURNAL_THREAD) {
  const thread = globalThis as unknown as DedicatedWorkerGlobalScope;
  thread.onmessage = ({ data }: MessageEvent<Order>) => thread.postMessage(answer(data));
}
