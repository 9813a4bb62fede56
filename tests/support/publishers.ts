/**
 * Publishers that go on while their server is killed and started again, and the account of what they and
 * others were told.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ask, LineReader } from "./http.ts";

/** How many there are. */
const PUBLISHERS = 20;
/** Messages of a batch. Its data is long enough that the file is written soon. */
const BATCH = 10;
const BATCH_PADDING = "x".repeat(1000);

interface Position {
  readonly epoch: string;
  readonly seq: number;
}

/** What was said of each number, by anybody. */
export class Ledger {
  readonly #data = new Map<string, string>();
  /** The numbers that were acknowledged, by channel. */
  readonly #acked = new Map<string, Set<number>>();
  /** A process that is killed loses nothing, so there is one epoch per channel. */
  readonly #epochs = new Set<string>();

  /** Fails if a number was said to have other data before. */
  see(channel: string, { epoch, seq }: Position, data: string): void {
    const key = `${channel} ${seq}`;
    assertEquals(data, this.#data.get(key) ?? data, key);
    this.#data.set(key, data);
    this.#epochs.add(`${channel} ${epoch}`);
  }

  /** A receipt came. */
  ack(channel: string, position: Position, data: string): void {
    this.see(channel, position, data);
    const numbers = this.#acked.get(channel) ?? new Set();
    this.#acked.set(channel, numbers.add(position.seq));
  }

  /** How many messages were acknowledged. */
  get count(): number {
    return [...this.#acked.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** How often a channel went on in another epoch. */
  get forks(): number {
    return this.#epochs.size - new Set([...this.#epochs].map((each) => each.split(" ")[0])).size;
  }

  /**
   * Checks the whole history: all that was acknowledged is there, there is no hole, and of every request
   * all messages or none.
   */
  async check({ url }: { url: string }): Promise<void> {
    const parts = new Map<string, number>();
    for (const channel of CHANNELS) {
      const info = await ask(`${url}/channels/${channel}`);
      if (info.status === 404) {
        assertEquals(this.#acked.get(channel), undefined, channel);
        continue;
      }
      const { seq: head, epoch } = JSON.parse(info.text);
      if (head === 0) continue;
      const { text } = await ask(`${url}/subscribe?name=${channel}&seq=0&limit=${head}`);
      const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
      assertEquals(lines.map(([kind, { seq }]) => `${kind} ${seq}`), numbered(head), channel);
      for (const [, { seq, data }] of lines) {
        this.see(channel, { epoch, seq }, data);
        const [request] = data.split(" ");
        parts.set(request, (parts.get(request) ?? 0) + 1);
      }
      const beyond = [...this.#acked.get(channel) ?? []].filter((seq) => seq > head);
      assertEquals(beyond, [], `${channel} ends at ${head}`);
    }
    for (const [request, count] of parts) {
      assertEquals(count, Number(request.split("/")[1]), `messages of request ${request}`);
    }
  }
}

function numbered(head: number): string[] {
  return Array.from({ length: head }, (_, i) => `msg ${i + 1}`);
}

/** A request, and its messages in the order of its receipts. */
interface Attempt {
  readonly path: string;
  readonly init?: RequestInit;
  readonly repeats: boolean;
  readonly messages: readonly (readonly [channel: string, data: string])[];
}

type Kind = (own: string, key: string) => Attempt;

/** A request says in its data who it is and how many messages it has. */
const KINDS: Record<string, Kind> = {
  plain(own, key) {
    const data = `${key}/1`;
    return {
      path: `/publish?name=${own}&data=${data}`,
      repeats: false,
      messages: [[own, data]],
    };
  },
  // Repeated until it is answered, and yet published once.
  withId(own, key) {
    const data = `${key}/1`;
    const body = new URLSearchParams({ name: own, data, id: key });
    return {
      path: "/publish",
      init: { method: "POST", body },
      repeats: true,
      messages: [[own, data]],
    };
  },
  toSeveral(own, key) {
    const names = [own, "shared.0", "shared.1"];
    const data = `${key}/${names.length}`;
    const body = new URLSearchParams([...names.map((name) => ["name", name]), ["data", data]]);
    return {
      path: "/publish",
      init: { method: "POST", body },
      repeats: false,
      messages: names.map((name) => [name, data]),
    };
  },
  batch(own, key) {
    const messages = Array.from({ length: BATCH }, (_, i) =>
      [
        i % 2 === 0 ? own : "shared.0",
        `${key}/${BATCH} ${i} ${BATCH_PADDING}`,
      ] as const);
    return {
      path: "/publish",
      init: {
        method: "POST",
        headers: { "content-type": "application/x-ndjson" },
        body: messages.map(([name, data]) => JSON.stringify({ name, data })).join("\n"),
      },
      repeats: false,
      messages,
    };
  },
};

/** All channels that are published to. */
export const CHANNELS = [
  ...Array.from({ length: PUBLISHERS }, (_, i) => `own.${i}`),
  "shared.0",
  "shared.1",
];

/** Publishes one request after the other, whether a server is there or not. */
class Publisher {
  readonly #ledger: Ledger;
  readonly #index: number;
  readonly #kind: Kind;
  #count = 0;
  #attempt: Attempt | undefined;

  constructor(ledger: Ledger, index: number) {
    this.#ledger = ledger;
    this.#index = index;
    const kinds = Object.values(KINDS);
    this.#kind = kinds[index % kinds.length];
  }

  async run(url: string, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const attempt = this.#attempt ??= this.#kind(
        `own.${this.#index}`,
        `${this.#index}.${this.#count++}`,
      );
      // It fails when nobody is there, or not any more.
      const answer = await ask(`${url}${attempt.path}`, attempt.init).catch(() => undefined);
      if (answer?.status === 200) {
        const receipts = [JSON.parse(answer.text)].flat();
        for (const [i, [channel, data]] of attempt.messages.entries()) {
          this.#ledger.ack(channel, receipts[i], data);
        }
      } else {
        assertEquals(answer?.status ?? 503, 503, answer?.text);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      if (answer?.status === 200 || !attempt.repeats) this.#attempt = undefined;
    }
  }
}

/** All publishers. Their `run` resolves when they have stopped. */
export function publishersOf(ledger: Ledger) {
  const publishers = Array.from({ length: PUBLISHERS }, (_, i) => new Publisher(ledger, i));
  return {
    run: (url: string, isOver: () => boolean) =>
      Promise.all(publishers.map((publisher) => publisher.run(url, isOver))),
  };
}

/** Subscribes to all channels, comes back to each server, and hears everything once and in order. */
export class Follower {
  readonly #ledger: Ledger;
  /** Where it is, by channel. */
  readonly #positions = new Map<string, Position>();
  /** How many messages it heard. */
  count = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Follows a server until it is gone. */
  async follow(url: string): Promise<void> {
    const query = new URLSearchParams(CHANNELS.map((name) => ["name", name]));
    query.set("format", "river.v1");
    if (this.#positions.size > 0) {
      const cursors = CHANNELS.map((name) => this.#positions.get(name)!);
      query.set("seq", cursors.map(({ epoch, seq }) => `${epoch}-${seq}`).join(","));
    }
    // It fails only when the server is gone.
    const response = await fetch(`${url}/subscribe?${query}`).catch(() => undefined);
    if (response === undefined) return;
    assertEquals(response.status, 200);
    const lines = new LineReader(response);
    for (;;) {
      const line = await lines.next().catch(() => undefined);
      if (line === undefined) return;
      if (line !== "") this.#take(line);
    }
  }

  #take(line: string): void {
    const [kind, fields] = JSON.parse(line);
    const before = this.#positions.get(fields.channel);
    if (kind === "open") {
      const [epoch, text] = fields.cursor.split("-");
      const seq = Number(text);
      assertEquals(seq, before?.seq ?? seq, line);
      this.#positions.set(fields.channel, { epoch, seq });
      return;
    }
    assertEquals(kind, "msg", line);
    assert(before !== undefined, line);
    const position = { epoch: before.epoch, seq: fields.seq };
    assertEquals(position.seq, before.seq + 1, line);
    this.#positions.set(fields.channel, position);
    this.#ledger.see(fields.channel, position, fields.data);
    this.count++;
  }
}
