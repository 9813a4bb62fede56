// @ts-check
/**
 * The client of river for browsers, Deno and Node. It keeps one connection for all channels, over
 * the best transport that works, and resumes without loss.
 *
 * ```js
 * import { River } from "http://127.0.0.1:9271/client.js";
 * const river = new River("http://127.0.0.1:9271/");
 * const subscription = river.subscribe("room", ({ channel, seq, data }) => console.log(data));
 * await river.publish("room", "hello");
 * ```
 *
 * @module
 */

/** @typedef {{ channel: string, seq: number, type?: string, data: string }} Message */
/** @typedef {{ channel: string, from: number, to: number, epoch: string, reason: string }} Gap */
/** @typedef {{ channel: string, cursor: string }} Opened */
/** @typedef {{ channel: string, seq: number, epoch: string, subscribers: number }} Receipt */
/** @typedef {"websocket" | "stream" | "longpoll"} Transport */
/**
 * `offline`: the browser has no network. `closed`: the client has stopped, and `reason` says why.
 * `delay`: milliseconds until the next attempt.
 * @typedef {{ state: "connecting" | "open" | "reconnecting" | "offline" | "closed",
 *   transport?: Transport, delay?: number, reason?: string }} Status
 */
/**
 * @typedef {object} RiverOptions
 * @property {string | (() => string | null | undefined |
 *   Promise<string | null | undefined>)} [token]
 * Sent with every request. A function is called again when the server refuses its last token.
 * @property {readonly Transport[]} [transports] The transports to try, best first.
 * @property {RequestCredentials} [credentials] As for `fetch`. With `include`, a server on another
 * origin gets its cookies over HTTP too.
 */
/**
 * @typedef {object} SubscribeOptions
 * @property {string | number | null} [seq] Start after this position (`"k3f9x2-12"` or `12`).
 * Without it, start with the next message that is published.
 * @property {(gap: Gap) => void} [onGap] Called when messages are lost for good.
 * @property {(opened: Opened) => void} [onOpen] Called each time the channel is joined.
 * @property {(error: Refusal) => void} [onError] Called when the channel is refused.
 */
/** @typedef {{ code: string, message: string }} Refusal */
/**
 * How a connection ended. `wait`: wait at least this many milliseconds. The transport is not at
 * fault. `denied`: the token is not valid. `refused`: no channel is left. `fatal`: no retry
 * can help. `reason` is for the status.
 * @typedef {{ wait?: number, denied?: boolean, refused?: boolean, fatal?: string,
 *   reason?: string }} End
 */
/**
 * `update`: the set of channels has changed. `check`: find out whether the connection is alive.
 * @typedef {{ update(): void, check(): void, close(): void }} Connection
 */

/** The version of river that this client came with. */
export const version = "0.1.0";

/** @type {readonly Transport[]} */
const TRANSPORTS = ["websocket", "stream", "longpoll"];

// Times are in milliseconds unless they say otherwise.

/** Time for a connection to show that it works. After it, the next transport is tried. */
const OPEN_MS = 4000;
/** Time for an open socket to answer a check. */
const PROBE_MS = 1500;
/** Silence after which a connection is assumed dead: more than two heartbeats. */
const SILENCE_MS = 60_000;
/** How long a long-poll asks the server to wait, in seconds. */
const POLL_S = 25;
/** A long-poll that ends sooner without a message is not repeated at once. */
const FAST_MS = 500;
/** A connection that lasted this long counts as a success, even without a message. */
const WORTH_MS = 2000;
/** Backoff: at most this, doubled with each failure in a row, up to the maximum. */
const BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 5000;
/** The longest wait that a server can ask for. */
const MAX_WAIT_MS = 60_000;
/** How often a publish is tried, and the time for each try. */
const PUBLISH_TRIES = 4;
const PUBLISH_MS = 10_000;
/** Time for the token function to answer. */
const TOKEN_MS = 15_000;
/** How often the clock is read. A step longer than both together means that the machine slept. */
const TICK_MS = 1000;
const SLEEP_MS = 5000;
/** Most lines per frame. The server closes a socket after 1,000 refused lines in one frame. */
const MAX_LINES = 100;
/** Most characters per line. A server that sends more is not river. */
const MAX_LINE = 64 * 1024 * 1024;
/** Changes nothing. The server answers it with an error: no channel has this name. */
const PROBE = JSON.stringify(["unsub", { channel: "" }]);

/** Workers have no document. Node and Deno have at most a navigator. @type {any} */
const { document, location, navigator, origin } = globalThis;

