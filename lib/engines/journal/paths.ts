/**
 * Files by their paths.
 *
 * @module
 */
import { JournalError } from "./rows.ts";

/**
 * The path of a file without links, so that a file has one lock.
 *
 * @throws {JournalError} If its folder is not there, or if it has several names (hard links).
 */
export async function resolvePath(path: string): Promise<string> {
  const [, folder = ".", name = path] = /^(.*\/)([^/]*)$/s.exec(path) ?? [];
  try {
    const real = await ifThere(Deno.realPath(path));
    if (real === undefined) {
      const place = await ifThere(Deno.realPath(folder));
      if (place === undefined) {
        throw new JournalError(`Cannot open ${path}: there is no such folder`);
      }
      // A link to a file that is not there yet.
      const link = await ifThere(Deno.readLink(path));
      if (link === undefined) return `${place}/${name}`;
      return await resolvePath(link.startsWith("/") ? link : `${place}/${link}`);
    }
    const { isFile, nlink } = await Deno.stat(real);
    if (isFile && (nlink ?? 1) > 1) {
      throw new JournalError(`Cannot use ${path}: it has ${nlink} names (hard links)`);
    }
    return real;
  } catch (error) {
    if (error instanceof JournalError) throw error;
    throw new JournalError(`Cannot open ${path}: ${(error as Error).message}`);
  }
}

/** A name for the file itself. The number of a file that was removed may be given again, so its birth counts. */
export async function identityOf(path: string): Promise<string | undefined> {
  const stat = await ifThere(Deno.stat(path));
  return stat && `${stat.ino} ${stat.birthtime?.getTime()}`;
}

/** Whether there is a file. */
export async function exists(path: string): Promise<boolean> {
  return await ifThere(Deno.stat(path)) !== undefined;
}

/** The answer about a file. Undefined if there is no such file. */
async function ifThere<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
