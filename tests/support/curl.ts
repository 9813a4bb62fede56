/**
 * curl, as a user runs it.
 *
 * @module
 */
import { LineReader } from "./http.ts";

/** A curl that runs. Its lines come as they are printed. */
export class Curl implements AsyncDisposable {
  readonly lines: LineReader;
  readonly #process: Deno.ChildProcess;
  readonly #stderr: Promise<string>;

  constructor(args: string[]) {
    const command = new Deno.Command("curl", {
      args: ["--silent", "--show-error", ...args],
      stdout: "piped",
      stderr: "piped",
    });
    try {
      this.#process = command.spawn();
    } catch (cause) {
      throw new Error("These tests need curl: install it and put it on the PATH", { cause });
    }
    this.lines = new LineReader(new Response(this.#process.stdout));
    this.#stderr = new Response(this.#process.stderr).text();
  }

  /** What it has still to print, once it has ended; fails unless it ends well. */
  async output(): Promise<string> {
    const text = await this.lines.rest();
    const { code } = await this.#process.status;
    if (code !== 0) throw new Error(`curl ended with ${code}: ${await this.#stderr}`);
    return text;
  }

  async [Symbol.asyncDispose]() {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.lines.rest();
    await Promise.all([this.#process.status, this.#stderr]);
  }
}

/** Starts curl. */
export function curl(...args: string[]): Curl {
  return new Curl(args);
}
