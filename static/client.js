// @ts-check
/**
 * river's client for browsers, Deno and Node: one connection for all channels, over the best
 * transport that works, resumed without loss.
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

/** @typedef {{ channel: string, seq: number, data: string }} Message */
/** @typedef {{ channel: string, from: number, to: number, epoch: string, reason: string }} Gap */
/** @typedef {{ channel: string, cursor: string }} Opened */
/** @typedef {{ channel: string, seq: number, epoch: string, subscribers: number }} Receipt */
/** @typedef {"websocket" | "stream" | "longpoll"} Transport */
/**
 * `offline`: the browser says that there is no network. `closed`: there is no connection and none is
 * tried, for `reason`. `delay` is in milliseconds until the next attempt.
 * @typedef {{ state: "connecting" | "open" | "reconnecting" | "offline" | "closed",
 *   transport?: Transport, delay?: number, reason?: string }} Status
 */
/**
 * @typedef {object} RiverOptions
 * @property {string | (() => string | null | undefined | Promise<string | null | undefined>)} [token]
 * Sent with every request. A function is asked again when the server refuses the last one.
 * @property {readonly Transport[]} [transports] Which to try, best first.
 * @property {RequestCredentials} [credentials] As for `fetch`: with `include`, a server of another
 * origin is sent its cookies over HTTP too.
 */
/**
 * @typedef {object} SubscribeOptions
 * @property {string | number | null} [seq] Start after this position (`"k3f9x2-12"` or `12`) instead
 * of with what is published from now on.
 * @property {(gap: Gap) => void} [onGap] Messages were lost for good.
 * @property {(opened: Opened) => void} [onOpen] The channel is joined, for the first time or again.
 * @property {(error: { code: string, message: string }) => void} [onError] It cannot be joined.
 */
/** @typedef {{ code: string, message: string }} Refusal */
/**
 * How a connection ended. `wait`: milliseconds to wait at least; the transport is not to blame.
 * `denied`: the token is not good. `refused`: no channel is left. `fatal`: nothing will ever work.
 * `reason` is for the status.
 * @typedef {{ wait?: number, denied?: boolean, refused?: boolean, fatal?: string,
 *   reason?: string }} End
 */
/**
 * `update`: the set of channels has changed. `check`: make sure that it lives.
 * @typedef {{ update(): void, check(): void, close(): void }} Connection
 */

/** The version of river that this client came with. */
export const version = "0.1.0";

/** @type {readonly Transport[]} */
const TRANSPORTS = ["websocket", "stream", "longpoll"];

// Times are in milliseconds unless they say otherwise.

/** Time for a connection to show life; then the next transport is tried. */
const OPEN_MS = 4000;
/** Time for an open socket to answer when it is checked. */
const PROBE_MS = 1500;
/** Silence after which a connection is assumed dead: more than two heartbeats. */
const SILENCE_MS = 60_000;
/** How long a long-poll asks the server to wait, in seconds. */
const POLL_S = 25;
/** A long-poll that is answered sooner without a message is not worth repeating at once. */
const FAST_MS = 500;
/** A connection that lasted this long was worth making, even if it brought no message. */
const WORTH_MS = 2000;
/** Backoff: up to this, doubled with each failure in a row, up to the longest. */
const BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 5000;
/** The longest wait that a server can ask for. */
const MAX_WAIT_MS = 60_000;
/** How often a publish is tried, and the time for each try. */
const PUBLISH_TRIES = 4;
const PUBLISH_MS = 10_000;
/** Time for the token function to answer. */
const TOKEN_MS = 15_000;
/** How often the clock is read; a step of more than both together means that the machine slept. */
const TICK_MS = 1000;
const SLEEP_MS = 5000;
/** Lines in one frame to the server, which ends a socket for 1,000 refused lines in one frame. */
const MAX_LINES = 100;
/** Characters of a line; whatever sends more is not a river. */
const MAX_LINE = 64 * 1024 * 1024;
/** Changes nothing, but is answered by an error: no channel has this name. */
const PROBE = JSON.stringify(["unsub", { channel: "" }]);

