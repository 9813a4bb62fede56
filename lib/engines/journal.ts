/**
 * The engine that keeps its history in memory and in a file: what it acknowledged is there after a crash.
 *
 * A publish waits for the transaction that holds it. Nothing is visible before: otherwise a crash could
 * give a position that somebody has seen to another message. All that comes while one transaction is
 * written goes into the next, so transactions grow as the disk slows.
 *
 * @module
 */
import { Histogram } from "../base/histogram.ts";
import type { Cursor } from "../core/cursor.ts";
import type {
  ChannelInfo,
  ChannelPage,
  Engine,
  Local,
  Publication,
  Receipt,
  Replay,
  Unready,
  Usage,
} from "../core/engine.ts";
import { afterEpoch, epochs } from "./epochs.ts";
import { Changes } from "./journal/changes.ts";
import { GroupCommit, type Publishing } from "./journal/group_commit.ts";
import { restore } from "./journal/restore.ts";
import { type Figures, JournalError, type Sync, type Transaction } from "./journal/rows.ts";
import { JournalThread, StorageError } from "./journal/thread.ts";
import { unavailable } from "./journal/unavailable.ts";
import { MemoryEngine, type MemoryLimits } from "./memory.ts";

/** The most messages of one transaction, and the most bytes that they take while they wait. */
const MOST_MESSAGES = 10_000;
const MOST_BYTES = 4 * 2 ** 20;
/** Bytes that a message that waits takes beside its data. */
const WAITING_OVERHEAD = 128;
/** How long to wait before a disk that failed is tried again, in milliseconds. */
const RETRY_MS = 1000;
/** How often old receipts are forgotten and free pages given back, in milliseconds. */
const TIDY_MS = 10_000;
/** Free pages that are given back at once, while at most so many messages come per second. */
const TIDY_PAGES = 1000;
const IDLE_RATE = 100;
/** The oldest messages are forgotten when this share of the file is in use, until this share of them is left. */
const ALMOST_FULL = 0.9;
const KEPT = 0.9;
/** Unless so many more changes wait to be written, as many messages may just have been forgotten. */
const MOST_UNHEARD = 1000;

/** Where the journal is, and what it promises. */
export interface JournalSettings {
  /** The file. */
  readonly path: string;
  /** `full`: a receipt means that the disk has the message. `normal`: that the operating system has it. */
  readonly sync: Sync;
  /** Maximum size of the file, in bytes. */
  readonly maxData: number;
  /** Maximum bytes of messages that wait to be written. */
  readonly maxUnwritten: number;
  /** Names the run of the machine: it changes when the machine restarts. Empty if it is not known. */
  readonly boot: string;
  /** Told when the disk fails, and when it works again. */
  readonly onState?: (error: string | undefined) => void;
}

/** A call that waits for its turn. A reset has a transaction of its own. */
type Waiting = Publishing | { readonly reset: () => Promise<void> };

/** Keeps history in memory and in a file. */
export class JournalEngine implements Engine {
  readonly #memory: MemoryEngine;
  readonly #settings: JournalSettings;
  readonly #limits: MemoryLimits;
  #newEpoch = epochs();
  readonly #thread = new JournalThread();
  readonly #changes = new Changes();
  readonly #commitSeconds = new Histogram();
  #figures: Figures = { rows: 0, ids: 0, bytes: 0, used: 0 };
  /** What memory took when history was read. */
  #restored = { published: 0, publishedBytes: 0 };
  #failures = 0;
  #lastCommit: number | undefined;
  #queue: Waiting[] = [];
  /** Bytes of messages that wait to be written. */
  #unwritten = 0;
  /** The row of the next message. */
  #next = 1;
  /** Carries out what waits, as long as anything does. */
  #running: Promise<void> | undefined;
  #unready: Unready | undefined = { reason: "starting", since: Date.now() };
  #tidying: ReturnType<typeof setTimeout> | undefined;
  #retrying: ReturnType<typeof setTimeout> | undefined;
  #tidied = { published: 0, at: performance.now() };
  #closed = false;

  /** An engine whose file is not opened yet. */
  constructor(limits: MemoryLimits, settings: JournalSettings) {
    this.#limits = limits;
    this.#settings = settings;
    const changes = this.#changes;
    const memory: MemoryEngine = new MemoryEngine(limits, {
      newEpoch: () => this.#newEpoch(),
      onEvict({ channel, epoch, seq, row }) {
        changes.forget(row!);
        if (memory.since(channel, undefined, 0).head === seq) changes.empty(channel, epoch, seq);
      },
      onDrop: (channel) => changes.drop(channel),
    });
    this.#memory = memory;
  }

