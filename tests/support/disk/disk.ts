/**
 * A disk that a test makes slow, breaks, or watches: see shim.c.
 *
 * @module
 */
import { assert } from "@std/assert";

/** What the server does with its file, in the order of shim.c. */
export const PHASES = [
  "restoring",
  "accepting",
  "inserting",
  "committing",
  "checkpointing",
] as const;
export type Phase = typeof PHASES[number];

/** The numbers that the test and the server share, in the order of shim.c. */
const FIELDS = ["syncUs", "error", "ready", "phase", "aim", "skip", "waitUs", "syncs"] as const;
type Field = typeof FIELDS[number];

/** The disk of a server whose database is in a folder of its own. */
export class Disk implements Disposable {
  /** The variables that the server needs. */
  readonly env: Record<string, string>;
  readonly #file: Deno.FsFile;

  private constructor(file: Deno.FsFile, env: Record<string, string>) {
    this.#file = file;
    this.env = env;
    this.set({ aim: -1 });
  }

  /** Builds the shim, and puts it beside a database. */
  static async of(database: string): Promise<Disk> {
    const [shim, shared] = [`${database}.shim.so`, `${database}.shared`];
    const { success, stderr } = await new Deno.Command("gcc", {
      args: [
        ...["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", shim],
        ...[new URL("shim.c", import.meta.url).pathname, "-ldl"],
      ],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    await Deno.writeFile(shared, new Uint8Array(4 * FIELDS.length));
    const file = await Deno.open(shared, { read: true, write: true });
    return new Disk(file, { LD_PRELOAD: shim, DISK_SHARED: shared, DISK_DATABASE: database });
  }

  /** Changes numbers. The server sees it at once. */
  set(values: Partial<Record<Field, number>>): void {
    for (const [field, value] of Object.entries(values)) {
      this.#file.seekSync(4 * FIELDS.indexOf(field as Field), Deno.SeekMode.Start);
      this.#file.writeSync(new Uint8Array(Int32Array.of(value).buffer));
    }
  }

  get(field: Field): number {
    const bytes = new Uint8Array(4);
    this.#file.seekSync(4 * FIELDS.indexOf(field), Deno.SeekMode.Start);
    this.#file.readSync(bytes);
    return new Int32Array(bytes.buffer)[0];
  }

  /** What the server does, or did when it was killed. */
  get phase(): Phase {
    return PHASES[this.get("phase")];
  }

  [Symbol.dispose]() {
    this.#file.close();
  }
}
