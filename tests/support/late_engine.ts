/**
 * An engine that answers and relays later, as one across a network does, in the same process.
 *
 * @module
 */
import type { Cursor } from "../../lib/core/cursor.ts";
import type { Engine, Local, Publication } from "../../lib/core/engine.ts";
import type { Message } from "../../lib/core/message.ts";
import { MemoryEngine, type MemoryLimits } from "../../lib/engines/memory.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Does one thing after the other, each in a later turn; what came of it is known later still. */
class Queue {
  #last: Promise<unknown> = Promise.resolve();

  add<T>(action: () => T): Promise<T> {
    const done = this.#last.then(turn).then(action);
    this.#last = done.catch(() => {});
    return done.finally(async () => {
      for (let turns = 0; turns < 5; turns++) await turn();
    });
  }

  async idle(): Promise<void> {
    await this.add(() => {});
  }
}

/** The memory engine behind two slow wires: one for questions, one for the relay. */
export class LateEngine implements Engine {
  readonly #memory: MemoryEngine;
  readonly #questions = new Queue();
  readonly #relay = new Queue();

  constructor(limits: MemoryLimits) {
    this.#memory = new MemoryEngine(limits);
  }

  async start(local: Local) {
    await this.#questions.add(() =>
      this.#memory.start({
        deliver: (message: Message) => void this.#relay.add(() => local.deliver(message)),
        subscribers: (channel) => local.subscribers(channel),
      })
    );
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#questions.idle();
    await this.#relay.idle();
  }

  publish(channel: string, data: string, id?: string, type?: string) {
    return this.#questions.add(() => this.#memory.publish(channel, data, id, type));
  }
  publishAll(publications: readonly Publication[]) {
    return this.#questions.add(() => this.#memory.publishAll(publications));
  }
  since(channel: string, cursor: Cursor | undefined, maxBytes: number) {
    return this.#questions.add(() => this.#memory.since(channel, cursor, maxBytes));
  }
  watch(channel: string) {
    return this.#questions.add(() => this.#memory.watch(channel));
  }
  unwatch(channel: string) {
    return this.#questions.add(() => this.#memory.unwatch(channel));
  }
  info(channel: string) {
    return this.#questions.add(() => this.#memory.info(channel));
  }
  list(prefix: string, limit: number, after?: string) {
    return this.#memory.list(prefix, limit, after);
  }
  reset(channel: string) {
    return this.#questions.add(() => this.#memory.reset(channel));
  }
  ready() {
    return this.#memory.ready();
  }
  usage() {
    return this.#questions.add(() => this.#memory.usage());
  }
  async close() {
    await this.idle();
    await this.#memory.close();
  }
}
