/**
 * Every option, in one list: flags, environment, file, `--help` and the README's table follow from
 * it. Defaults give way to the file, the file to the environment, the environment to flags.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { parse as parseToml } from "@std/toml";
import { isLoopback } from "../access/local.ts";
import { quote } from "../core/refusal.ts";
import { MIN_SECRET } from "../access/tokens.ts";

type Kind = "text" | "list" | "boolean" | "count" | "bytes" | "duration" | "choice";

interface Option {
  readonly kind: Kind;
  /** As it would be written on the command line; none where there is no default. */
  readonly default?: string;
  readonly help: string;
  /** What happens beyond the limit, where it is one. */
  readonly beyond?: string;
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  /** Whether a count may be `auto`, which leaves it to the program. */
  readonly auto?: boolean;
  /** What should stand in place of an item of a list; undefined if it is good. */
  readonly check?: (item: string) => string | undefined;
  /** Never shown, not even in what is said of a mistake. */
  readonly secret?: boolean;
}

const MAX_DURATION = 366 * 86_400_000;

const utf8 = new TextEncoder();

/** The one list. Its order is that of `--help` and of the README. */
export const OPTIONS = {
  "host": { kind: "text", default: "127.0.0.1", help: "address to listen on" },
  "port": {
    kind: "count",
    default: "9271",
    max: 65_535,
    help: "port to listen on; 0 picks one",
  },
  "config": { kind: "text", help: "TOML file with these same names" },
  "history": {
    kind: "count",
    default: "100",
    help: "messages kept a channel",
    beyond: "the oldest is evicted",
  },
  "history-ttl": {
    kind: "duration",
    default: "1h",
    min: 1,
    help: "how long a message is kept",
    beyond: "evicted; a channel idle for so long is dropped",
  },
  "max-memory": {
    kind: "bytes",
    default: "128MiB",
    help: "memory for history: texts and names, 128 bytes per message, 224 per channel",
    beyond: "the history of the channel longest without a publish goes first",
  },
  "max-message": {
    kind: "bytes",
    default: "64KiB",
    help: "data of one message",
    beyond: "413; a WebSocket is closed with 1009",
  },
  "max-body": {
    kind: "bytes",
    default: "1MiB",
    help: "body of one request, or one WebSocket frame",
    beyond: "413; a WebSocket is closed with 1009",
  },
  "max-bodies": {
    kind: "bytes",
    default: "64MiB",
    help: "bodies over 16 KiB that are being read, in all",
    beyond: "503 with Retry-After",
  },
  "max-batch": {
    kind: "count",
    default: "50000",
    min: 1,
    help: "messages that one request may publish",
    beyond: "413, and none is published",
  },
  "body-timeout": {
    kind: "duration",
    default: "10s",
    min: 1,
    help: "how long the body of one request may take",
    beyond: "408; the connection ends with the body",
  },
  "max-queue": {
    kind: "bytes",
    default: "1MiB",
    help: "unsent bytes a subscriber may have when the next message comes, 1 KiB for each " +
      "WebSocket frame included",
    beyond: "it is cut: the stream ends, a WebSocket is closed with 3008; it can resume",
  },
  "max-inbox": {
    kind: "bytes",
    default: "16MiB",
    help: "frames of one WebSocket that may wait to be carried out, 1 KiB per frame included; " +
      "all sockets together: four times as much",
    beyond: "it is closed with 1013; those with the most waiting go first",
  },
  "max-unsent": {
    kind: "bytes",
    default: "256MiB",
    min: 8 * 1024 * 1024,
    help: "unsent bytes that all subscribers together may have; history may fill three quarters",
    beyond: "history waits, and those with the most unsent are cut",
  },
  "max-connections": {
    kind: "count",
    default: "0",
    help:
      "subscribers at a time, stuck ones included; 0: as many as file descriptors allow, less a reserve",
    beyond: "503 with Retry-After",
  },
  "max-connections-per-client": {
    kind: "count",
    auto: true,
    default: "auto",
    help: "of these, subscribers of one client address; 0: no limit; auto: a quarter of " +
      "--max-connections, and no limit for loopback addresses unless --trust-proxy is set",
    beyond: "429 with Retry-After",
  },
  "connection-rate": {
    kind: "count",
    default: "0",
    help: "subscriptions and sockets that one client address may open a second; 0: no limit",
    beyond: "429 with Retry-After",
  },
  "publish-rate": {
    kind: "count",
    default: "0",
    help: "messages that one client address may publish a second, on average; 0: no limit",
    beyond: "429 with Retry-After; a plain WebSocket is closed with 1013",
  },
  "trust-proxy": {
    kind: "boolean",
    help:
      "take the client's address from the last item of X-Forwarded-For, which the reverse proxy " +
      "in front must set; needs --publish-key, --token-secret or --open",
  },
  "max-channels": {
    kind: "count",
    default: "100000",
    min: 1,
    help: "channels published to, at a time; as many more may be only watched",
    beyond: "503",
  },
  "max-channels-per-client": {
    kind: "count",
    default: "128",
    min: 1,
    help: "channels one request, NDJSON line or socket may name",
    beyond: "400",
  },
  "max-ids": {
    kind: "count",
    default: "100000",
    min: 1,
    help: "idempotency ids remembered",
    beyond: "the oldest is forgotten",
  },
  "id-ttl": {
    kind: "duration",
    default: "5m",
    min: 1,
    help: "how long an idempotency id is remembered",
    beyond: "a repeat is published again",
  },
  "client-timeout": {
    kind: "duration",
    default: "0",
    help: "longest life of a subscription; 0: no end",
    beyond: "ended cleanly; it can resume",
  },
  "heartbeat": {
    kind: "duration",
    default: "25s",
    min: 100,
    help: "silence after which a sign of life is sent; client.js reconnects after 60s of silence",
  },
  "origin": {
    kind: "list",
    help: "web origin to allow besides our own: https://example.com, example.com, " +
      "*.example.com or *; repeat for more",
    beyond: "403, and no CORS headers",
    check: expectedOrigin,
  },
  "publish-key": {
    kind: "text",
    help: "key that publishing, /channels and /metrics need, as a bearer token or token=",
    beyond: "401",
    check: expectedKey,
    secret: true,
  },
  "token-secret": {
    kind: "list",
    help: "secret that tokens are signed with (HS256), 32 bytes or more: whoever publishes, " +
      "subscribes or looks needs one; repeat to accept older ones too",
    beyond: "401 or 403; a WebSocket is closed with 3500 when its token expires",
    check: expectedSecret,
    secret: true,
  },
  "open": {
    kind: "boolean",
    help: "let anybody publish although the host is not a loopback address, or a proxy is in front",
  },
  "grace": {
    kind: "duration",
    default: "10s",
    help: "how long shutting down may take",
    beyond: "connections are dropped",
  },
  "log-format": {
    kind: "choice",
    default: "text",
    choices: ["text", "json"],
    help: "how logs look on stderr",
  },
} as const satisfies Record<string, Option>;

