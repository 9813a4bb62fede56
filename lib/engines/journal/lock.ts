/**
 * The lock of a journal: one process per file. The lock also tells a copy of the file from the file itself.
 *
 * @module
 */
import { identityOf, resolvePath } from "./paths.ts";
import { JournalError } from "./rows.ts";

/** What the lock file says. */
interface Owner {
  /** The process that has the file, or had it last. */
  readonly pid: number;
  /** The last starts that the file may name: two while the process opens it, otherwise one. */
  readonly starts: readonly string[];
  /** Tells the file from a copy. Undefined if there was no file. */
  readonly file?: string;
}

/** A file beside a journal, which is locked as long as a process uses the journal. */
export class FileLock {
  /** The journal, by the one path that has no links in it. */
  readonly path: string;
  readonly #file: Deno.FsFile;
  readonly #last: Owner | undefined;
  #identity: string | undefined;

  private constructor(path: string, file: Deno.FsFile, last: Owner | undefined) {
    this.path = path;
    this.#file = file;
    this.#last = last;
  }

  /**
   * Locks a journal for this process.
   *
   * @throws {JournalError} If another process has it.
   */
  static async acquire(named: string): Promise<FileLock> {
    const path = await resolvePath(named);
    const lockPath = `${path}.lock`;
    let file: Deno.FsFile;
    try {
      file = await Deno.open(lockPath, { read: true, write: true, create: true });
    } catch (error) {
      throw new JournalError(`Cannot open ${lockPath}: ${(error as Error).message}`);
    }
    const owner = ownerOf(await Deno.readTextFile(lockPath));
    if (await file.tryLock(true)) return new FileLock(path, file, owner);
    file.close();
    const who = owner === undefined ? "Another process" : `Process ${owner.pid}`;
    throw new JournalError(`${who} has ${path} open already`);
  }

  /** The starts that the file may name. None if it is not the file that was locked then. */
  async lastStarts(): Promise<readonly string[]> {
    const { file, starts = [] } = this.#last ?? {};
    return file !== undefined && file === await identityOf(this.path) ? starts : [];
  }

  /** Notes the starts that the file may name from now on. */
  async write(starts: readonly string[]): Promise<void> {
    this.#identity = await identityOf(this.path);
    const owner: Owner = { pid: Deno.pid, starts, file: this.#identity };
    const bytes = new TextEncoder().encode(`${JSON.stringify(owner)}\n`);
    // At once, so that a kill leaves one or the other.
    await this.#file.seek(0, Deno.SeekMode.Start);
    await this.#file.write(bytes);
    await this.#file.truncate(bytes.length);
    await this.#file.sync();
  }

  /** Whether the file is still the one that was locked. */
  async holds(): Promise<boolean> {
    return await identityOf(this.path) === this.#identity;
  }

  /** Lets others have the file. */
  release(): void {
    // A child process that is just being started may hold a copy of the handle for a moment.
    this.#file.unlockSync();
    this.#file.close();
  }
}

function ownerOf(text: string): Owner | undefined {
  try {
    // What a longer line left behind does not count.
    return JSON.parse(text.split("\n")[0]);
  } catch {
    return undefined;
  }
}
