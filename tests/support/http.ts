/**
 * Requests as clients of HTTP make them, and readers of their answers.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RiverServer } from "../../lib/river.ts";
import type { TestServer } from "./server.ts";

/** Publishes and gives the receipt; fails if it is refused. */
export async function publish(
  server: { url: string },
  name: string,
  data: string,
): Promise<{ channel: string; seq: number; epoch: string; subscribers: number }> {
  const body = new URLSearchParams({ name, data });
  const response = await fetch(`${server.url}/publish`, { method: "POST", body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`refused: ${response.status} ${text}`);
  return JSON.parse(text);
}

/** Reads a response's body line by line. */
export class LineReader implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(response: Response) {
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next line without its line end; undefined at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#text += value;
    }
  }

  /** The next `count` lines. */
  async take(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) {
      const line = await this.next();
      if (line === undefined) throw new Error(`ended after ${lines.length} of ${count} lines`);
      lines.push(line);
    }
    return lines;
  }

  /** All that is left, once it has ended. */
  async rest(): Promise<string> {
    let text = this.#text;
    this.#text = "";
    for (let chunk = await this.#reader.read(); !chunk.done; chunk = await this.#reader.read()) {
      text += chunk.value;
    }
    return text;
  }

  async [Symbol.asyncDispose]() {
    await this.#reader.cancel();
  }
}

/**
 * Subscribes with these parameters; resolves when the headers are there, and the first line of an event
 * stream, which is left out.
 */
export async function subscribe(
  server: { url: string },
  query: string,
  headers: Record<string, string> = {},
): Promise<LineReader & { response: Response }> {
  const response = await fetch(`${server.url}/subscribe?${query}`, { headers });
  if (response.status !== 200) {
    throw new Error(`refused: ${response.status} ${await response.text()}`);
  }
  const lines = new LineReader(response);
  if (response.headers.get("content-type") === "text/event-stream") {
    assertMatch(await lines.next() ?? "", RETRY);
  }
  return Object.assign(lines, { response });
}

/** The first line of every event stream: when to come back, after 1 to 3 seconds. */
const RETRY = /^retry: (?:[12][0-9]{3}|3000)$/;

/** An event stream without its first line, which is another each time. */
export function afterRetry(text: string): string {
  const end = text.indexOf("\n");
  assertMatch(text.slice(0, end), RETRY);
  return text.slice(end + 1);
}

/** A river line of a message. */
export function msg(channel: string, seq: number, data: string): string {
  return `["msg", {"channel": "${channel}", "seq": ${seq}, "data": ${JSON.stringify(data)}}]`;
}

/** A response that was read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Asks for something and reads the whole answer, a byte order mark included. */
export async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const { status, headers, body } = await fetch(url, init);
  const bytes = await new Response(body).bytes();
  return { status, headers, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) };
}

/** The code of an error response. */
export function errorCode({ text }: { text: string }): string {
  return JSON.parse(text).error.code;
}

/**
 * Publishes to the channel `x`, which has two subscribers, until the server has cut one of them;
 * the other gets everything. Gives the number of the last message that both were to get.
 */
export async function publishUntilCut(
  server: TestServer & RiverServer,
  fast: LineReader,
): Promise<number> {
  const data = "a".repeat(60_000);
  let seq = 0;
  while (server.hub.subscribers("x") === 2) {
    ({ seq } = await publish(server, "x", data));
    assertEquals(await fast.next(), msg("x", seq, data));
    assert(seq < 1000, "it should have been cut by now");
  }
  await publish(server, "x", "after");
  assertEquals(await fast.next(), msg("x", seq + 1, "after"));
  return seq;
}