/** The flags of `river token`. */
const TOKEN_OPTIONS = {
  "publish": { kind: "list", help: "channel to publish to, or room.* for all that begin so" },
  "subscribe": { kind: "list", help: "channel to subscribe to, or room.*" },
  "operate": { kind: "boolean", help: "allow to see metrics and channels, and to reset channels" },
  "ttl": { kind: "duration", default: "1h", min: 1000, help: "how long the token is good" },
  "token-secret": {
    ...OPTIONS["token-secret"],
    help: "secret to sign with, the server's; of several the first",
  },
  "config": { kind: "text", help: "TOML file of the server, where the secret may be" },
} as const satisfies Record<string, Option>;

type Options = Readonly<Record<string, Option>>;

/** The name of an option, as in `--name`. */
export type Name = keyof typeof OPTIONS;

/** The type of an option's value, by the option's entry in `OPTIONS`. */
export type ValueOf<K> = K extends { kind: "list" } ? readonly string[]
  : K extends { kind: "boolean" } ? boolean
  : K extends { kind: "choice"; choices: readonly (infer C)[] } ? C
  : K extends { kind: "text"; default: string } ? string
  : K extends { kind: "text" } ? string | undefined
  : K extends { auto: true } ? number | "auto"
  : number;

/** All options with their values: counts, bytes, and durations in milliseconds. */
export type Config = ValuesOf<typeof OPTIONS>;

