/**
 * Writes lines without ever waiting for their reader. A log that nobody reads must not stop the
 * server.
 *
 * @module
 */

const utf8 = new TextEncoder();

/** The most characters that wait. Further lines are dropped and counted. */
const MAX_WAITING = 1024 * 1024;

/** Writes lines in order, in the background. */
export class LineWriter {
  readonly #write: (bytes: Uint8Array) => Promise<number>;
  #waiting: string[] = [];
  #length = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;

  /**
   * A writer with nothing to write.
   *
   * @param write Writes some of the bytes and resolves with their number. May reject, and may never
   * settle.
   */
  constructor(write: (bytes: Uint8Array) => Promise<number>) {
    this.#write = write;
  }

  /** Writes a line as soon as the lines before it are written. It must include its line end. */
  write(line: string): void {
    if (this.#length + line.length > MAX_WAITING) {
      this.#dropped++;
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
      await this.#writeAll(utf8.encode(text));
      this.#length -= text.length;
      if (this.#dropped > 0) {
        const notice = `${this.#dropped} lines were dropped: the log was not read in time\n`;
        this.#dropped = 0;
        this.#waiting.push(notice);
        this.#length += notice.length;
      }
    }
    this.#writing = undefined;
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    try {
      while (bytes.length > 0) bytes = bytes.subarray(await this.#write(bytes));
    } catch {
      // The disk is full, or nobody reads the pipe any more. Neither is a reason to stop serving.
    }
  }
}
