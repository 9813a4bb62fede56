/**
 * WebSocket frames written and read by hand (RFC 6455, section 5), so that a client can send what no
 * library would.
 *
 * @module
 */
import { RawConnection, requestHead, UPGRADE } from "./raw.ts";

/** The opcodes that mean something. */
export const OP = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const utf8 = new TextEncoder();

/** What a frame is made of. What is left out is as a well-behaved client has it. */
export interface FrameParts {
  readonly op: number;
  readonly payload?: string | Uint8Array;
  /** Whether it ends its message. */
  readonly fin?: boolean;
  /** The reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3. */
  readonly rsv?: number;
  readonly masked?: boolean;
  /** The length that it claims to have. */
  readonly length?: number | bigint;
  /** Bytes that the length is written in: 0 for what fits, else 2 or 8. */
  readonly lengthBytes?: 0 | 2 | 8;
}

/** A frame as it came. */
export interface ReceivedFrame {
  readonly fin: boolean;
  readonly op: number;
  readonly payload: Uint8Array;
}

/** The bytes of a frame. */
export function encodeFrame(
  { op, payload = "", fin = true, rsv = 0, masked = true, length, lengthBytes }: FrameParts,
): Uint8Array<ArrayBuffer> {
  const data = typeof payload === "string" ? utf8.encode(payload) : payload;
  const claimed = BigInt(length ?? data.length);
  const size = lengthBytes ?? (claimed < 126n ? 0 : claimed < 65_536n ? 2 : 8);
  const mask = masked ? crypto.getRandomValues(new Uint8Array(4)) : new Uint8Array();
  const start = 2 + size + mask.length;
  const bytes = new Uint8Array(start + data.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = (fin ? 0x80 : 0) | (rsv << 4) | op;
  bytes[1] = (masked ? 0x80 : 0) | (size === 0 ? Number(claimed) : size === 2 ? 126 : 127);
  if (size === 2) view.setUint16(2, Number(claimed));
  if (size === 8) view.setBigUint64(2, claimed);
  bytes.set(mask, 2 + size);
  for (let i = 0; i < data.length; i++) {
    bytes[start + i] = masked ? data[i] ^ mask[i % 4] : data[i];
  }
  return bytes;
}

/** A whole text message. */
export function text(payload: string | Uint8Array): FrameParts {
  return { op: OP.text, payload };
}

/** A close frame; without a code its payload is empty. */
export function close(code?: number, reason: string | Uint8Array = ""): FrameParts {
  if (code === undefined) return { op: OP.close };
  const words = typeof reason === "string" ? utf8.encode(reason) : reason;
  return { op: OP.close, payload: new Uint8Array([code >> 8, code & 255, ...words]) };
}

/** A text cut into fragments, one frame each. */
export function fragments(...pieces: (string | Uint8Array)[]): FrameParts[] {
  return pieces.map((payload, i) => ({
    op: i === 0 ? OP.text : OP.more,
    payload,
    fin: i === pieces.length - 1,
  }));
}

/** A WebSocket client that knows frames, but no rules. */
export class FrameClient implements Disposable {
  /** What is below the frames. */
  readonly connection: RawConnection;

  private constructor(connection: RawConnection) {
    this.connection = connection;
  }

  /** Opens a socket; fails if it is refused. */
  static async open(
    server: { port: number },
    query: string,
    protocol?: string,
  ): Promise<FrameClient> {
    const connection = await RawConnection.open(server);
    const headers = { ...UPGRADE, ...(protocol && { "Sec-WebSocket-Protocol": protocol }) };
    await connection.write(requestHead(`GET /websocket?${query} HTTP/1.1`, headers));
    const { status, text } = await connection.response();
    if (status !== 101) {
      connection[Symbol.dispose]();
      throw new Error(`refused: ${status} ${text}`);
    }
    return new FrameClient(connection);
  }

  /** Sends frames, all in one write. */
  async send(...frames: FrameParts[]): Promise<void> {
    const parts = frames.map(encodeFrame);
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    await this.connection.write(bytes);
  }

  /** The next frame; undefined when the server has ended the connection. */
  async frame(): Promise<ReceivedFrame | undefined> {
    const head = await this.#bytes(2);
    if (head.length < 2) return undefined;
    let length = head[1] & 127;
    if (head[1] & 128) throw new Error("a server must not mask");
    if (head[0] & 0x70) throw new Error("a reserved bit is set");
    if (length >= 126) {
      length = (await this.#bytes(length === 126 ? 2 : 8))
        .reduce((sum, byte) => sum * 256 + byte, 0);
    }
    const payload = await this.#bytes(length);
    if (payload.length < length) throw new Error("ended within a frame");
    return { fin: (head[0] & 0x80) !== 0, op: head[0] & 15, payload };
  }

  async #bytes(count: number): Promise<Uint8Array> {
    return Uint8Array.from(await this.connection.take(count), (char) => char.charCodeAt(0));
  }

  [Symbol.dispose]() {
    this.connection[Symbol.dispose]();
  }
}