/** The values of a list of options, by name. */
export type ValuesOf<O> = { readonly [N in keyof O]: ValueOf<O[N]> };

/** What a token is to allow, and for how many milliseconds. */
export interface TokenClaims {
  /** Channels to publish to, or patterns of them. */
  readonly publish: readonly string[];
  /** Channels to subscribe to, or patterns of them. */
  readonly subscribe: readonly string[];
  /** Whether channels and metrics may be seen. */
  readonly operate: boolean;
  /** How long, in milliseconds. */
  readonly ttl: number;
}

/** The command line asks for this. */
export type Command =
  | { readonly kind: "serve"; readonly config: Config }
  | { readonly kind: "token"; readonly secret: string; readonly claims: TokenClaims }
  | { readonly kind: "help"; readonly of: "serve" | "token" }
  | { readonly kind: "version" };

/** Options that make no sense; the message is one line for the user. */
export class ConfigError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "ConfigError";

  /** An error with this message, without what would break its line. */
  constructor(message: string) {
    super(message.replace(/\p{Cc}+/gu, " "));
  }
}

/** Where options come from. */
export interface Sources {
  /** Arguments of the command line, without the program's name. */
  readonly args: readonly string[];
  /** The value of an environment variable; undefined if it is not set. */
  readonly env: (name: string) => string | undefined;
  /** The text of a file; throws if it cannot be read. */
  readonly readFile: (path: string) => string;
}

/**
 * Reads the command line and all that it leads to.
 *
 * @throws {ConfigError} If anything is unknown, malformed, out of range or unreadable.
 */
export function readConfig(sources: Sources): Command {
  const [word, ...rest] = sources.args;
  if (word === "token") return readTokenCommand({ ...sources, args: rest });
  const values = readOptions(OPTIONS, sources, Object.keys(OPTIONS));
  if (values === "help") return { kind: "help", of: "serve" };
  if (values === "version") return { kind: "version" };
  return { kind: "serve", config: checked(values) };
}

function readTokenCommand(sources: Sources): Command {
  // Only what the server has as well comes from elsewhere: RIVER_PUBLISH is no option of it.
  const values = readOptions(TOKEN_OPTIONS, sources, ["token-secret", "config"]);
  if (values === "help") return { kind: "help", of: "token" };
  if (values === "version") return { kind: "version" };
  const { "token-secret": secrets, config: _, ...claims } = values;
  if (secrets.length === 0) {
    throw new ConfigError("A token needs a secret to be signed with: set --token-secret");
  }
  if (claims.publish.length === 0 && claims.subscribe.length === 0 && !claims.operate) {
    throw new ConfigError("A token must allow something: set --publish, --subscribe or --operate");
  }
  return { kind: "token", secret: secrets[0], claims };
}

/**
 * The value of every option, by its name.
 *
 * @param shared Names of those that the environment and the file may set.
 */