  /**
   * Opens the file and reads history back.
   *
   * @throws {JournalError} If the file cannot be used.
   */
  async start(local: Local): Promise<void> {
    this.#memory.start(local);
    try {
      await this.#restore();
    } catch (error) {
      this.#memory.close();
      await this.#thread.close();
      if (!(error instanceof StorageError)) throw error;
      throw new JournalError(`Cannot read ${this.#settings.path}: ${error.message}`);
    }
    this.#unready = undefined;
    this.#tidyLater(TIDY_MS);
  }

  publish(channel: string, data: string, id?: string, type?: string): Promise<Receipt> {
    return this.publishAll([{ channel, data, id, type }]).then(([receipt]) => receipt);
  }

  publishAll(publications: readonly Publication[]): Promise<Receipt[]> {
    if (this.#unready !== undefined) return Promise.reject(unavailable(this.#unready.reason));
    let bytes = 0;
    for (const { data } of publications) bytes += WAITING_OVERHEAD + data.length;
    if (this.#unwritten > 0 && this.#unwritten + bytes > this.#settings.maxUnwritten) {
      return Promise.reject(unavailable("storage_slow"));
    }
    this.#unwritten += bytes;
    return new Promise((resolve, reject) => this.#wait({ publications, bytes, resolve, reject }));
  }

  since(channel: string, cursor: Cursor | undefined, maxBytes: number): Replay {
    this.#checkStarted();
    return this.#memory.since(channel, cursor, maxBytes);
  }

  watch(channel: string): void {
    this.#checkStarted();
    this.#memory.watch(channel);
  }

  unwatch(channel: string): void {
    this.#memory.unwatch(channel);
  }

  info(channel: string): ChannelInfo | undefined {
    this.#checkStarted();
    return this.#memory.info(channel);
  }

  list(prefix: string, limit: number, after?: string): Promise<ChannelPage> {
    this.#checkStarted();
    return this.#memory.list(prefix, limit, after);
  }

  reset(channel: string): Promise<ChannelInfo | undefined> {
    if (this.#unready !== undefined) return Promise.reject(unavailable(this.#unready.reason));
    return new Promise((resolve, reject) =>
      this.#wait({ reset: () => this.#reset(channel).then(resolve, reject) })
    );
  }

  usage(): Usage {
    const { rows, bytes } = this.#figures;
    const storage = {
      commitSeconds: this.#commitSeconds,
      rows,
      bytes,
      unwritten: this.#unwritten,
      failures: this.#failures,
      lastCommit: this.#lastCommit,
    };
    const usage = this.#memory.usage();
    return {
      ...usage,
      published: usage.published - this.#restored.published,
      publishedBytes: usage.publishedBytes - this.#restored.publishedBytes,
      storage,
    };
  }

  ready(): Unready | undefined {
    return this.#unready;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#tidying);
    await this.#running;
    if (this.#unready === undefined) await this.#commit(this.#newGroup()).catch(() => {});
    clearTimeout(this.#retrying);
    this.#memory.close();
    await this.#thread.close();
  }

  /** Opens the file and reads back what it holds. */
  async #restore(): Promise<void> {
    const { path, sync, maxData, boot } = this.#settings;
    const opened = await this.#thread.open({
      path,
      sync,
      maxData,
      boot,
      receiptsAfter: Date.now() - this.#limits.idTtl,
    });
    this.#figures = opened;
    this.#newEpoch = epochs(afterEpoch(opened.epoch));
    this.#next = await restore(opened, this.#thread, this.#memory, this.#changes);
    this.#restored = this.#memory.usage();
  }

  #checkStarted(): void {
    if (this.#unready?.reason === "starting") throw unavailable("starting");
  }

  #wait(waiting: Waiting): void {
    this.#queue.push(waiting);
    this.#run();
  }

  #run(): void {
    this.#running ??= this.#carryOut().finally(() => {
      this.#running = undefined;
      // It may have come after the last look.
      if (this.#queue.length > 0) this.#run();
    });
  }

  /** Carries out what waits, one transaction after the other. */
  async #carryOut(): Promise<void> {
    do {
      // All that one turn brings goes into one transaction.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const [first] = this.#queue;
      if (first !== undefined && "reset" in first) {
        this.#queue.shift();
        await first.reset();
      } else await this.#commit(this.#takeGroup()).catch(() => {});
    } while (this.#queue.length > 0);
  }

  #newGroup(): GroupCommit {
    return new GroupCommit(this.#memory, this.#changes, this.#next);
  }

  /** The publications of the next transaction. */
  #takeGroup(): GroupCommit {
    const group = this.#newGroup();
    let [count, bytes] = [0, 0];
    const mostBytes = Math.min(MOST_BYTES, this.#settings.maxData * (1 - ALMOST_FULL) / 2);
    for (const waiting of this.#queue) {
      if ("reset" in waiting) break;
      bytes += waiting.bytes;
      if (count > 0 && (group.messages.length > MOST_MESSAGES || bytes > mostBytes)) break;
      count++;
      this.#unwritten -= waiting.bytes;
      group.add(waiting);
    }
    this.#queue.splice(0, count);
    return group;
  }

  /** Writes one transaction, and makes it visible. If it fails, nothing of it is. */
  async #commit(group: GroupCommit): Promise<void> {
    const changes = this.#changes.take();
    const { first, messages, receipts } = group;
    try {
      await this.#write({
        ...changes,
        first,
        messages,
        receipts,
        time: Date.now(),
        channels: [...changes.channels, ...group.channels],
        epoch: this.#memory.epoch,
      });
      this.#next = group.next;
      group.show();
    } catch (error) {
      this.#changes.putBack(changes);
      this.#fail(error);
      group.refuse(unavailable(this.#unready!.reason));
      throw error;
    } finally {
      this.#memory.release();
    }
    this.#shed();
  }

  async #reset(channel: string): Promise<ChannelInfo | undefined> {
    if (this.#memory.info(channel) === undefined) return undefined;
    const epoch = this.#newEpoch();
    const id = this.#changes.idOf(channel);
    try {
      await this.#write({
        first: this.#next,
        time: Date.now(),
        messages: [],
        receipts: [],
        channels: [],
        deleted: [],
        dropped: id === undefined ? [] : [id],
        epoch,
      });
    } catch (error) {
      this.#fail(error);
      throw unavailable(this.#unready!.reason);
    }
    this.#changes.drop(channel);
    return this.#memory.reset(channel, epoch);
  }

  async #write(transaction: Transaction): Promise<void> {
    const started = performance.now();
    this.#figures = await this.#thread.commit(transaction);
    this.#commitSeconds.add((performance.now() - started) / 1000);
    this.#lastCommit = Date.now();
  }

  /** Forgets the oldest messages and receipts before the file is full. */
  #shed(): void {
    const { used, ids } = this.#figures;
    if (used < this.#settings.maxData * ALMOST_FULL) return;
    // What was forgotten before, and the file has not heard of yet, may be enough.
    if (this.#changes.size > MOST_UNHEARD) return;
    this.#memory.shed(this.#memory.usage().held * KEPT);
    const { idTtl } = this.#limits;
    this.#thread.tidy(Date.now() - idTtl, Math.floor(ids * KEPT), 0).catch(() => {});
    this.#run();
  }

  #fail(error: unknown): void {
    const { message } = error as Error;
    this.#failures++;
    if (this.#unready === undefined) this.#settings.onState?.(message);
    const reason = error instanceof StorageError && error.full ? "storage_full" : "storage_failed";
    this.#unready = { reason, since: this.#unready?.since ?? Date.now() };
    clearTimeout(this.#retrying);
    if (!this.#closed) this.#retrying = setTimeout(() => void this.#retry(), RETRY_MS);
  }

  /** Tries whether the disk takes messages again. */
  async #retry(): Promise<void> {
    await this.#running;
    this.#shed();
    const isWritten = await this.#commit(this.#newGroup()).then(() => true, () => false);
    if (!isWritten) return;
    try {
      await this.#thread.probe();
      this.#unready = undefined;
      this.#settings.onState?.(undefined);
    } catch (error) {
      this.#fail(error);
    }
  }

  #tidyLater(ms: number): void {
    if (!this.#closed) this.#tidying = setTimeout(() => void this.#tidy(), ms);
  }

  /** Forgets what is over, and gives room back while little happens. */
  async #tidy(): Promise<void> {
    let more = false;
    if (this.#unready === undefined) {
      const isIdle = this.#isIdle();
      if (this.#changes.size > 0) this.#run();
      await this.#running;
      const { idTtl, maxIds } = this.#limits;
      more = await this.#thread.tidy(Date.now() - idTtl, maxIds, isIdle ? TIDY_PAGES : 0)
        .catch((error) => {
          this.#fail(error);
          return false;
        });
      more ||= isIdle && this.#changes.size > 0;
    }
    this.#tidyLater(more ? 0 : TIDY_MS);
  }

  /** Whether few messages came since it was asked last. */
  #isIdle(): boolean {
    const { published } = this.#memory.usage();
    const last = this.#tidied;
    this.#tidied = { published, at: performance.now() };
    return published - last.published <= IDLE_RATE * (this.#tidied.at - last.at) / 1000;
  }
}
