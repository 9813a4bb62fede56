/**
 * Counts the frames that a socket has not sent. The runtime reports only bytes.
 *
 * @module
 */

/** Bytes that the runtime takes for each unsent frame, in addition to its text. */
export const FRAME_COST = 1024;

/** The writes since the socket last had nothing unsent, oldest first. */
export class FrameQueue {
  /**
   * The number of frames and of bytes of each write, from index `#at` up to `#end`. The array is
   * reused.
   */
  readonly #writes: number[] = [];
  #at = 0;
  #end = 0;
  #frames = 0;
  #bytes = 0;

  /** Adds a write of `frames` frames with `bytes` bytes in total. */
  push(frames: number, bytes: number): void {
    this.#writes[this.#end++] = frames;
    this.#writes[this.#end++] = bytes;
    this.#frames += frames;
    this.#bytes += bytes;
  }

  /**
   * How many frames are unsent if `unsent` bytes are. A write that is partly sent counts as a
   * whole.
   */
  count(unsent: number): number {
    if (unsent === 0) {
      this.#at =
        this.#end =
        this.#frames =
        this.#bytes =
          0;
    }
    while (this.#at < this.#end && this.#bytes - this.#writes[this.#at + 1] >= unsent) {
      this.#frames -= this.#writes[this.#at];
      this.#bytes -= this.#writes[this.#at + 1];
      this.#at += 2;
    }
    if (this.#at > 1024) {
      this.#writes.copyWithin(0, this.#at, this.#end);
      this.#end -= this.#at;
      this.#at = 0;
    }
    return this.#frames;
  }
}