function readOptions<O extends Options>(
  options: O,
  { args, env, readFile }: Sources,
  shared: readonly string[],
): ValuesOf<O> | "help" | "version" {
  const flags = parseFlags(options, args);
  if (flags === "help" || flags === "version") return flags;
  const environment = new Map<string, unknown>();
  for (const name of shared) {
    const value = env(envName(name));
    const { kind, secret = false } = options[name];
    // An empty variable is one that is not set. But who names a secret means to have one.
    if (value === undefined || value === "" && !secret) continue;
    if (kind !== "list") environment.set(name, value);
    else if (value.trim() !== "" || secret) {
      environment.set(name, value.split(/[\s,]+/).filter(Boolean));
    }
  }
  const path = (flags.get("config") ?? environment.get("config")) as string | undefined;
  const file = path === undefined ? new Map<string, unknown>() : parseFile(path, readFile);
  const sources = [
    { values: flags, called: (name: string) => `--${name}` },
    { values: environment, called: envName },
    { values: file, called: (name: string) => `"${name}" in ${path}` },
  ];
  const config: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const given = sources.filter(({ values }) => values.has(name));
    // A bad value may be overridden, but not a bad secret: whoever gives one twice has made a mistake.
    const judged = option.secret ? given : given.slice(0, 1);
    const [first = defaultOf(name, option)] = judged
      .map(({ values, called }) => valueOf(option, values.get(name), called(name)));
    config[name] = first;
  }
  return config as ValuesOf<O>;
}

/** The text of `--help`, of the server or of `river token`. */
export function helpText(version: string, of: "serve" | "token"): string {
  const isServer = of === "serve";
  const rows = Object.entries<Option>(isServer ? OPTIONS : TOKEN_OPTIONS).map(([name, option]) => {
    const value = placeholder(option);
    const flag = `--${name}${value && ` ${value}`}`;
    return `  ${flag.padEnd(36)}${option.help}${
      option.default === undefined ? "" : ` (default ${option.default})`
    }`;
  });
  const usage = isServer
    ? [
      `river ${version}: a publish/subscribe push server`,
      "",
      "Usage: river [serve] [flags]",
      "       river token [flags]            print a token; river token --help says more",
    ]
    : [
      "river token: prints a token for a server with the same --token-secret",
      "",
      "Usage: river token [--publish CHANNEL] [--subscribe CHANNEL] [--operate] [flags]",
    ];
  const notes = isServer
    ? [
      "Durations are like 500ms, 25s, 5m or 1h (a bare number: seconds); sizes like 512, 64KiB, 1MiB.",
      "Each flag can be set as RIVER_NAME in the environment (RIVER_HISTORY_TTL=2h) or by its name in",
      'a TOML file (history-ttl = "2h"). Flags win over the environment, the environment over the file.',
    ]
    : [
      "Repeat --publish and --subscribe for more channels. RIVER_TOKEN_SECRET is better than the flag:",
      "flags show in the list of processes.",
    ];
  return [
    ...usage,
    "",
    ...rows,
    `  ${"--help".padEnd(36)}show this`,
    `  ${"--version".padEnd(36)}show the version`,
    "",
    ...notes,
    "",
  ].join("\n");
}

/** The README's table of options, in Markdown. */
export function optionsTable(): string {
  const rows = Object.entries<Option>(OPTIONS).map(([name, option]) => {
    const { default: value, help, beyond = "" } = option;
    return `| \`--${name}\` | ${value ?? "none"} | ${help} | ${beyond} |`;
  });
  return ["| flag | default | what | beyond it |", "|---|---|---|---|", ...rows, ""].join("\n");
}

function envName(name: string): string {
  return "RIVER_" + name.toUpperCase().replaceAll("-", "_");
}

