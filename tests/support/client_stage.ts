/**
 * What happens to a client in the world: it is cut, others publish while it is away, and the server is
 * replaced.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { CuttingProxy } from "./proxies.ts";
import type { Here } from "./river_client.ts";
import { serveHere } from "./server.ts";
import { until } from "./until.ts";

/** The longest wait for a client to come back, in milliseconds. */
export const BACK_MS = 30_000;

/** A river behind a proxy that cuts one client, a subscriber of `x`. */
export class ClientStage implements AsyncDisposable {
  /** The server that the client comes to. */
  server: Here;
  readonly proxy: CuttingProxy;
  readonly #flags: string[];

  private constructor(server: Here, flags: string[]) {
    this.server = server;
    this.proxy = new CuttingProxy(server);
    this.#flags = flags;
  }

  /** Starts a server with these flags. */
  static async start(...flags: string[]): Promise<ClientStage> {
    return new ClientStage(await serveHere(...flags), flags);
  }

  /** Waits until the client is a subscriber. */
  async here(): Promise<void> {
    await until(() => this.server.hub.subscribers("x") === 1, BACK_MS);
  }

  /** Waits until the client is not a subscriber any more. */
  async gone(): Promise<void> {
    await until(() => this.server.hub.subscribers("x") === 0, BACK_MS);
  }

  /** Cuts the client. What `act` does happens before it comes back. */
  async cut(act: () => unknown): Promise<void> {
    await this.here();
    this.proxy.refusing = true;
    this.proxy.cut();
    await this.gone();
    await act();
    this.proxy.refusing = false;
  }

  /**
   * Shuts the server down. When the client has found nobody there, another server starts, and the
   * client can come to it when `act` is done.
   */
  async replace(act: (next: Here) => unknown): Promise<void> {
    await this.here();
    const { server, proxy } = this;
    const { refused } = proxy;
    proxy.refusing = true;
    await server.drain();
    await until(() => proxy.refused > refused, BACK_MS);
    this.server = await serveHere(...this.#flags);
    await server[Symbol.asyncDispose]();
    assertEquals(server.errors, []);
    await act(this.server);
    proxy.repoint(this.server);
    proxy.refusing = false;
  }

  async [Symbol.asyncDispose]() {
    await this.proxy[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}
