/**
 * The options of the server, in one list. Flags, variables, the file, `--help` and docs/options.md
 * are derived from it, in its order.
 *
 * @module
 */
import { MIN_SECRET } from "../access/tokens.ts";
import { DEFAULTS } from "../river.ts";
import type { Options, ValuesOf } from "./option.ts";

const utf8 = new TextEncoder();

/**
 * The options of the server. Keys are in camelCase. `maxBody` is the flag `--max-body`, the
 * variable `RIVER_MAX_BODY`, and `max-body` in the file.
 */
export const SERVER_OPTIONS = {
  host: { kind: "text", default: "127.0.0.1", help: "address to listen on" },
  port: {
    kind: "count",
    default: 9271,
    max: 65_535,
    help: "port to listen on; 0 picks a free port",
  },
  config: { kind: "text", help: "TOML file that sets options by these names" },
  history: {
    kind: "count",
    default: DEFAULTS.history,
    help: "messages kept per channel",
    whenExceeded: "the oldest is evicted",
  },
  historyTtl: {
    kind: "duration",
    default: DEFAULTS.historyTtl,
    min: 1,
    help: "how long a message is kept",
    whenExceeded: "the message is evicted; a channel that is idle for this long is dropped",
  },
  maxMemory: {
    kind: "bytes",
    default: DEFAULTS.maxMemory,
    help: "memory for history: texts and names, 128 bytes per message, 224 per channel",
    whenExceeded: "history is evicted, starting with the channel whose last publish is oldest",
  },
  maxMessage: {
    kind: "bytes",
    default: DEFAULTS.maxMessage,
    help: "data of one message",
    whenExceeded: "413; a WebSocket is closed with 1009",
  },
  maxBody: {
    kind: "bytes",
    default: DEFAULTS.maxBody,
    help: "body of one request, or one WebSocket frame",
    whenExceeded: "413; a WebSocket is closed with 1009",
  },
  maxBodies: {
    kind: "bytes",
    default: DEFAULTS.maxBodies,
    help: "size of all bodies over 16 KiB that are being read",
    whenExceeded: "503 with Retry-After",
  },
  maxBatch: {
    kind: "count",
    default: DEFAULTS.maxBatch,
    min: 1,
    help: "messages that one request may publish",
    whenExceeded: "413, and none is published",
  },
  bodyTimeout: {
    kind: "duration",
    default: DEFAULTS.bodyTimeout,
    min: 1,
    help: "how long the body of one request may take",
    whenExceeded: "408; the connection ends with the body",
  },
  maxQueue: {
    kind: "bytes",
    default: DEFAULTS.maxQueue,
    help:
      "unsent bytes that a subscriber may have when its next message arrives, including 1 KiB " +
      "per WebSocket frame",
    whenExceeded: "it is cut: the stream ends, or the WebSocket is closed with 3008; it can resume",
  },
  maxInbox: {
    kind: "bytes",
    default: DEFAULTS.maxInbox,
    help: "bytes of frames of one WebSocket that may wait to be carried out, including 1 KiB per " +
      "frame; four times as much for all WebSockets together",
    whenExceeded: "it is closed with 1013, those with the most waiting first",
  },
  maxUnsent: {
    kind: "bytes",
    default: DEFAULTS.maxUnsent,
    min: 8 * 2 ** 20,
    help: "unsent bytes that all subscribers together may have; history may use three quarters",
    whenExceeded: "history waits, and subscribers with the most unsent bytes are cut",
  },
  maxConnections: {
    kind: "count",
    default: 0,
    help: "subscribers at a time, including stuck ones; 0: as many as file descriptors allow, " +
      "minus a reserve",
    whenExceeded: "503 with Retry-After",
  },
  maxConnectionsPerClient: {
    kind: "count",
    auto: true,
    default: DEFAULTS.maxConnectionsPerClient,
    help: "subscribers per client address; 0: no limit; auto: a quarter of --max-connections, " +
      "but no limit for loopback addresses unless --trust-proxy is set",
    whenExceeded: "429 with Retry-After",
  },
  connectionRate: {
    kind: "count",
    default: DEFAULTS.connectionRate,
    help: "subscriptions and sockets that one client address may open per second; 0: no limit",
    whenExceeded: "429 with Retry-After",
  },
  publishRate: {
    kind: "count",
    default: DEFAULTS.publishRate,
    help: "messages that one client address may publish per second, on average; 0: no limit",
    whenExceeded: "429 with Retry-After; a plain WebSocket is closed with 1013",
  },
  trustProxy: {
    kind: "boolean",
    help:
      "take the client's address from the last item of X-Forwarded-For, which the reverse proxy " +
      "in front must set; needs --publish-key, --token-secret or --open",
  },
  maxChannels: {
    kind: "count",
    default: DEFAULTS.maxChannels,
    min: 1,
    help: "channels that are published to, at a time; as many again may be only watched",
    whenExceeded: "503",
  },
  maxChannelsPerClient: {
    kind: "count",
    default: DEFAULTS.maxChannelsPerClient,
    min: 1,
    help: "channels that one request, NDJSON line or socket may name",
    whenExceeded: "400",
  },
  maxIds: {
    kind: "count",
    default: DEFAULTS.maxIds,
    min: 1,
    help: "idempotency ids that are remembered",
    whenExceeded: "the oldest is forgotten",
  },
  idTtl: {
    kind: "duration",
    default: DEFAULTS.idTtl,
    min: 1,
    help: "how long an idempotency id is remembered",
    whenExceeded: "a repeat is published again",
  },
  clientTimeout: {
    kind: "duration",
    default: DEFAULTS.clientTimeout,
    help: "longest lifetime of a subscription; 0: no limit",
    whenExceeded: "it ends cleanly and can resume",
  },
  heartbeat: {
    kind: "duration",
    default: DEFAULTS.heartbeat,
    min: 100,
    help: "silence after which a heartbeat is sent; client.js reconnects after 60s of silence",
  },
  data: {
    kind: "text",
    help:
      "file that keeps history over a restart or a crash; without it, history is in memory only",
  },
  dataSync: {
    kind: "choice",
    choices: ["normal", "full"],
    default: "normal",
    help:
      "what a receipt means with --data: the operating system has the message (normal), or the " +
      "disk has it (full)",
  },
  maxData: {
    kind: "bytes",
    default: 2 ** 30,
    min: 16 * 2 ** 20,
    help: "size of the file of --data",
    whenExceeded: "the oldest messages are forgotten",
  },
  maxUnwritten: {
    kind: "bytes",
    default: 64 * 2 ** 20,
    min: 2 ** 20,
    help: "messages that wait to be written to the file of --data",
    whenExceeded: "503",
  },
  origin: {
    kind: "list",
    help: "web origin to allow in addition to the server's own: https://example.com, " +
      "example.com, *.example.com or *; repeat for more",
    whenExceeded: "403, and no CORS headers",
    check: originForm,
  },
  publishKey: {
    kind: "text",
    help: "key that publishing, /channels and /metrics need, sent as a bearer token or as token=",
    whenExceeded: "401",
    check: keyForm,
    secret: true,
  },
  publishKeyFile: {
    kind: "text",
    help: "file that holds the publish key, such as a credential of systemd or a Docker secret",
    fileOf: "publishKey",
  },
  tokenSecret: {
    kind: "list",
    help:
      "secret that tokens are signed with (HS256), at least 32 bytes; publishing, subscribing " +
      "and operating then need a token; repeat to accept older secrets too",
    whenExceeded: "401 or 403; a WebSocket is closed with 3500 when its token expires",
    check: secretForm,
    secret: true,
  },
  tokenSecretFile: {
    kind: "text",
    help: "file that holds the token secrets, one per line",
    fileOf: "tokenSecret",
  },
  open: {
    kind: "boolean",
    help: "let anybody publish even if the host is not a loopback address or a proxy is in front",
  },
  drainDelay: {
    kind: "duration",
    default: 0,
    help: "how long /healthz answers 503 before the shutdown begins, for a load balancer to notice",
  },
  grace: {
    kind: "duration",
    default: 10_000,
    help: "how long the shutdown may take",
    whenExceeded: "the remaining connections are dropped",
  },
  logFormat: {
    kind: "choice",
    default: "text",
    choices: ["text", "json"],
    help: "format of the log on stderr",
  },
  logLevel: {
    kind: "choice",
    default: "info",
    choices: ["info", "warn", "error"],
    help: "lowest level of the lines in the log",
  },
  check: {
    kind: "boolean",
    help: "check the options and exit with 0 if they are valid, or else with 2",
    flagOnly: true,
  },
  printConfig: {
    kind: "boolean",
    help: "print the options in force as a TOML file, without secrets, and exit",
    flagOnly: true,
  },
} as const satisfies Options;