/**
 * The client of one server. It dispatches `status` events whose `detail` is a {@link Status}.
 */
export class River extends EventTarget {
  /** @type {URL} */ #url;
  /** @type {RiverOptions["token"]} */ #token;
  /** The last result of the token function. @type {Promise<string | undefined> | undefined} */
  #given;
  /** The last token that the server refused. @type {{ token: string | undefined } | undefined} */
  #refused;
  /** @type {readonly Transport[]} */ #transports;
  /** @type {RequestCredentials | undefined} */ #credentials;
  /** @type {Map<string, Channel>} */ #channels = new Map();
  /** @type {Connection | undefined} */ #connection;
  /** Functions that end the current pauses. @type {Set<() => void>} */
  #wakes = new Set();
  /** Attempts in a row without success. */
  #tries = 0;
  /** How often transports failed while a later one worked. @type {Map<Transport, number>} */
  #failures = new Map();
  #running = false;
  #changing = false;
  #offline = false;
  #warned = false;
  #closed = false;

  /** The current status. @type {Status} */
  status = { state: "connecting" };

  /**
   * @param {string | URL} url The server: `http:`, `https:`, `ws:` or `wss:`. In a page or a worker
   * it may be relative.
   * @param {RiverOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    const { token, transports = TRANSPORTS, credentials } = options;
    this.#url = addressOf(url);
    this.#token = expect(token ?? undefined, "token", ["string", "function", "undefined"]);
    this.#credentials = credentials;
    if (!["omit", "same-origin", "include", undefined].includes(credentials)) {
      throw new TypeError(
        `Bad credentials: expected omit, same-origin or include, got ${credentials}`,
      );
    }
    this.#transports = transports.filter((transport) =>
      transport !== "websocket" || typeof WebSocket === "function"
    );
    if (this.#transports.length === 0 || !transports.every((one) => TRANSPORTS.includes(one))) {
      throw new TypeError(
        `Bad transports: expected any of ${TRANSPORTS} that this runtime has, got ${transports}`,
      );
    }
  }

  /**
   * Subscribes to a channel.
   *
   * @param {string} channel
   * @param {(message: Message) => void} onMessage
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   */
  subscribe(channel, onMessage, options = {}) {
    expect(channel, "channel", ["string"]);
    expect(onMessage, "onMessage", ["function"]);
    if (channel === "") throw new TypeError('Bad channel: expected a name, got ""');
    if (this.#closed) throw new Error("This River is closed");
    let entry = this.#channels.get(channel);
    if (entry === undefined) this.#channels.set(channel, entry = new Channel(channel));
    const listener = new Listener(entry, onMessage, options);
    entry.listeners.add(listener);
    const seq = options.seq ?? undefined;
    const late = entry.opened;
    const open = () => call(() => listener.open(), undefined);
    listener.rewind = () => {
      if (!entry.listeners.has(listener)) return;
      if (!entry.opened) return entry.whenOpen.push(listener);
      if (entry.rewind(String(seq), listener)) this.#changed();
      else if (late) open();
    };
    if (seq === undefined) {
      entry.startNow(listener);
      if (late) queueMicrotask(open);
    } else if (late || entry.listeners.size > 1) {
      listener.waits = true;
      queueMicrotask(listener.rewind);
    } else {
      entry.cursor = String(seq);
      entry.first = listener;
    }
    if (entry.refusal !== undefined) {
      const { refusal } = entry;
      queueMicrotask(() => call(options.onError, refusal));
    }
    this.#changed();
    return {
      channel,
      close: () => {
        if (!entry.listeners.delete(listener) || entry.listeners.size > 0) return;
        if (this.#channels.get(channel) === entry) this.#channels.delete(channel);
        this.#changed();
      },
    };
  }

  /**
   * Publishes a message. A failed try is repeated, but the message is published only once.
   *
   * @param {string} channel
   * @param {string} data
   * @returns {Promise<Receipt>} Rejects if the server refuses, with its message, and if no try is
   * answered in time.
   */
  async publish(channel, data) {
    expect(channel, "channel", ["string"]);
    expect(data, "data", ["string"], ": use JSON.stringify(data)");
    if (this.#closed) throw new Error("This River is closed");
    const id = Array.from({ length: 3 }, () => Math.random().toString(36).slice(2)).join("");
    let renewed = false;
    for (let attempt = 1;; attempt++) {
      let [status, wait] = [0, 0];
      /** @type {string | undefined} */
      let token;
      /** @type {unknown} */
      let error;
      try {
        token = await this.#askToken();
        const body = new URLSearchParams({ name: channel, data, id });
        if (token !== undefined) body.set("token", token);
        const [response, answer] = await inTime(PUBLISH_MS, "The server", async (signal) => {
          const init = { method: "POST", body, credentials: this.#credentials, signal };
          const response = await fetch(new URL("publish", this.#url), init);
          return [response, await jsonOf(response)];
        });
        if (response.ok && isWhole(answer?.seq)) return answer;
        status = response.status;
        wait = retryAfter(response) ?? 0;
        error = new Error(refusalIn(answer)?.message ?? `Bad answer from the server: ${status}`);
      } catch (thrown) {
        error = thrown;
      }
      if ((status === 401 || status === 403) && !renewed) {
        renewed = true;
        this.#given = undefined;
        if (await this.#askToken().catch(() => token) !== token) continue;
      }
      const final = status >= 300 && status < 500 && status !== 429;
      if (status === 0 && attempt === PUBLISH_TRIES) this.#warn();
      if (final || attempt === PUBLISH_TRIES) throw error;
      await this.#pause(Math.max(wait, jittered(BACKOFF_MS * 2 ** attempt)));
      if (this.#closed) throw error;
    }
  }

  /** Ends the connection and all subscriptions. */
  close() {
    this.#end("close() was called");
  }

  /**
   * @param {string} reason
   * @param {boolean} [refused] Whether the server refused. If so, the listeners are told.
   */
  #end(reason, refused = false) {
    if (this.#closed) return;
    this.#closed = true;
    for (const [channel, entry] of this.#channels) {
      if (refused) entry.take("error", { code: "refused", message: reason, channel });
      entry.listeners.clear();
    }
    this.#channels.clear();
    this.#connection?.close();
    this.#wake();
    this.#setStatus({ state: "closed", reason });
  }

  /** @param {Status} status */
  #setStatus(status) {
    if (this.#offline && status.state !== "open" && status.state !== "closed") {
      status = { ...status, state: "offline" };
    }
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }

  /**
   * The set of channels has changed: tells the server, connects or disconnects. It does so once per
   * turn, so that a page that changes channels keeps its connection.
   */
  #changed() {
    if (this.#changing) return;
    this.#changing = true;
    queueMicrotask(() => {
      this.#changing = false;
      if (this.#channels.size === 0) this.#connection?.close();
      else if (this.#running) this.#connection?.update();
      else this.#run();
    });
  }

  /** Whether there is a channel to connect for. */
  get #wanted() {
    return !this.#closed && this.#channels.size > 0;
  }

  async #run() {
    this.#running = true;
    const unwatch = this.#watch();
    let at = this.#first();
    let reason = "there are no subscriptions";
    // Do not give up this transport after one failure: the server may be restarting.
    /** @type {Transport | undefined} */
    let proven;
    while (this.#wanted) {
      const transport = this.#transports[at];
      this.#setStatus({ state: "connecting", transport });
      const began = performance.now();
      let opened = false;
      const before = positions(this.#channels.values());
      const end = await this.#attempt(transport, () => {
        if (!this.#wanted) return;
        if (!opened) {
          opened = true;
          proven = transport;
          this.#refused = undefined;
          this.#failures.delete(transport);
          for (const failed of this.#transports.slice(0, at)) this.#remember(failed);
        }
        if (this.status.state !== "open") this.#setStatus({ state: "open", transport });
      });
      const { wait, denied, refused, fatal, reason: why } = end;
      if (fatal !== undefined) this.#end(fatal, true);
      if (!this.#wanted) break;
      const refusals = [...this.#channels.values()].map(({ refusal }) => refusal);
      if (refused && refusals.every((refusal) => refusal)) {
        reason = /** @type {Refusal} */ (refusals[0]).message;
        break;
      }
      // A browser does not say why a handshake failed. Perhaps a new token is needed.
      if (denied || !opened && transport === "websocket") this.#given = undefined;
      const worth = positions(this.#channels.values()) !== before ||
        opened && performance.now() - began > WORTH_MS;
      this.#tries = worth ? 0 : this.#tries + 1;
      const stays = opened || denied || wait !== undefined ||
        proven === transport && this.#tries < 3;
      if (!stays && at + 1 < this.#transports.length) {
        at++;
        continue;
      }
      if (!stays && proven === undefined) this.#warn();
      at = this.#first();
      const backoff = jittered(Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** this.#tries));
      const delay = Math.max(wait ?? 0, backoff);
      this.#setStatus({ state: "reconnecting", delay, ...why && { reason: why } });
      await this.#pause(delay);
    }
    unwatch();
    this.#running = false;
    if (!this.#closed) this.#setStatus({ state: "closed", reason });
  }

  /**
   * Waits until the time is over, or until it is woken.
   *
   * @param {number} delay
   */
  async #pause(delay) {
    if (this.#closed) return;
    /** @type {() => void} */
    let wake = () => {};
    const woken = await new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wakes.add(wake = () => (clearTimeout(timer), resolve(true)));
    });
    this.#wakes.delete(wake);
    // The same event may have woken many clients.
    if (woken) await this.#pause(Math.random() * BACKOFF_MS);
  }

  #wake() {
    for (const wake of this.#wakes) wake();
  }

  /** The network, the page or the machine is back. The connection may be dead. */
  #check() {
    this.#tries = 0;
    this.#wake();
    this.#connection?.check();
  }

  /**
   * Checks the connection after each event that may have broken it unnoticed.
   *
   * @returns {() => void} Stops watching.
   */
  #watch() {
    this.#offline = navigator?.onLine === false;
    /** @type {Record<string, (event: any) => void>} */
    const listeners = {
      online: () => {
        this.#offline = false;
        this.#check();
      },
      offline: () => {
        this.#offline = true;
        this.#setStatus({ state: "offline" });
        // A server on this machine may still be reachable.
        this.#check();
      },
      visibilitychange: () => document?.hidden || this.#check(),
      pageshow: ({ persisted }) => persisted && this.#check(),
    };
    for (const [type, listener] of Object.entries(listeners)) {
      globalThis.addEventListener?.(type, listener);
    }
    let last = Date.now();
    const timer = setInterval(() => {
      const step = Date.now() - last;
      last += step;
      // Browsers slow down the timers of hidden pages. They are checked when they are shown.
      if (step > TICK_MS + SLEEP_MS && !document?.hidden) this.#check();
    }, TICK_MS);
    return () => {
      clearInterval(timer);
      for (const [type, listener] of Object.entries(listeners)) {
        globalThis.removeEventListener?.(type, listener);
      }
    };
  }

  /**
   * @param {Transport} transport
   * @param {() => void} onLife
   * @returns {Promise<End>}
   */
  async #attempt(transport, onLife) {
    /** @type {string | undefined} */
    let token;
    try {
      token = await this.#askToken();
    } catch (error) {
      return { wait: 0, reason: `no token: ${error}` };
    }
    if (!this.#wanted) return {};
    const inVain = token === undefined ? "a token is needed" : "the token was refused";
    if (this.#refused && this.#refused.token === token) return { fatal: inVain };
    const connect = transport === "websocket" ? overSocket : overHttp;
    /** @type {End} */
    let end = {};
    try {
      end = await new Promise((onEnd) => {
        this.#connection = connect({
          url: this.#url,
          token,
          channels: this.#channels,
          poll: transport === "longpoll",
          credentials: this.#credentials,
          onLife,
          onEnd,
        });
      });
    } catch {
      // This transport cannot use the URL here.
    }
    this.#connection = undefined;
    for (const channel of this.#channels.values()) channel.opened = channel.asked = false;
    if (!end.denied) return end;
    this.#refused = { token };
    return typeof this.#token === "function" ? end : { fatal: inVain };
  }

  /** The token: the last result of the function, or a new one if that was discarded. */
  async #askToken() {
    const ask = this.#token;
    if (typeof ask !== "function") return ask;
    const given = this.#given ??= inTime(TOKEN_MS, "The token function", async () => {
      return (await ask()) ?? undefined;
    });
    try {
      return await given;
    } catch (error) {
      if (this.#given === given) this.#given = undefined;
      throw error;
    }
  }

  /**
   * Warns once in the console if the server refuses the origin of this page. Browsers hide that.
   */
  async #warn() {
    if (this.#warned || origin === undefined || origin === this.#url.origin) return;
    this.#warned = true;
    /** @param {string} path */
    const canRead = (path) =>
      inTime(
        OPEN_MS,
        "The server",
        (signal) => fetch(new URL(path, this.#url), { method: "HEAD", cache: "no-store", signal }),
      )
        .then(({ ok }) => ok, () => false);
    // Pages of every origin may read this file.
    this.#warned = await canRead("client.js") && !await canRead("healthz");
    if (!this.#warned) return;
    console.warn(
      `river: ${this.#url} refuses pages from the origin ${origin}. ` +
        (origin === "null"
          ? "A page opened as a file has no origin: serve it over HTTP, and allow its origin with --origin"
          : `To allow them, start river with --origin ${origin}`),
    );
  }

  // A transport that failed twice while a later one worked is skipped for the session.

  get #key() {
    return `river:${this.#url}`;
  }

  get #broken() {
    try {
      return sessionStorage.getItem(this.#key)?.split(",") ?? [];
    } catch {
      // There is no storage: only this object remembers.
      return [];
    }
  }

  /** @param {Transport} transport */
  #remember(transport) {
    const failures = (this.#failures.get(transport) ?? 0) + 1;
    this.#failures.set(transport, failures);
    if (failures < 2) return;
    try {
      sessionStorage.setItem(this.#key, [...new Set([...this.#broken, transport])].join());
    } catch {
      // There is no storage.
    }
  }

  #first() {
    const broken = this.#broken;
    const works = this.#transports.findIndex((transport) =>
      !broken.includes(transport) && (this.#failures.get(transport) ?? 0) < 2
    );
    return Math.max(0, works);
  }
}

/**
 * @typedef {object} Subscription
 * @property {string} channel
 * @property {() => void} close Ends it. The last subscription of a channel leaves the channel.
 */

/** A listener of a channel. */
class Listener {
  /** It skips messages up to this position. Another listener asked for them. */
  skip = "";
  /** Whether it waits for the channel to go back to its position. */
  waits = false;
  rewind = () => {};

  /**
   * @param {Channel} channel
   * @param {(message: Message) => void} onMessage
   * @param {SubscribeOptions} options
   */
  constructor(channel, onMessage, options) {
    this.channel = channel;
    this.onMessage = onMessage;
    this.options = options;
  }

  open() {
    const { name, cursor = "" } = this.channel;
    this.options.onOpen?.({ channel: name, cursor });
  }

  /**
   * Whether a message at this position is new to this listener.
   *
   * @param {string} epoch
   * @param {number} seq
   */
  misses(epoch, seq) {
    const [known, last] = this.skip.split("-");
    if (this.waits || known === epoch && seq <= Number(last)) return false;
    this.skip = "";
    return true;
  }
}

/** One channel, and its position. */
class Channel {
  /** @type {Set<Listener>} */ listeners = new Set();
  /** The last position, or the requested one. @type {string | undefined} */ cursor;
  epoch = "";
  /** Whether it was requested on this connection. */
  asked = false;
  /** Whether it is joined. */
  opened = false;
  /** Listeners that go back to a position when joined. @type {Listener[]} */ whenOpen = [];
  /** The first listener, if it gave `cursor`. @type {Listener | undefined} */
  first;
  /** Number of the last message that arrived or was lost. */
  last = 0;
  /** How many messages arrived. */
  heard = 0;
  /** Why it could not be joined at the last attempt. @type {Refusal | undefined} */
  refusal;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /**
   * Makes a listener without a position skip the messages that are known to be old.
   *
   * @param {Listener} listener
   */
  startNow(listener) {
    for (const { skip } of this.listeners) listener.skip ||= skip;
    if (this.asked || this.first === undefined) return;
    this.cursor = undefined;
    this.first.waits = true;
    this.whenOpen.push(this.first);
    this.first = undefined;
  }

  /**
   * Goes back to an older position for one listener. The others skip the messages that they have.
   *
   * @param {string} cursor
   * @param {Listener} wanting
   * @returns {boolean} False if it need not go back: the position is still to come.
   */
  rewind(cursor, wanting) {
    wanting.waits = false;
    const [seq, epoch = this.epoch] = cursor.split("-").reverse();
    const at = Number(this.cursor?.split("-")[1]);
    if (epoch === this.epoch && Number(seq) >= at) {
      wanting.skip = `${epoch}-${seq}`;
      return false;
    }
    for (const listener of this.listeners) {
      if (listener !== wanting && !listener.waits) listener.skip ||= this.cursor ?? "";
    }
    this.cursor = cursor;
    this.asked = this.opened = false;
    return true;
  }

  /**
   * Handles a line about this channel. Lines before `open` belong to an earlier subscription.
   *
   * @param {string} kind
   * @param {any} fields The fields of the line, as in docs/protocol.md.
   */
  take(kind, fields) {
    if (kind === "msg" && this.opened && fields.seq > this.last) {
      this.#moveTo(this.epoch, fields.seq);
      this.heard++;
      for (const listener of this.listeners) {
        if (listener.misses(this.epoch, fields.seq)) call(listener.onMessage, fields);
      }
    } else if (kind === "open") {
      const [epoch, seq] = fields.cursor.split("-");
      this.#moveTo(epoch, Number(seq));
      this.first = this.refusal = undefined;
      if (!this.opened) {
        this.opened = true;
        for (const listener of this.listeners) call(() => listener.open(), undefined);
      }
      for (const listener of this.whenOpen.splice(0)) listener.rewind();
    } else if (kind === "gap" && this.opened) {
      this.#moveTo(fields.epoch, fields.to);
      for (const listener of this.listeners) {
        if (listener.misses(fields.epoch, fields.to)) call(listener.options.onGap, fields);
      }
    } else if (kind === "error") {
      const told = this.refusal?.message === fields.message;
      this.refusal = fields;
      for (const { options } of told ? [] : this.listeners) call(options.onError, fields);
    }
  }

  /**
   * @param {string} epoch
   * @param {number} seq
   */
  #moveTo(epoch, seq) {
    this.epoch = epoch;
    this.last = seq;
    this.cursor = `${epoch}-${seq}`;
  }
}

/**
 * Calls a listener. If it throws, the error is reported and the others are still called.
 *
 * @template T
 * @param {((value: T) => void) | undefined} listener
 * @param {T} value
 */
function call(listener, value) {
  try {
    listener?.(value);
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}

/**
 * The task of a connection. `onLife`: the server has sent something, so the connection works.
 * @typedef {object} Task
 * @property {URL} url
 * @property {string | undefined} token
 * @property {Map<string, Channel>} channels
 * @property {boolean} poll
 * @property {RequestCredentials | undefined} credentials
 * @property {() => void} onLife
 * @property {(end: End) => void} onEnd
 */

/**
 * A timer that calls back unless it is called again within the given time. 0 stops it.
 *
 * @param {() => void} onSilence
 * @returns {(ms: number) => void}
 */
function watch(onSilence) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  return (ms) => {
    clearTimeout(timer);
    if (ms > 0) timer = setTimeout(onSilence, ms);
  };
}

/**
 * The positions of the channels, in order.
 *
 * @param {Iterable<Channel>} channels
 */
function positions(channels) {
  return Array.from(channels, ({ cursor = "" }) => cursor).join();
}

/** @type {(value: unknown) => value is number} */
const isWhole = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
/** @param {unknown} value */
const isPosition = (value) => typeof value === "string" && /^[0-9a-z]+-[0-9]{1,16}$/.test(value);

/**
 * Checks the fields of each kind of line. Other kinds are skipped, whatever their name.
 *
 * @type {Record<string, ((fields: any) => boolean) | null>}
 */
const LINES = {
  __proto__: null,
  open: ({ cursor }) => isPosition(cursor),
  msg: ({ seq, data, type = "" }) =>
    isWhole(seq) && typeof data === "string" && typeof type === "string",
  // `from` may be one more than the largest safe integer.
  gap: ({ from, to, epoch }) =>
    Number.isInteger(from) && from > 0 && isWhole(to) && isPosition(`${epoch}-${to}`),
  error: ({ message }) => typeof message === "string",
};

/**
 * Hands lines to their channels. Throws if one is not a river line.
 *
 * @param {string} text
 * @param {Pick<Task, "channels" | "onLife">} task
 */
function takeLines(text, { channels, onLife }) {
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [kind, fields] = JSON.parse(line);
    if (LINES[kind]?.(fields) === false) throw new TypeError("This is not a river line");
    onLife();
    channels.get(fields.channel)?.take(kind, fields);
  }
}

/**
 * @param {Task} task
 * @returns {Connection}
 */
function overSocket(task) {
  const { url, token, channels, onEnd } = task;
  const address = new URL("websocket", url);
  address.protocol = address.protocol.replace("http", "ws");
  if (token !== undefined) address.searchParams.set("token", token);
  const socket = new WebSocket(address, "river.v1");
  let checking = false;
  let answered = false;
  /** @type {Map<string, Channel>} */
  const joined = new Map();
  const expectLife = watch(() => end({}));
  expectLife(OPEN_MS);

  /** @param {End} how */
  function end(how) {
    expectLife(0);
    socket.onmessage = socket.onopen = socket.onclose = null;
    // Keep a handler: without one, sockets of the package ws throw.
    socket.onerror = () => {};
    socket.close();
    onEnd(how);
  }

  function update() {
    if (socket.readyState !== WebSocket.OPEN) return;
    const lines = [];
    for (const [name, channel] of joined) {
      if (channels.get(name) === channel && channel.asked) continue;
      if (!channel.refusal) lines.push(JSON.stringify(["unsub", { channel: name }]));
      joined.delete(name);
    }
    for (const [name, channel] of channels) {
      if (channel.asked) continue;
      channel.asked = true;
      joined.set(name, channel);
      lines.push(JSON.stringify(["sub", { channel: name, seq: channel.cursor }]));
      // The server must answer.
      expectLife(OPEN_MS);
    }
    while (lines.length > 0) socket.send(lines.splice(0, MAX_LINES).join("\n"));
  }

  function check() {
    if (socket.readyState !== WebSocket.OPEN) return end({ wait: 0 });
    if (checking) return;
    checking = true;
    socket.send(PROBE);
    expectLife(PROBE_MS);
  }

  socket.onopen = update;
  socket.onmessage = ({ data }) => {
    checking = false;
    // An empty frame shows that the other side is alive, but not that it is river.
    answered ||= data !== "";
    if (answered) expectLife(SILENCE_MS);
    try {
      takeLines(data, task);
    } catch {
      end({});
    }
  };
  // Some runtimes dispatch no `close` after it.
  socket.onerror = () => end({});
  socket.onclose = ({ code, reason }) => {
    const wait = /retry in ([0-9]+) ms/.exec(reason)?.[1];
    if (code === 1008) end({ fatal: reason || "not allowed" });
    else end({ wait: wait ? bounded(Number(wait)) : undefined, denied: code === 3500 });
  };
  return { update, check, close: () => end({}) };
}

/**
 * Streaming, or one long-poll after another.
 *
 * @param {Task} task
 * @returns {Connection}
 */
function overHttp(task) {
  const { url, token, channels, poll, credentials, onEnd } = task;
  /** Whether the server has sent something since the last check. */
  let trusted = false;
  let over = false;
  let stale = false;
  let abort = new AbortController();
  /** Channels that this connection skips. @type {Set<Channel>} */
  const refused = new Set();
  const expectLife = watch(() => abort.abort());

  /** @param {End} how */
  function end(how) {
    over = true;
    expectLife(0);
    abort.abort();
    onEnd(how);
  }

  /**
   * @param {Channel[]} asked
   * @returns {Promise<Response>}
   */
  function ask(asked) {
    expectLife(poll && trusted ? SILENCE_MS : OPEN_MS);
    const body = new URLSearchParams({ format: "river.v1" });
    for (const channel of asked) body.append("name", channel.name);
    if (asked.some(({ cursor }) => cursor)) body.set("seq", positions(asked));
    if (token !== undefined) body.set("token", token);
    if (poll) {
      body.set("keep", "0");
      // The first answer shows whether this transport works at all.
      body.set("timeout", String(trusted ? POLL_S : 1));
    }
    const { signal } = abort;
    return fetch(new URL("subscribe", url), { method: "POST", body, credentials, signal });
  }

  /**
   * Finds the refused channels by halving, and tells their listeners.
   *
   * @param {Channel[]} good
   * @param {Channel[]} doubtful They are refused when requested together with the good ones.
   * @param {Response} response The refusal.
   */
  async function settle(good, doubtful, response) {
    const { status } = response;
    const error = refusalIn(await jsonOf(response));
    if (status === 401) return end({ denied: true });
    if (status >= 500 || status === 429 || status === 408) {
      return end({ wait: retryAfter(response) });
    }
    // The answer is not from river: something in between refused.
    if (error === undefined) return end({});
    if (status !== 400 && status !== 403) return end({ fatal: error.message });
    if (doubtful.length === 1) {
      const [channel] = doubtful;
      refused.add(channel);
      return void channel.take("error", { ...error, channel: channel.name });
    }
    const half = doubtful.length >> 1;
    for (const part of [doubtful.slice(0, half), doubtful.slice(half)]) {
      const response = await ask([...good, ...part]);
      if (over || stale) return;
      if (!response.ok) {
        await settle(good, part, response);
      } else {
        await response.body?.cancel();
        good.push(...part);
      }
    }
  }

  /** @param {Response} response */
  async function read(response) {
    let rest = "";
    const decoder = new TextDecoder();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done || stale || over) return;
      const text = decoder.decode(value, { stream: true });
      const cut = text.lastIndexOf("\n") + 1;
      // A long line may take a while, but the first one must arrive in time.
      if (trusted || cut > 0) expectLife(SILENCE_MS);
      if (cut > 0) takeLines(rest + text.slice(0, cut), { channels, onLife });
      rest = cut > 0 ? text.slice(cut) : rest + text;
      if (rest.length > MAX_LINE) throw new RangeError("This line is too long");
    }
  }

  function onLife() {
    trusted = true;
    task.onLife();
  }

  async function request() {
    stale = false;
    abort = new AbortController();
    const asked = [...channels.values()].filter((channel) => !refused.has(channel));
    if (asked.length === 0) return end({ refused: true });
    for (const channel of asked) channel.asked = true;
    const before = asked.map(({ cursor, epoch, heard }) => ({ cursor, epoch, heard }));
    const began = performance.now();
    const response = await ask(asked);
    if (response.ok) {
      await read(response);
      const progress = asked.some(({ cursor, epoch, heard }, i) => {
        const old = before[i];
        // If two servers take turns, each answer starts over. That is not progress.
        return heard > old.heard && cursor !== old.cursor && ["", epoch].includes(old.epoch);
      });
      const useless = !progress && performance.now() - began < FAST_MS;
      if (!stale && (!poll || useless)) end({});
    } else {
      await settle([], asked, response);
    }
  }

  (async () => {
    while (!over) {
      try {
        await request();
      } catch {
        // The network failed, or the answer is not from river.
        if (!stale) end({});
      }
    }
  })();

  function update() {
    // The next request asks again for the messages that are still on their way.
    if (stale) return;
    stale = true;
    const old = abort;
    queueMicrotask(() => old.abort());
  }

  function check() {
    trusted = false;
    update();
  }

  return { update, check, close: () => end({}) };
}

/**
 * The refusal in an answer from river. Undefined if the answer is something else.
 *
 * @param {any} answer
 * @returns {Refusal | undefined}
 */
function refusalIn(answer) {
  const { code = "refused", message } = Object(Object(answer).error);
  return typeof message === "string" ? { code: String(code), message } : undefined;
}

/**
 * The JSON of an answer. Undefined if it is not JSON. Rejects if it is cut short.
 *
 * @param {Response} response
 * @returns {Promise<any>}
 */
async function jsonOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Milliseconds to wait: what the server asks for, or at random up to twice that.
 *
 * @param {Response} response
 */
function retryAfter(response) {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return Number.isFinite(seconds) ? bounded(seconds * 1000 * (1 + Math.random())) : undefined;
}

/**
 * Limits a wait that the server asks for. Clients that are told to wait too long come back at
 * different times. @type {(ms: number) => number}
 */
const bounded = (ms) => Math.max(0, Math.min(ms, MAX_WAIT_MS * (1 + Math.random()) / 2));

/** @type {(ms: number) => number} */
const jittered = (ms) => ms * (0.25 + 0.75 * Math.random());

/**
 * Does something within a time limit. If it takes longer, aborts it and rejects.
 *
 * @template T
 * @param {number} ms
 * @param {string} who
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function inTime(ms, who, work) {
  const limit = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${who} did not answer within ${ms / 1000} s`));
      limit.abort();
    }, ms);
  });
  try {
    return await Promise.race([work(limit.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The URL of the server, with a slash at the end. Throws if it is not valid.
 *
 * @param {string | URL} url
 */
function addressOf(url) {
  // A worker that was made from a blob has a blob URL, which cannot be a base.
  const base = document?.baseURI ?? location?.href.replace(/^blob:/, "");
  /** @type {URL | undefined} */
  let address;
  try {
    address = new URL(expect(url, "url", ["string", "object"]), base);
  } catch {
    // The error follows below.
  }
  if (
    address === undefined || !/^(http|ws)s?:$/.test(address.protocol) ||
    address.username + address.password
  ) {
    const example = "an address such as http://127.0.0.1:9271/";
    throw new TypeError(`Bad url: expected ${example}, without a user or password, got "${url}"`);
  }
  address.protocol = address.protocol.replace("ws", "http");
  if (!address.pathname.endsWith("/")) address.pathname += "/";
  return address;
}

/**
 * Returns a value of one of these types. Throws if it has another type.
 *
 * @type {(value: any, name: string, types: string[], cure?: string) => any}
 */
function expect(value, name, types, cure = "") {
  if (types.includes(typeof value)) return value;
  throw new TypeError(`Bad ${name}: expected a ${types.join(" or ")}, got ${typeof value}${cure}`);
}
