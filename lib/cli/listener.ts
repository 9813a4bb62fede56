/**
 * Listens, and listens again if the runtime gives up. Without a free file descriptor, the runtime
 * stops accepting connections for good, although open connections stay alive.
 *
 * @module
 */

/** How long to wait before listening again, in milliseconds. */
const LISTEN_AGAIN_MS = 250;
/** A failure within this time after the last one counts as the same failure, in milliseconds. */
const SAME_FAILURE_MS = 10_000;

/** Answers the requests of a listener. */
export interface Answers {
  /** Answers every request. */
  handle(request: Request, info: Deno.ServeHandlerInfo<Deno.NetAddr>): Response | Promise<Response>;
  /** Takes an error that occurred while a response was being sent. */
  fail(error: unknown): Response;
}

/** Accepts connections until it is shut down. */
export class Listener {
  /** The address that it listens on. */
  readonly address: Deno.NetAddr;
  readonly #app: Answers;
  readonly #onFailure: (error: unknown) => void;
  #server!: Deno.HttpServer;
  #failedAt = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  /**
   * Starts listening.
   *
   * @param onFailure Called when connections cannot be accepted, once for many failures in a row.
   * @throws If it cannot listen on the address.
   */
  constructor(
    { hostname, port }: { hostname: string; port: number },
    app: Answers,
    onFailure: (error: unknown) => void,
  ) {
    this.#app = app;
    this.#onFailure = onFailure;
    this.address = this.#listen(hostname, port);
  }

  /**
   * Stops accepting connections. Resolves when the connections that were accepted since the last
   * failure have ended.
   */
  async shutdown(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#timer);
    await this.#server.shutdown();
  }

  #listen(hostname: string, port: number): Deno.NetAddr {
    const { handle, fail } = this.#app;
    const server = Deno.serve({ hostname, port, onListen() {}, onError: fail }, handle);
    this.#server = server;
    server.finished.catch((error) => this.#failed(error));
    return server.addr;
  }

  #failed(error: unknown): void {
    if (this.#ended) return;
    const now = performance.now();
    if (now - this.#failedAt > SAME_FAILURE_MS) this.#onFailure(error);
    this.#failedAt = now;
    this.#timer = setTimeout(() => {
      try {
        this.#listen(this.address.hostname, this.address.port);
      } catch (error) {
        this.#failed(error);
      }
    }, LISTEN_AGAIN_MS);
  }
}
