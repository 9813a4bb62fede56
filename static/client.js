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
 * `delay` is in milliseconds until the next attempt.
 * @typedef {{ state: "connecting" | "open" | "reconnecting" | "closed", transport?: Transport,
 *   delay?: number, reason?: string }} Status
 */
/**
 * @typedef {object} RiverOptions
 * @property {string | (() => string | undefined | Promise<string | undefined>)} [token] Sent with
 * every request; a function
 * is asked again when the server refuses the last one.
 * @property {readonly Transport[]} [transports] Which to try, best first.
 * @property {RequestCredentials} [credentials] As for `fetch`: with `include`, a server of another
 * origin is sent its cookies over HTTP too.
 */
/**
 * @typedef {object} SubscribeOptions
 * @property {string | number} [seq] Start after this position (`"k3f9x2-12"` or `12`) instead of
 * with what is published from now on.
 * @property {(gap: Gap) => void} [onGap] Messages were lost for good.
 * @property {(opened: Opened) => void} [onOpen] The channel is joined, for the first time or again.
 * @property {(error: { code: string, message: string }) => void} [onError] It cannot be joined.
 */
/**
 * How a connection ended. `opened`: it worked before. `wait`: milliseconds that the server asks to
 * wait. `denied`: the token is not good.
 * @typedef {{ opened: boolean, wait?: number, denied?: boolean, fatal?: string }} End
 */
/** @typedef {{ update(): void, close(): void, ended: Promise<End> }} Connection */

/** The version of river that this client came with. */
export const version = "0.1.0";

/** Time for a connection to show life, in milliseconds; then the next transport is tried. */
const OPEN_MS = 4000;
/** Silence after which a connection is taken for dead: more than two heartbeats. */
const SILENCE_MS = 60_000;
/** How long a long-poll asks the server to wait, in seconds. */
const POLL_S = 25;
/** Backoff: a random time up to this, doubled with each failure in a row, to the longest. */
const BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 5000;
/** How often a publish is tried. */
const PUBLISH_TRIES = 4;

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * One server. Dispatches `status` events whose `detail` is a {@link Status}.
 */
export class River extends EventTarget {
  /** @type {URL} */ #url;
  /** @type {RiverOptions["token"]} */ #token;
  /** @type {string | undefined} */ #knownToken;
  /** @type {readonly Transport[]} */ #transports;
  /** @type {RequestCredentials | undefined} */ #credentials;
  /** @type {Map<string, Channel>} */ #channels = new Map();
  /** @type {Connection | undefined} */ #connection;
  /** @type {(() => void) | undefined} */ #wake;
  /** Transports that failed while a later one worked, and how often. @type {Map<Transport, number>} */
  #failures = new Map();
  #running = false;
  #changing = false;
  #closed = false;

  /** Where things stand. @type {Status} */
  status = { state: "connecting" };