/** The values of the server's options. Sizes are in bytes, durations in milliseconds. */
export type ServerConfig = ValuesOf<typeof SERVER_OPTIONS>;

/**
 * `*`, the subdomains of a domain, or a host with or without a scheme and a port. Apps and
 * extensions have origins with schemes of their own (`capacitor`, `tauri`, `chrome-extension`).
 */
const ORIGIN =
  /^(?:\*|\*(?:\.[\w-]+)+\.?|(?:[a-z][a-z0-9+.-]*:\/\/)?(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]+)?)$/i;

const WEB = ["http", "https"];
/** Schemes that no origin has, but that users may write by mistake. */
const NOT_ORIGINS = ["ws", "wss", "ftp", "file", "data", "blob", "javascript"];

/** The expected form, if no browser sends this origin. Undefined if a browser may send it. */
function originForm(given: string): string | undefined {
  const forms =
    "https://example.com, example.com:8443, *.example.com or *, without a path, ports up to 65535";
  if (given.toLowerCase() === "null") return `${forms}; null would allow any page opened as a file`;
  const text = given.replace(/\/$/, "");
  const scheme = /^[a-z][a-z0-9+.-]*(?=:\/\/)/i.exec(text)?.[0].toLowerCase();
  if (!ORIGIN.test(text) || NOT_ORIGINS.includes(scheme ?? "")) return forms;
  // `URL` gives no origin for apps and extensions. Browsers send such origins as they are.
  if (scheme !== undefined && !WEB.includes(scheme)) return undefined;
  // Browsers omit the scheme's default port. Without a scheme, `:80` can mean https, and `:443`
  // http.
  const prefix = scheme !== undefined ? "" : text.endsWith(":80") ? "https://" : "http://";
  const sent = URL.parse(prefix + text)?.origin.slice(prefix.length);
  if (sent === text.toLowerCase()) return undefined;
  return sent === undefined ? forms : `${sent}, as browsers send it`;
}

/** The expected form, if a header cannot hold this key unchanged. Undefined if it can. */
function keyForm(text: string): string | undefined {
  const fits = text === text.trim() && !/\p{Cc}/u.test(text);
  return fits ? undefined : "a value without line breaks, and without spaces at its ends";
}

/**
 * The expected form, if this secret is too short to sign with, or programs that read it from a file
 * would differ on where it ends. Undefined if it is neither.
 */
function secretForm(text: string): string | undefined {
  if (utf8.encode(text).length < MIN_SECRET) return `${MIN_SECRET} bytes or more`;
  return text === text.trim() ? undefined : "a secret without spaces at its ends";
}
