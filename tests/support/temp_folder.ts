/**
 * Folders for the files of a test.
 *
 * @module
 */

/** A folder that is removed with all that is in it. */
export class TempFolder implements Disposable {
  /** Its path. */
  readonly path = Deno.makeTempDirSync();

  /** The path of a file in it. */
  file(name = "river.db"): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose]() {
    Deno.removeSync(this.path, { recursive: true });
  }
}