  /**
   * @param {string | URL} url Where the server is; in a page, relative to the page.
   * @param {RiverOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    const { token, transports = ["websocket", "stream", "longpoll"], credentials } = options;
    this.#url = new URL(url, /** @type {any} */ (globalThis).document?.baseURI);
    if (!this.#url.pathname.endsWith("/")) this.#url.pathname += "/";
    this.#token = token;
    this.#credentials = credentials;
    this.#transports = transports.filter((transport) =>
      transport === "websocket"
        ? typeof WebSocket === "function"
        : transport === "stream" || transport === "longpoll"
    );
    if (this.#transports.length === 0) {
      throw new TypeError(`None of these transports is to be had here: ${transports.join(", ")}`);
    }
    globalThis.addEventListener?.("online", this.#online);
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
    if (this.#closed) throw new Error("This River is closed");
    let entry = this.#channels.get(channel);
    if (entry === undefined) this.#channels.set(channel, entry = new Channel(channel));
    const listener = new Listener(entry, onMessage, options);
    entry.listeners.add(listener);
    const { seq } = options;
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
   * @returns {Promise<Receipt>} Rejects with the server's words if it refuses.
   */
  async publish(channel, data) {
    if (this.#closed) throw new Error("This River is closed");
    const id = Array.from({ length: 3 }, () => Math.random().toString(36).slice(2)).join("");
    for (let attempt = 1;; attempt++) {
      const form = new URLSearchParams({ name: channel, data, id });
      const token = await this.#askToken();
      if (token !== undefined) form.set("token", token);
      let wait = Math.random() * BACKOFF_MS * 2 ** attempt;
      try {
        const response = await fetch(new URL("publish", this.#url), {
          method: "POST",
          body: form,
          credentials: this.#credentials,
        });
        const answer = await response.json();
        if (response.ok) return answer;
        const error = new Error(answer.error.message);
        const refused = response.status === 401 || response.status === 403;
        if (refused && this.#canAskAgain() && attempt === 1) {
          this.#knownToken = undefined;
          continue;
        }
        if (response.status < 500 && response.status !== 429) {
          throw Object.assign(error, { refused: true });
        }
        wait = Math.max(wait, retryAfter(response) ?? 0);
        if (attempt === PUBLISH_TRIES) throw error;
      } catch (error) {
        if (/** @type {{ refused?: boolean }} */ (error).refused || attempt === PUBLISH_TRIES) {
          throw error;
        }
      }
      await sleep(wait);
    }
  }

  /** Ends the connection and all subscriptions. */
  close() {
    this.#end("closed by this side");
  }

  #online = () => this.#wake?.();

  /**
   * @param {string} reason
   * @param {boolean} [refused] By the server: the listeners are told.
   */
  #end(reason, refused = false) {
    if (this.#closed) return;
    this.#closed = true;
    for (const [channel, entry] of refused ? this.#channels : []) {
      entry.take("error", { code: "refused", message: reason, channel });
    }
    globalThis.removeEventListener?.("online", this.#online);
    this.#channels.clear();
    this.#connection?.close();
    this.#wake?.();
    this.#setStatus({ state: "closed", reason });
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }

  /**
   * The set of channels is another: tells the server, or begins or ends to talk to it. Once for all
   * that changes in one go, so that who leaves one channel for another keeps the connection.
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

  async #run() {
    this.#running = true;
    let at = this.#first();
    let failures = 0;
    // What was opened before is not given up for one failure: the server may be restarting.
    /** @type {Transport | undefined} */
    let proven;
    while (!this.#closed && this.#channels.size > 0) {
      const transport = this.#transports[at];
      this.#setStatus({ state: "connecting", transport });
      const { opened, wait, denied, fatal } = await this.#attempt(transport, () => {
        failures = 0;
        proven = transport;
        this.#failures.delete(transport);
        for (const failed of this.#transports.slice(0, at)) this.#remember(failed);
        this.#setStatus({ state: "open", transport });
      });
      if (this.#closed || this.#channels.size === 0) break;
      if (fatal !== undefined) return this.#end(fatal, true);
      if (denied) {
        if (!this.#canAskAgain() || failures > 2) {
          const shown = this.#knownToken ?? this.#token;
          return this.#end(
            typeof shown === "string" ? "the token was refused" : "a token is needed",
            true,
          );
        }
        this.#knownToken = undefined;
      } else if (!opened && transport === "websocket") {
        // A browser does not tell why a handshake failed: another token may be what it takes.
        this.#knownToken = undefined;
      }
      if (!opened) failures++;
      if (opened || denied || wait !== undefined) at = this.#first();
      else if (proven === transport && failures < 3) at = this.#first();
      else if (at + 1 < this.#transports.length) {
        at++;
        continue;
      } else {
        at = this.#first();
      }
      const backoff = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** failures);
      await this.#pause(wait ?? Math.random() * backoff);
    }
    this.#running = false;
  }

  /** @param {number} delay */
  async #pause(delay) {
    this.#setStatus({ state: "reconnecting", delay });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    await new Promise((resolve) => {
      this.#wake = () => resolve(undefined);
      timer = setTimeout(resolve, delay);
    });
    clearTimeout(timer);
    this.#wake = undefined;
  }

  /**
   * @param {Transport} transport
   * @param {() => void} onOpen
   * @returns {Promise<End>}
   */
  async #attempt(transport, onOpen) {
    /** @type {string | undefined} */
    let token;
    try {
      token = await this.#askToken();
    } catch {
      return { opened: false, wait: MAX_BACKOFF_MS };
    }
    if (this.#closed || this.#channels.size === 0) return { opened: false };
    const connect = transport === "websocket" ? overSocket : overHttp;
    /** @type {End} */
    let end = { opened: false };
    try {
      this.#connection = connect({
        url: this.#url,
        token,
        channels: this.#channels,
        poll: transport === "longpoll",
        credentials: this.#credentials,
        onOpen,
      });
      end = await this.#connection.ended;
    } catch {
      // The address is not one that this transport may use from here.
    }
    this.#connection = undefined;
    for (const channel of this.#channels.values()) channel.opened = channel.asked = false;
    return end;
  }

  async #askToken() {
    if (typeof this.#token === "string") return this.#token;
    return this.#knownToken ??= await this.#token?.();
  }

  #canAskAgain() {
    return typeof this.#token === "function";
  }

  // A transport that failed twice while a later one worked is left out for the session.

  get #key() {
    return `river:${this.#url}`;
  }

  /** @param {Transport} transport */
  #remember(transport) {
    const failures = (this.#failures.get(transport) ?? 0) + 1;
    this.#failures.set(transport, failures);
    if (failures < 2) return;
    try {
      const broken = sessionStorage.getItem(this.#key)?.split(",") ?? [];
      sessionStorage.setItem(this.#key, [...new Set([...broken, transport])].join());
    } catch {
      // No storage here: this object remembers.
    }
  }

  #first() {
    /** @type {string[]} */
    let broken = [];
    try {
      broken = sessionStorage.getItem(this.#key)?.split(",") ?? [];
    } catch {
      // No storage here.
    }
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
   * Takes a line about this channel. Until it is joined, messages are for who was here before.
   *
   * @param {string} kind
   * @param {any} fields As the README has them for each kind.
   */
  take(kind, fields) {
    if (kind === "msg" && this.opened) {
      this.cursor = this.epoch === "" ? String(fields.seq) : `${this.epoch}-${fields.seq}`;
      for (const listener of this.listeners) {
        if (listener.misses(this.epoch, fields.seq)) call(listener.onMessage, fields);
      }
    } else if (kind === "open") {
      this.cursor = fields.cursor;
      this.epoch = fields.cursor.split("-")[0];
      this.first = undefined;
      if (!this.opened) {
        this.opened = true;
        for (const listener of this.listeners) call(() => listener.open(), undefined);
      }
      for (const listener of this.whenOpen.splice(0)) listener.rewind();
    } else if (kind === "gap" && this.opened) {
      this.epoch = fields.epoch;
      this.cursor = `${fields.epoch}-${fields.to}`;
      for (const listener of this.listeners) {
        if (listener.misses(fields.epoch, fields.to)) call(listener.options.onGap, fields);
      }
    } else if (kind === "error") {
      for (const { options } of this.listeners) call(options.onError, fields);
    }
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
 * @typedef {object} Task
 * @property {URL} url
 * @property {string | undefined} token
 * @property {Map<string, Channel>} channels
 * @property {boolean} poll
 * @property {RequestCredentials | undefined} credentials
 * @property {() => void} onOpen
 */

/** Watches a connection: ends it when it shows no life. */
class Watchdog {
  /**
   * @param {number} first Milliseconds until the first sign of life.
   * @param {() => void} onSilence
   */
  constructor(first, onSilence) {
    this.onSilence = onSilence;
    this.timer = setTimeout(onSilence, first);
  }

  alive() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.onSilence, SILENCE_MS);
  }

  stop() {
    clearTimeout(this.timer);
  }
}

/**
 * Gives lines to the channels that they are about. Throws if one is not river's.
 *
 * @param {string} text
 * @param {Map<string, Channel>} channels
 * @param {() => void} [onRiver] Called before the first line is given away.
 */
function takeLines(text, channels, onRiver) {
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [kind, fields] = JSON.parse(line);
    onRiver?.();
    channels.get(fields.channel)?.take(kind, fields);
  }
}

/**
 * @param {Task} task
 * @returns {Connection}
 */
function overSocket({ url, token, channels, onOpen }) {
  const address = new URL("websocket", url);
  address.protocol = address.protocol.replace("http", "ws");
  if (token !== undefined) address.searchParams.set("token", token);
  const socket = new WebSocket(address, "river.v1");
  let opened = false;
  /** @type {Set<string>} */
  const joined = new Set();
  /** @type {PromiseWithResolvers<End>} */
  const ended = resolvers();
  const watchdog = new Watchdog(OPEN_MS, () => end({ opened }));

  /** @param {End} how */
  function end(how) {
    watchdog.stop();
    socket.onmessage = socket.onopen = socket.onclose = null;
    socket.close();
    ended.resolve(how);
  }

  function update() {
    if (!opened) return;
    const lines = [];
    for (const name of joined) {
      if (channels.get(name)?.asked) continue;
      lines.push(JSON.stringify(["unsub", { channel: name }]));
      joined.delete(name);
    }
    for (const [name, channel] of channels) {
      if (channel.asked) continue;
      channel.asked = true;
      joined.add(name);
      lines.push(JSON.stringify(["sub", { channel: name, seq: channel.cursor }]));
    }
    if (lines.length > 0) socket.send(lines.join("\n"));
  }

  socket.onopen = () => {
    opened = true;
    watchdog.alive();
    onOpen();
    update();
  };
  socket.onmessage = ({ data }) => {
    watchdog.alive();
    try {
      takeLines(data, channels);
    } catch {
      end({ opened: false });
    }
  };
  // Whatever it is, `close` follows. The sockets of the package ws throw what nobody listens to.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    const wait = /retry in ([0-9]+) ms/.exec(reason);
    if (code === 1008) end({ opened, fatal: reason || "not allowed" });
    else end({ opened, wait: wait ? Number(wait[1]) : undefined, denied: code === 3500 });
  };
  return { update, close: () => end({ opened }), ended: ended.promise };
}