function parseFlags(
  options: Options,
  args: readonly string[],
): Map<string, unknown> | "help" | "version" {
  const names = Object.keys(options);
  const ofKind = (test: (kind: Kind) => boolean) =>
    names.filter((name) => test(options[name].kind));
  const unknown: string[] = [];
  // The parser would give a boolean the next word, and take any text after its `=` for true.
  const booleans: string[] = ofKind((kind) => kind === "boolean");
  const switches = new Map<string, string[]>();
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const texts = ofKind((kind) => kind !== "boolean");
  // The parser would leave an empty word, as an unset variable in quotes is, without its flag.
  const isEmptyValue = (i: number) =>
    i < end && args[i] === "" && texts.some((name) => args[i - 1] === `--${name}`);
  const plain = args.flatMap((arg, i) => {
    if (isEmptyValue(i)) return [];
    if (isEmptyValue(i + 1)) return [`${arg}=`];
    const [, name, value = "true"] = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (i > end || !booleans.includes(name)) return arg;
    switches.set(name, [...switches.get(name) ?? [], value]);
    return `--${name}=true`;
  });
  const parsed = parseArgs(plain, {
    boolean: [...booleans, "help", "version"],
    string: texts,
    // Collected, so that a flag given twice can be told from one given once.
    collect: texts,
    alias: { h: "help", V: "version" },
    unknown: (arg: string, key?: string) => {
      if (key === undefined) return true;
      unknown.push(arg);
      // Left out of the result: `-_` would take the place of its list of words.
      return false;
    },
  });
  if (unknown.length > 0) {
    throw new ConfigError(`Unknown flag ${unknown[0].split("=")[0]}; try --help`);
  }
  const words = parsed._.filter((word, i) => !(i === 0 && word === "serve" && options === OPTIONS));
  if (words.length > 0) {
    throw new ConfigError(`Unknown argument ${quote(String(words[0]))}; try --help`);
  }
  if (parsed.help) return "help";
  if (parsed.version) return "version";
  const flags = new Map<string, unknown>();
  for (const name of names) {
    const boolean = options[name].kind === "boolean";
    const values = boolean ? switches.get(name) ?? [] : parsed[name] as string[];
    if (values.length === 0) continue;
    if (options[name].kind === "list") flags.set(name, values);
    else if (values.length === 1) flags.set(name, values[0]);
    else throw new ConfigError(`--${name} is given ${values.length} times`);
  }
  return flags;
}

function parseFile(path: string, readFile: (path: string) => string): Map<string, unknown> {
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    throw new ConfigError(`Cannot read the config file "${path}": ${firstLine(error)}`);
  }
  let values: Record<string, unknown>;
  try {
    values = parseToml(text);
  } catch (error) {
    throw new ConfigError(`Cannot parse the config file "${path}": ${firstLine(error)}`);
  }
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(OPTIONS, name) || name === "config") {
      throw new ConfigError(`Unknown option ${quote(name)} in ${path}`);
    }
  }
  return new Map(Object.entries(values));
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}

function defaultOf(name: string, option: Option): unknown {
  if (option.kind === "list") return [];
  if (option.kind === "boolean") return false;
  return option.default === undefined ? undefined : valueOf(option, option.default, `--${name}`);
}

