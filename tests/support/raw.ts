/**
 * HTTP that is written by hand.
 *
 * @module
 */
import type { Answer } from "./http.ts";

/** A TCP connection on which HTTP is written by hand. What is read has a character a byte. */
export class RawConnection implements Disposable {
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(16_384);
  #text = "";
  #ended = false;

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async open({ port }: { port: number }): Promise<RawConnection> {
    return new RawConnection(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Writes it all. */
  async write(data: string | Uint8Array): Promise<void> {
    let bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    while (bytes.length > 0) bytes = bytes.subarray(await this.#conn.write(bytes));
  }

  /** Tells the server that no more is written. */
  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  /** Everything up to and including `mark`. */
  async until(mark: string): Promise<string> {
    while (!this.#text.includes(mark)) {
      if (!await this.#read()) throw new Error(`ended before ${JSON.stringify(mark)}`);
    }
    return this.#cut(this.#text.indexOf(mark) + mark.length);
  }

  /** A response with its body, if it has a length; not for HEAD. */
  async response(): Promise<Answer> {
    const [status, ...fields] = (await this.until("\r\n\r\n")).trimEnd().split("\r\n");
    const headers = new Headers(
      fields.map((
        field,
      ): [string, string] => [field.split(":", 1)[0], field.slice(field.indexOf(":") + 1).trim()]),
    );
    const length = Number(headers.get("content-length") ?? 0);
    while (this.#text.length < length && await this.#read());
    const body = Uint8Array.from(this.#cut(length), (char) => char.charCodeAt(0));
    const text = new TextDecoder().decode(body);
    return { status: Number(status.split(" ")[1]), headers, text };
  }

  /** The next `length` bytes; fewer at the end. */
  async take(length: number): Promise<string> {
    while (this.#text.length < length && await this.#read());
    return this.#cut(length);
  }

  /** All that comes until the end. */
  async rest(): Promise<string> {
    while (await this.#read());
    return this.#cut(this.#text.length);
  }

  [Symbol.dispose]() {
    this.#conn.close();
  }

  /** Takes what comes next; false at the end, and when the connection was reset. */
  async #read(): Promise<boolean> {
    if (this.#ended) return false;
    const count = await this.#conn.read(this.#buffer).catch((error) => {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      return null;
    });
    if (count === null) this.#ended = true;
    else this.#text += String.fromCharCode(...this.#buffer.subarray(0, count));
    return !this.#ended;
  }

  #cut(length: number): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return text;
  }
}

/** What a client sends to open a WebSocket. */
export const UPGRADE = {
  "Connection": "Upgrade",
  "Upgrade": "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** A request as it is written, without its body. */
export function requestHead(line: string, headers: Record<string, string> = {}): string {
  const fields = Object.entries({ Host: "127.0.0.1", ...headers });
  return [line, ...fields.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n");
}

/** Sends a request as it is written here, and reads the response. */
export async function sendRaw(
  server: { port: number },
  line: string,
  headers: Record<string, string> = {},
  body = "",
): Promise<Answer> {
  using connection = await RawConnection.open(server);
  await connection.write(requestHead(line, headers) + body);
  return await connection.response();
}