/** Pages have all of these, workers no document, Node and Deno at most the navigator. @type {any} */
const { document, location, navigator, origin } = globalThis;

/**
 * One server. Dispatches `status` events whose `detail` is a {@link Status}.
 */
export class River extends EventTarget {
  /** @type {URL} */ #url;
  /** @type {RiverOptions["token"]} */ #token;
  /** What the token function gave last. @type {Promise<string | undefined> | undefined} */
  #given;
  /** The last token that the server refused. @type {{ token: string | undefined } | undefined} */
  #refused;
  /** @type {readonly Transport[]} */ #transports;
  /** @type {RequestCredentials | undefined} */ #credentials;
  /** @type {Map<string, Channel>} */ #channels = new Map();
  /** @type {Connection | undefined} */ #connection;
  /** End the pauses of this moment. @type {Set<() => void>} */
  #wakes = new Set();
  /** Attempts in a row that were worth nothing. */
  #tries = 0;
  /** Transports that failed while a later one worked, and how often. @type {Map<Transport, number>} */
  #failures = new Map();
  #running = false;
  #changing = false;
  #offline = false;
  #warned = false;
  #closed = false;

  /** Where things stand. @type {Status} */
  status = { state: "connecting" };

  /**
   * @param {string | URL} url Where the server is: `http:`, `https:`, `ws:` or `wss:`. In a page or a
   * worker it may be relative.
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
        `Bad transports: expected some of ${TRANSPORTS} that this runtime has, got ${transports}`,
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
   * Publishes a message. A failed try is repeated without being published twice.
   *
   * @param {string} channel
   * @param {string} data
   * @returns {Promise<Receipt>} Rejects with the server's words if it refuses, and if no try is
   * answered in time.
   */
  async publish(channel, data) {
    expect(channel, "channel", ["string"]);
    expect(data, "data", ["string"], ": JSON.stringify(data) makes one");
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
    this.#end("closed by this side");
  }