function valueOf(option: Option, value: unknown, called: string): unknown {
  const bad = (expected: string, wrong = value) => {
    const text = typeof wrong === "number" ? String(wrong) : JSON.stringify(wrong);
    const shown = option.secret ? "" : ` ${text}`;
    return new ConfigError(`Bad value${shown} for ${called}: expected ${expected}`);
  };
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = option;
  switch (option.kind) {
    case "text": {
      if (typeof value !== "string" || value.trim() === "") throw bad("a non-empty value");
      const expected = option.check?.(value);
      if (expected !== undefined) throw bad(expected);
      return value;
    }
    case "list": {
      const items = typeof value === "string" ? [value] : value;
      const fits = (item: unknown) => typeof item === "string" && item.trim() !== "";
      if (!Array.isArray(items) || !items.every(fits) || option.secret && items.length === 0) {
        throw bad("one or more non-empty values");
      }
      for (const item of items) {
        const expected = option.check?.(item);
        if (expected !== undefined) throw bad(expected, item);
      }
      return items;
    }
    case "boolean":
      if (value === true || value === "true" || value === "1") return true;
      if (value === false || value === "false" || value === "0") return false;
      throw bad("true or false");
    case "choice":
      if (option.choices!.includes(value as string)) return value;
      throw bad(option.choices!.join(" or "));
    case "count": {
      if (option.auto && value === "auto") return value;
      const count = /^[0-9]{1,16}$/.test(scalar(value)) ? Number(value) : NaN;
      if (count >= min && count <= max) return count;
      const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`;
      throw bad(`a whole number${range}${option.auto ? ", or auto" : ""}`);
    }
    case "bytes": {
      const bytes = scaled(value, { "": 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 });
      if (bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
      throw bad("a size like 512, 64KiB, 1MiB or 1GiB, more than 0");
    }
    case "duration": {
      const ms = scaled(value, {
        "": 1000,
        ms: 1,
        s: 1000,
        m: 60_000,
        h: 3_600_000,
        d: 86_400_000,
      });
      if (ms >= min && ms <= MAX_DURATION) return ms;
      throw bad(`a duration like 500ms, 25s, 5m or 1h, from ${min}ms to 366d`);
    }
  }
}

/** A text or number as text; nothing that fits any pattern for what is neither. */
function scalar(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function scaled(value: unknown, units: Record<string, number>): number {
  const match = /^([0-9]{1,16}) ?([A-Za-z]*)$/.exec(scalar(value));
  if (match === null || !Object.hasOwn(units, match[2])) return NaN;
  return Number(match[1]) * units[match[2]];
}

function placeholder({ kind, choices }: Option): string {
  switch (kind) {
    case "boolean":
      return "";
    case "choice":
      return choices!.join("|");
    case "count":
      return "N";
    case "bytes":
      return "SIZE";
    case "duration":
      return "TIME";
    default:
      return "TEXT";
  }
}

function checked(config: Config): Config {
  const guarded = config["publish-key"] !== undefined || config["token-secret"].length > 0;
  // Behind a proxy a loopback address is as public as any other.
  const exposed = !isLoopback(config.host)
    ? `listen on ${config.host}`
    : config["trust-proxy"]
    ? "serve behind a proxy (--trust-proxy)"
    : undefined;
  if (exposed !== undefined && !guarded && !config.open) {
    throw new ConfigError(
      `Refusing to ${exposed} where anybody could publish: ` +
        "set --publish-key or --token-secret, or --open if that is what you want",
    );
  }
  if (config["max-message"] > config["max-body"]) {
    throw new ConfigError(
      `--max-message (${config["max-message"]} bytes) is more than --max-body ` +
        `(${config["max-body"]} bytes): no such message could come in`,
    );
  }
  return config;
}

/** `*`, a domain's subdomains, or a host, with a scheme and a port or without. */
const ORIGIN =
  /^(?:\*|\*(?:\.[\w-]+)+\.?|(?:https?:\/\/)?(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]+)?)$/i;

/** What should stand in place of an origin that no browser sends; undefined if one does. */
function expectedOrigin(text: string): string | undefined {
  const forms =
    "https://example.com, example.com:8443, *.example.com or *, without a path, ports up to 65535";
  if (!ORIGIN.test(text)) return forms;
  // Browsers leave out the port that is the scheme's own; without a scheme, either may be meant.
  const scheme = text.includes("://") ? "" : text.endsWith(":80") ? "https://" : "http://";
  const sent = URL.parse(scheme + text)?.origin.slice(scheme.length);
  if (sent === text.toLowerCase()) return undefined;
  return sent === undefined ? forms : `${sent}, as browsers send it`;
}

/** What should stand in place of a key that no header can hold as it is; undefined if one can. */
function expectedKey(text: string): string | undefined {
  const fits = text === text.trim() && !/\p{Cc}/u.test(text);
  return fits ? undefined : "a value without line ends, and without spaces at its ends";
}

/** What should stand in place of a secret that is too short to sign with. */
function expectedSecret(text: string): string | undefined {
  return utf8.encode(text).length < MIN_SECRET ? `${MIN_SECRET} bytes or more` : undefined;
}
