/**
 * Writes lines without ever waiting for their reader. A log that nobody reads must not stop the
 * server.
 *
 * @module
 */

const utf8 = new TextEncoder();
const LINE_END = "\n".charCodeAt(0);

/** The most characters that wait. Further lines are dropped and counted. */
const MAX_WAITING = 1024 * 1024;

/** Writes lines in order, in the background. */
export class LineWriter {
  readonly #write: (bytes: Uint8Array) => Promise<number>;
  readonly #notice: (lost: number) => string;
  #waiting: string[] = [];
  #length = 0;
  /** Number of lines that were dropped or could not be written, and were not reported yet. */
  #lost = 0;
  /** Whether the last line was written only in part. */
  #torn = false;
  #writing: Promise<void> | undefined;

  /**
   * A writer with nothing to write.
   *
   * @param write Writes some of the bytes and resolves with their number. May reject, and may never
   * settle.
   * @param notice Returns the line that reports how many lines were lost, once lines can be written
   * again.
   */
  constructor(write: (bytes: Uint8Array) => Promise<number>, notice: (lost: number) => string) {
    this.#write = write;
    this.#notice = notice;
  }

  /** Writes a line as soon as the lines before it are written. It must include its line end. */
  write(line: string): void {
    if (this.#length + line.length > MAX_WAITING) {
      this.#lost++;
      return;
    }
    this.#waiting.push(line);
    this.#length += line.length;
    this.#writing ??= this.#work();
  }

  /** Resolves when all lines are written, or after `ms` milliseconds. */
  async flush(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const text = this.#waiting.join("");
      this.#waiting = [];
      const lost = await this.#writeAll(text);
      this.#length -= text.length;
      this.#lost += lost;
      if (lost === 0 && this.#lost > 0 && this.#waiting.length === 0) await this.#report();
    }
    this.#writing = undefined;
  }

  async #report(): Promise<void> {
    const lost = this.#lost;
    this.#lost = 0;
    if (await this.#writeAll(this.#notice(lost)) > 0) this.#lost += lost;
  }

  /** Writes lines. Resolves with the number of those that could not be written. */
  async #writeAll(text: string): Promise<number> {
    let left = utf8.encode(text);
    try {
      if (this.#torn) await this.#writeSome(utf8.encode("\n"));
      while (left.length > 0) left = left.subarray(await this.#writeSome(left));
    } catch {
      // The disk is full, or nobody reads the pipe any more. Neither is a reason to stop serving.
    }
    return left.filter((byte) => byte === LINE_END).length;
  }

  async #writeSome(bytes: Uint8Array): Promise<number> {
    const written = await this.#write(bytes);
    if (written > 0) this.#torn = bytes[written - 1] !== LINE_END;
    return written;
  }
}