  /**
   * @param {string} reason
   * @param {boolean} [refused] By the server: the listeners are told.
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
   * The set of channels has changed: tells the server, or starts or stops talking to it. Once for all
   * changes of one turn, so that leaving one channel for another keeps the connection.
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

  /** Whether there is anything to connect for. */
  get #wanted() {
    return !this.#closed && this.#channels.size > 0;
  }

  async #run() {
    this.#running = true;
    const unwatch = this.#watch();
    let at = this.#first();
    let reason = "no channel is subscribed to";
    // A transport that worked is not given up for one failure: the server may be restarting.
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
      // A browser does not tell why a handshake failed: another token may be what it takes.
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
   * Waits until the time is over, or somebody wakes it.
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
    // Many others may have been woken by the same event.
    if (woken) await this.#pause(Math.random() * BACKOFF_MS);
  }

  #wake() {
    for (const wake of this.#wakes) wake();
  }

  /** The network, the page or the machine is back: what is open may be dead, and waiting useless. */
  #check() {
    this.#tries = 0;
    this.#wake();
    this.#connection?.check();
  }

  /**
   * Checks the connection after whatever may have broken it unnoticed.
   *
   * @returns {() => void} Stops it.
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
        // A server on this machine may still be there.
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
      // Browsers slow down the timers of hidden pages, which are checked when they are shown.
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
      // The address is not one that this transport may use from here.
    }
    this.#connection = undefined;
    for (const channel of this.#channels.values()) channel.opened = channel.asked = false;
    if (!end.denied) return end;
    this.#refused = { token };
    return typeof this.#token === "function" ? end : { fatal: inVain };
  }

  /** The token: what the function gave last, or gives now if that was forgotten. */
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
   * Says once in the console why nothing works, if the reason is the origin of this page: the browser
   * hides the server's words from it.
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
    // Pages of every origin may read this very file.
    this.#warned = await canRead("client.js") && !await canRead("healthz");
    if (!this.#warned) return;
    console.warn(
      `river: ${this.#url} refuses pages of the origin ${origin}. ` +
        (origin === "null"
          ? "A page opened as a file has none: serve it over HTTP, and allow that origin by --origin."
          : `To allow them, start it with --origin ${origin}`),
    );
  }

  // A transport that failed twice while a later one worked is left out for the session.

  get #key() {
    return `river:${this.#url}`;
  }

  get #broken() {
    try {
      return sessionStorage.getItem(this.#key)?.split(",") ?? [];
    } catch {
      // No storage here: this object remembers.
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
      // No storage here.
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
 * @property {() => void} close Stops; the last one of a channel leaves it.
 */

/** Who listens to a channel. */
class Listener {
  /** Messages up to this position are known: somebody else wanted them. */
  skip = "";
  /** Nothing is for it before it could go back to its position. */
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
   * Whether what is up to here is new to it.
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

/** One channel, and where it stands. */
class Channel {
  /** @type {Set<Listener>} */ listeners = new Set();
  /** Position of the last message that came, or asked for. @type {string | undefined} */ cursor;
  epoch = "";
  /** The server was asked for it on this connection. */
  asked = false;
  /** The server said that it is joined. */
  opened = false;
  /** Who goes back to a position then. @type {Listener[]} */ whenOpen = [];
  /** The first listener, if the position is the one that it gave. @type {Listener | undefined} */
  first;
  /** Number of the last message that came, or was lost. */
  last = 0;
  /** How many messages came. */
  heard = 0;
  /** Why it could not be joined when that was tried last. @type {Refusal | undefined} */
  refusal;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /**
   * Keeps from a listener that gave no position what is old, as far as that can be known.
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
   * Goes back to an older position for one listener; the others skip what they have.
   *
   * @param {string} cursor
   * @param {Listener} wanting
   * @returns {boolean} False if there is no need: the position is still to come.
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
   * Takes a line about this channel. Until it is joined, what comes belongs to an earlier subscription.
   *
   * @param {string} kind
   * @param {any} fields The fields of this kind of line, as docs/protocol.md has them.
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
 * Calls a listener; what it throws is reported, and stops nobody else.
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
 * What a connection is for. `onLife`: the server speaks, so the connection works.
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
 * Watches a connection: calls back unless life is expected anew within the time given. 0 stops it.
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
 * Where the channels stand, in order.
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

/** What each kind of line has to hold. @type {Record<string, (fields: any) => boolean>} */
const LINES = {
  open: ({ cursor }) => isPosition(cursor),
  msg: ({ seq, data }) => isWhole(seq) && typeof data === "string",
  // One after the largest position is not a safe integer any more.
  gap: ({ from, to, epoch }) =>
    Number.isInteger(from) && from > 0 && isWhole(to) && isPosition(`${epoch}-${to}`),
  error: ({ message }) => typeof message === "string",
};

/**
 * Gives lines to the channels that they are about. Throws if one is not river's.
 *
 * @param {string} text
 * @param {Pick<Task, "channels" | "onLife">} task
 */
function takeLines(text, { channels, onLife }) {
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [kind, fields] = JSON.parse(line);
    if (LINES[kind]?.(fields) === false) throw new TypeError("This is not a line of river");
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
    // Stays: the sockets of the package ws throw errors that nobody listens to.
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
      // It has to be answered.
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
    // An empty frame shows that the other end lives, but not that it is a river.
    answered ||= data !== "";
    if (answered) expectLife(SILENCE_MS);
    try {
      takeLines(data, task);
    } catch {
      end({});
    }
  };
  // Not every runtime lets `close` follow.
  socket.onerror = () => end({});
  socket.onclose = ({ code, reason }) => {
    const wait = /retry in ([0-9]+) ms/.exec(reason)?.[1];
    if (code === 1008) end({ fatal: reason || "not allowed" });
    else end({ wait: wait ? bounded(Number(wait)) : undefined, denied: code === 3500 });
  };
  return { update, check, close: () => end({}) };
}

/**
 * Streaming, or one long-poll after the other.
 *
 * @param {Task} task
 * @returns {Connection}
 */
function overHttp(task) {
  const { url, token, channels, poll, credentials, onEnd } = task;
  /** The server has spoken, and there is no doubt since. */
  let trusted = false;
  let over = false;
  let stale = false;
  let abort = new AbortController();
  /** Channels that this connection does without. @type {Set<Channel>} */
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
      // The first answer tells whether this works at all.
      body.set("timeout", String(trusted ? POLL_S : 1));
    }
    const { signal } = abort;
    return fetch(new URL("subscribe", url), { method: "POST", body, credentials, signal });
  }

  /**
   * Finds out by halves which channels are refused, and tells their listeners.
   *
   * @param {Channel[]} good
   * @param {Channel[]} doubtful Refused, if asked for together with the good ones.
   * @param {Response} response The refusal.
   */
  async function settle(good, doubtful, response) {
    const { status } = response;
    const error = refusalIn(await jsonOf(response));
    if (status === 401) return end({ denied: true });
    if (status >= 500 || status === 429 || status === 408) {
      return end({ wait: retryAfter(response) });
    }
    // Not river's words: something in between refused.
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
      // A long line may take its time, but the first has to come.
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
        // Two servers that take turns start over with each answer: that is no progress.
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
        // The network, or what came is not river's.
        if (!stale) end({});
      }
    }
  })();

  function update() {
    // What still comes on the old request is asked for again by the next.
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
 * The refusal in an answer of river; undefined if it is something else.
 *
 * @param {any} answer
 * @returns {Refusal | undefined}
 */
function refusalIn(answer) {
  const { code = "refused", message } = Object(Object(answer).error);
  return typeof message === "string" ? { code: String(code), message } : undefined;
}

/**
 * The JSON of an answer; undefined if it is something else. Rejects if it is broken off.
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
 * Milliseconds that the server asks to wait, and up to as many more.
 *
 * @param {Response} response
 */
function retryAfter(response) {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return Number.isFinite(seconds) ? bounded(seconds * 1000 * (1 + Math.random())) : undefined;
}

/**
 * A wait that the server asks for, within bounds. Clients that are all told to wait too long come
 * back at different times. @type {(ms: number) => number}
 */
const bounded = (ms) => Math.max(0, Math.min(ms, MAX_WAIT_MS * (1 + Math.random()) / 2));

/** @type {(ms: number) => number} */
const jittered = (ms) => ms * (0.25 + 0.75 * Math.random());

/**
 * Does something within a time. What takes longer is aborted and rejects.
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
 * The address of the server, with a slash at its end. Throws if it cannot be one.
 *
 * @param {string | URL} url
 */
function addressOf(url) {
  // The address of a worker that was made from a blob is no base.
  const base = document?.baseURI ?? location?.href.replace(/^blob:/, "");
  /** @type {URL | undefined} */
  let address;
  try {
    address = new URL(expect(url, "url", ["string", "object"]), base);
  } catch {
    // Said below.
  }
  if (
    address === undefined || !/^(http|ws)s?:$/.test(address.protocol) ||
    address.username + address.password
  ) {
    const example = "an address such as http://127.0.0.1:9271/";
    throw new TypeError(`Bad url: expected ${example}, without a user, got "${url}"`);
  }
  address.protocol = address.protocol.replace("ws", "http");
  if (!address.pathname.endsWith("/")) address.pathname += "/";
  return address;
}

/**
 * Gives back a value of one of these types. Throws if it is of another.
 *
 * @type {(value: any, name: string, types: string[], cure?: string) => any}
 */
function expect(value, name, types, cure = "") {
  if (types.includes(typeof value)) return value;
  throw new TypeError(`Bad ${name}: expected a ${types.join(" or ")}, got ${typeof value}${cure}`);
}
