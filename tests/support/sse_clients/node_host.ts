/**
 * A Node in which clients for event streams run.
 *
 * @module
 */
import { LineReader } from "../http.ts";
import type { SseEvent } from "./adapter.ts";
import type { Order, Told } from "./node.ts";

/** The version of Node. */
const VERSION = 24;

/** Runs the script that node.ts was bundled to. */
export class NodeHost implements AsyncDisposable {
  readonly #folder: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #tells: ((event: SseEvent) => void)[] = [];
  readonly #reading: Promise<void>;

  private constructor(folder: string, path: string) {
    this.#folder = folder;
    const args = ["-y", `node@${VERSION}`, path];
    this.#process = new Deno.Command("npx", { args, stdin: "piped", stdout: "piped" }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#reading = this.#read();
  }

  static async start(script: string): Promise<NodeHost> {
    const folder = await Deno.makeTempDir();
    const path = `${folder}/clients.mjs`;
    await Deno.writeTextFile(path, script);
    return new NodeHost(folder, path);
  }

  /** Opens a client. */
  async hold(
    name: string,
    url: string,
    headers: Record<string, string>,
    tell: (event: SseEvent) => void,
  ): Promise<AsyncDisposable> {
    const id = this.#tells.push(tell) - 1;
    await this.#order({ id, open: { name, url, headers } });
    return { [Symbol.asyncDispose]: () => this.#order({ id }) };
  }

  async #order(order: Order): Promise<void> {
    await this.#input.write(new TextEncoder().encode(JSON.stringify(order) + "\n"));
  }

  async #read(): Promise<void> {
    const lines = new LineReader(new Response(this.#process.stdout));
    for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
      const { id, event }: Told = JSON.parse(line);
      this.#tells[id](event);
    }
  }

  async [Symbol.asyncDispose]() {
    await this.#input.close();
    await this.#reading;
    await this.#process.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}