/**
 * Streaming, or one long-poll after the other.
 *
 * @param {Task} task
 * @returns {Connection}
 */
function overHttp({ url, token, channels, poll, credentials, onOpen }) {
  let opened = false;
  let over = false;
  let stale = false;
  let abort = new AbortController();
  /** @type {PromiseWithResolvers<End>} */
  const ended = resolvers();

  /** @param {End} how */
  function end(how) {
    over = true;
    abort.abort();
    ended.resolve(how);
  }

  function live() {
    if (opened) return;
    opened = true;
    onOpen();
  }

  function form() {
    const form = new URLSearchParams({ format: "river.v1" });
    for (const [name, channel] of channels) {
      form.append("name", name);
      channel.asked = true;
    }
    const cursors = [...channels.values()].map(({ cursor }) => cursor ?? "");
    if (cursors.some((cursor) => cursor !== "")) form.set("seq", cursors.join());
    if (token !== undefined) form.set("token", token);
    if (!poll) return form;
    form.set("keep", "0");
    // The first answer tells whether this works at all.
    form.set("timeout", String(opened ? POLL_S : 1));
    return form;
  }

  async function request() {
    stale = false;
    abort = new AbortController();
    const { signal } = abort;
    const watchdog = new Watchdog(poll && opened ? SILENCE_MS : OPEN_MS, () => abort.abort());
    try {
      const response = await fetch(new URL("subscribe", url), {
        method: "POST",
        body: form(),
        credentials,
        signal,
      });
      if (!response.ok) return end(await refusal(response, opened));
      if (poll) watchdog.alive();
      let rest = "";
      const decoder = new TextDecoder();
      const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done || stale || over) break;
        watchdog.alive();
        rest += decoder.decode(value, { stream: true });
        const lines = rest.lastIndexOf("\n") + 1;
        takeLines(rest.slice(0, lines), channels, live);
        rest = rest.slice(lines);
      }
      if (poll) live();
      else if (!stale) end({ opened });
    } catch {
      if (!stale) end({ opened });
    } finally {
      watchdog.stop();
    }
  }

  (async () => {
    do await request(); while (!over);
  })();

  return {
    update() {
      // What comes in on the old request from now on is asked for again by the next.
      if (stale) return;
      stale = true;
      const old = abort;
      queueMicrotask(() => old.abort());
    },
    close: () => end({ opened }),
    ended: ended.promise,
  };
}

/**
 * What to make of a refusal.
 *
 * @param {Response} response
 * @param {boolean} opened
 * @returns {Promise<End>}
 */
async function refusal(response, opened) {
  const { status } = response;
  if (status === 401 || status === 403) return { opened, denied: true };
  if (status >= 500 || status === 429) return { opened, wait: retryAfter(response) };
  let fatal = `refused with ${status}`;
  try {
    fatal = (await response.json()).error.message;
  } catch {
    // Not river's words: something in between refused.
    return { opened };
  }
  return { opened, fatal };
}

/**
 * Milliseconds that the server asks to wait.
 *
 * @param {Response} response
 */
function retryAfter(response) {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return Number.isFinite(seconds) ? seconds * 1000 * (1 + Math.random()) : undefined;
}

/** `Promise.withResolvers` for who does not have it yet. */
function resolvers() {
  /** @type {any} */
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}
