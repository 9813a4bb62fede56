/**
 * A client under test: what it was told, and the proxy through which it talks.
 *
 * @module
 */
import { assert } from "@std/assert";
import {
  type Gap,
  type Message,
  type Opened,
  River,
  type RiverOptions,
  type Status,
  type SubscribeOptions,
  type Subscription,
  type Transport,
} from "../../static/client.js";
import { Proxy } from "./proxies.ts";
import { serveHere } from "./server.ts";
import { until } from "./until.ts";

/** All of them, best first. */
export const TRANSPORTS: readonly Transport[] = ["websocket", "stream", "longpoll"];

/** Tests may change the global one. */
const { setTimeout } = globalThis;

/** A list that grows; what is waited for is looked at each time. */
export class Log<T> {
  readonly items: T[] = [];
  #wake = () => {};

  push(item: T): void {
    this.items.push(item);
    this.#wake();
  }

  /** Resolves once `condition` holds; fails after `ms`: a client that has to connect anew on a busy machine may take 10 s. */
  async until(condition: (items: T[]) => boolean, ms = 30_000): Promise<T[]> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`not within ${ms} ms: ${condition} ${JSON.stringify(this.items)}`)),
        ms,
      );
    });
    try {
      while (!condition(this.items)) {
        await Promise.race([late, new Promise<void>((resolve) => this.#wake = resolve)]);
      }
    } finally {
      clearTimeout(timer);
    }
    return this.items;
  }
}

/** What one subscription was told. */
export class Heard {
  readonly messages = new Log<Message>();
  readonly gaps = new Log<Gap>();
  readonly opens = new Log<Opened>();
  readonly errors = new Log<{ code: string; message: string }>();
  readonly subscription: Subscription;

  constructor(river: River, channel: string, options: SubscribeOptions = {}) {
    this.subscription = river.subscribe(channel, (message) => this.messages.push(message), {
      ...options,
      onGap: (gap) => this.gaps.push(gap),
      onOpen: (opened) => this.opens.push(opened),
      onError: (error) => this.errors.push(error),
    });
  }

  get seqs(): number[] {
    return this.messages.items.map(({ seq }) => seq);
  }

  /** Resolves when the message with this number came. */
  async reaches(seq: number): Promise<number[]> {
    await this.messages.until((messages) => messages.at(-1)?.seq === seq);
    return this.seqs;
  }

  /** Resolves when the channel was joined so often. */
  opened(times = 1): Promise<Opened[]> {
    return this.opens.until((opens) => opens.length >= times);
  }
}

/** A client that ends with the test, and its states. */
export class TestClient implements Disposable {
  readonly river: River;
  readonly statuses = new Log<Status>();

  constructor({ url }: { url: string }, options?: RiverOptions) {
    this.river = new River(url, options);
    this.river.addEventListener("status", (event) => {
      assert(event instanceof CustomEvent);
      this.statuses.push(event.detail);
    });
  }

  hear(channel: string, options?: SubscribeOptions): Heard {
    return new Heard(this.river, channel, options);
  }

  get states(): string[] {
    return this.statuses.items.map(({ state, transport }) =>
      transport === undefined ? state : `${state} ${transport}`
    );
  }

  /** Resolves when it was open so often. */
  async opened(times = 1): Promise<void> {
    await this.statuses.until((all) => all.filter(({ state }) => state === "open").length >= times);
  }

  [Symbol.dispose]() {
    this.river.close();
  }
}

/** The whole numbers of a range, both ends included. */
export function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** A server in this process. */
export type Here = Awaited<ReturnType<typeof serveHere>>;

/** Publishes so many messages before anything else happens. */
export function publishNow(server: Here, channel: string, count = 1): void {
  for (let i = 0; i < count; i++) server.hub.publish({ channel, data: `${i}` });
}

/** A server, a proxy before it and a client that talks through that. */
export async function throughProxy(flags: string[] = [], options?: RiverOptions) {
  const server = await serveHere(...flags);
  const proxy = new Proxy(server);
  const client = new TestClient(proxy, options);
  return {
    server,
    proxy,
    client,
    /** Cuts the connection that the subscribers of `x` have to the server. */
    async cut(at: Here = server): Promise<void> {
      // One long-poll may have ended and the next not begun.
      await until(() => at.hub.subscribers("x") > 0);
      proxy.cut();
    },
    async [Symbol.asyncDispose]() {
      client.river.close();
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
