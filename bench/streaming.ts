/**
 * Deliveries per second. The readers are spread over channels. The publishers go as fast as the
 * slowest reader of their channel.
 *
 * @module
 */
import { openAll, Requester, subscribe } from "./lib/connection.ts";
import type { Transport } from "./lib/dialect.ts";
import { Checker } from "./lib/scanner.ts";
import { type Kind, NAMES, type Server } from "./lib/servers.ts";
import { Napper, Trial } from "./lib/trial.ts";
import { Window } from "./lib/window.ts";
import { dataOf, requestTemplate, type Template } from "./lib/wire.ts";
import type { Contestant, Options, Sample, Workload } from "./lib/workload.ts";

const utf8 = new TextEncoder();

/** `deno task bench streaming` */
export const streaming: Workload = {
  name: "streaming",
  about:
    "deliveries per second over HTTP streaming, SSE and WebSocket, readers x channels x publishers",
  options: { readers: 800, channels: 2, publishers: 20, window: 64, seconds: 1.5 },
  cases(options) {
    const units = { deliveries: "deliveries/s" };
    const over = (transport: Transport) => (kind: Kind, name = NAMES[kind]): Contestant => ({
      name,
      spec: { kind },
      run: (server) => run(server, transport, options),
    });
    const [stream, sse] = [over("stream"), over("sse")];
    const [plain, lines] = [over("websocket"), over("river.v1")];
    return [
      {
        name: "HTTP stream",
        units,
        contestants: [stream("river"), stream("nchan"), stream("bare")],
      },
      { name: "SSE", units, contestants: [sse("river"), sse("nchan"), sse("bare")] },
      {
        name: "WebSocket",
        units,
        contestants: [
          lines("river", "river, river.v1"),
          plain("river", "river, plain"),
          plain("nchan"),
          plain("ws"),
          lines("bare", "bare Deno, many lines per frame"),
          plain("bare", "bare Deno, plain"),
        ],
      },
    ];
  },
};

/** A publisher: its connection, and its request, which holds a number. */
interface Publisher {
  readonly requester: Requester;
  readonly template: Template;
  number: number;
}

function run(server: Server, transport: Transport, options: Options): Promise<Sample> {
  return Trial.run(async (trial) => {
    const channels = Array.from(
      { length: options.channels },
      (_, index) => new Channel(trial, `bench${index}`, server, transport, options),
    );
    const share = (all: number, index: number) =>
      Math.floor(all / options.channels) + (index < all % options.channels ? 1 : 0);
    for (const [index, channel] of channels.entries()) {
      await channel.open(share(options.readers, index), share(options.publishers, index));
    }
    for (const channel of channels) channel.publish();
    const sample = await trial.rate(server, {
      metric: "deliveries",
      seconds: options.seconds,
      count: () => channels.reduce((sum, { delivered }) => sum + delivered, 0),
    });
    for (const channel of channels) await trial.watch(channel.finish());
    return sample;
  });
}

/** A channel with its readers and publishers. */
class Channel {
  readonly #checker: Checker;
  readonly #napper: Napper;
  #window!: Window;
  /** Publishers that have the answer to their last message. */
  #idle: Publisher[] = [];
  #stopped = false;

  constructor(
    readonly trial: Trial,
    readonly name: string,
    readonly server: Server,
    readonly transport: Transport,
    readonly options: Options,
  ) {
    this.#checker = new Checker(server.constant);
    this.#napper = new Napper(options.readers);
  }

  get delivered(): number {
    return this.#window.delivered;
  }

  async open(readers: number, publishers: number): Promise<void> {
    const { trial, name, server: { port, dialect }, transport, options } = this;
    const window = this.#window = new Window(options.window, readers);
    const request = utf8.encode(dialect.subscribe(name, transport));
    trial.keep(
      await openAll(readers, (index) =>
        subscribe({
          port,
          dialect,
          transport,
          request,
          fail: trial.fail,
          checker: index === 0 ? this.#checker : undefined,
          onMessages: (messages, bytes) => {
            this.#napper.read(bytes);
            if (window.receive(index, messages)) this.publish();
          },
        })),
    );
    this.#idle = await openAll(publishers, async (index) => {
      const publisher: Publisher = {
        requester: await Requester.open(port, () => {
          this.#idle.push(publisher);
          this.publish();
        }, trial.fail),
        template: requestTemplate(dialect.publish(name, dataOf(index))),
        number: 0,
      };
      return publisher;
    });
    trial.keep(this.#idle.map(({ requester }) => requester));
  }

  /** Lets idle publishers publish while the window has room. */
  publish(): void {
    while (!this.#stopped && this.#window.room > 0) {
      const publisher = this.#idle.shift();
      if (publisher === undefined) return;
      publisher.template.set(0, publisher.number++);
      this.#window.published++;
      publisher.requester.send(publisher.template.bytes);
    }
  }

  /** Resolves when every message has arrived and the checks are passed. */
  async finish(): Promise<void> {
    this.#stopped = true;
    await this.#window.drained();
    if (this.#checker.checked !== this.#window.published) {
      throw new Error(`Checked ${this.#checker.checked} of ${this.#window.published} messages`);
    }
  }
}
