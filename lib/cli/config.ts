/**
 * Reads options from their sources. Flags take precedence over the environment, the environment
 * over the file, and the file over the defaults.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { parse as parseToml } from "@std/toml";
import { nearest } from "../base/spelling.ts";
import { quote } from "../core/refusal.ts";
import { isInjected } from "./injected.ts";
import {
  ConfigError,
  defaultOf,
  nameOf,
  type Option,
  type Options,
  PREFIX,
  readValue,
  type ValuesOf,
  variableOf,
} from "./option.ts";

/** The sources of options. */
export interface Sources {
  /** Arguments of the command line, without the names of the program and the command. */
  readonly args: readonly string[];
  /** All variables of the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Returns the text of a file. Throws if it cannot be read. */
  readonly readFile: (path: string) => string;
  /**
   * The keys that the environment and the file may contain. All commands share both, so these are
   * the keys of all commands. The default is those of the running command.
   */
  readonly shared?: readonly string[];
}

/** The options of one run of a command. */
export interface RunOptions<O> {
  /** Their values. */
  readonly values: ValuesOf<O>;
  /** Names of variables that look like river's, but that an orchestrator has set. Ignored. */
  readonly ignored: readonly string[];
}

/** A line of a TOML file that begins with the name of the prototype of objects. */
const PROTOTYPE = /^\s*(["']?)__proto__\1\s*[.=]/m;

/** Variables that client programs use. They are neither options of the server nor mistakes. */
const CLIENT_VARIABLES = ["RIVER_URL", "RIVER_TOKEN"];

/**
 * Reads the options of a command. Returns a word instead if the flags ask for help or the version.
 *
 * @throws {ConfigError} If an option is unknown, malformed or out of range, or a file is
 * unreadable.
 */
export function readOptions<O extends Options>(
  options: O,
  { args, env, readFile, shared = sharedKeys(options) }: Sources,
): RunOptions<O> | "help" | "version" {
  const flags = readFlags(options, args);
  if (flags === "help" || flags === "version") return flags;
  const ignored = checkVariables(shared, env);
  const own = sharedKeys(options).filter((key) => !ignored.includes(variableOf(key)));
  const variables = readVariables(options, own, env);
  const path = (flags.get("config") ?? variables.get("config")) as string | undefined;
  const file = path === undefined ? new Map<string, unknown>() : readToml(path, shared, readFile);
  const sources = [
    { values: flags, sourceName: (key: string) => `--${nameOf(key)}` },
    { values: variables, sourceName: variableOf },
    { values: file, sourceName: (key: string) => `"${nameOf(key)}" in ${path}` },
  ];
  const values: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(options)) {
    const given = sources.filter(({ values }) => values.has(key));
    // Check only the value that counts, but every secret: nobody sets a bad secret on purpose.
    const checked = option.secret ? given : given.slice(0, 1);
    const [first = defaultOf(option)] = checked
      .map(({ values, sourceName }) => readValue(option, values.get(key), sourceName(key)));
    values[key] = first;
  }
  for (const [key, { fileOf }] of Object.entries(options)) {
    if (fileOf === undefined || values[key] === undefined) continue;
    if (sources.some(({ values }) => values.has(fileOf))) {
      throw new ConfigError(`Set --${nameOf(fileOf)} or --${nameOf(key)}, not both`);
    }
    values[fileOf] = readSecret(options[fileOf], String(values[key]), nameOf(key), readFile);
  }
  return { values: values as ValuesOf<O>, ignored };
}

/** The keys of those options that the environment and the file may contain. */
export function sharedKeys(options: Options): string[] {
  return Object.keys(options).filter((key) => !options[key].flagOnly && !options[key].operand);
}

/** Reads the value of an option from a file of its own. A list has one item per line. */
function readSecret(
  option: Option,
  path: string,
  name: string,
  readFile: Sources["readFile"],
): unknown {
  const text = readText(path, `the file "${path}" (--${name})`, readFile).replace(/\r?\n$/, "");
  const value = option.kind === "list" ? text.split(/\r?\n/).filter(Boolean) : text;
  return readValue(option, value, `--${name}`);
}

/** The text of a file, without the byte order mark that some editors write at the start. */
function readText(path: string, what: string, readFile: Sources["readFile"]): string {
  try {
    return readFile(path).replace(/^\uFEFF/, "");
  } catch (error) {
    throw new ConfigError(`Cannot read ${what}: ${firstLine(error)}`);
  }
}

/** The unparsed values of these options in the environment, by key. */
function readVariables(
  options: Options,
  keys: readonly string[],
  env: Sources["env"],
): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (const key of keys) {
    const value = env[variableOf(key)];
    const { kind, secret = false } = options[key];
    // An empty variable counts as not set. But an empty secret is a mistake, because whoever sets
    // the variable wants to protect the server.
    if (value === undefined || value === "" && !secret) continue;
    if (kind !== "list") values.set(key, value);
    else if (value.trim() !== "" || secret) {
      values.set(key, value.split(/[\s,]+/).filter(Boolean));
    }
  }
  return values;
}

/**
 * Checks that every variable whose name starts with `RIVER_` is known.
 *
 * @returns The names of variables that an orchestrator has set.
 * @throws {ConfigError} If a variable is unknown and no orchestrator has set it.
 */
function checkVariables(shared: readonly string[], env: Sources["env"]): string[] {
  const known = shared.map(variableOf).concat(CLIENT_VARIABLES);
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(PREFIX)) continue;
    if (isInjected(name, value)) ignored.push(name);
    else if (!known.includes(name) && value !== "") {
      const meant = nearest(
        name.slice(PREFIX.length),
        known.map((each) => each.slice(PREFIX.length)),
      );
      const cure = meant === undefined ? "" : `; did you mean ${PREFIX}${meant}?`;
      throw new ConfigError(`Unknown variable ${nameIn(name)} in the environment${cure}`);
    }
  }
  return ignored;
}

/** The unparsed values of flags, by key. */
function readFlags(
  options: Options,
  args: readonly string[],
): Map<string, unknown> | "help" | "version" {
  const flagged = Object.keys(options).filter((key) => !options[key].operand);
  const keys = new Map(flagged.map((key) => [nameOf(key), key]));
  const names = [...keys.keys()];
  const isSwitch = (name: string) => options[keys.get(name)!]?.kind === "boolean";
  const texts = names.filter((name) => !isSwitch(name));
  const booleans = names.filter(isSwitch);
  const { plain, switches } = takeSwitches(args, booleans, texts);
  refuseLostSecrets(keys, options, plain);
  // The parser would take it for the list of words without a flag.
  const underscore = plain.find((arg) => /^--?_/.test(arg));
  if (underscore !== undefined) {
    throw new ConfigError(`Unknown flag ${nameIn(underscore)}; try --help`);
  }
  const unknown: string[] = [];
  const parsed = parseArgs(plain, {
    boolean: [...booleans, "help", "version"],
    // Words without a flag, too, or they could become numbers.
    string: [...texts, "_"],
    // Collect the values, to notice a flag that is given twice.
    collect: texts,
    alias: { h: "help", V: "version" },
    unknown: (arg: string, key?: string) => {
      if (key === undefined) return true;
      unknown.push(arg);
      return false;
    },
  });
  if (unknown.length > 0) {
    const flag = nameIn(unknown[0]);
    if (keys.has(flag.slice(2))) {
      throw new ConfigError(`Bad flag ${flag}: write ${flag}=VALUE, or its value as the next word`);
    }
    const meant = hint(flag, [...names, "help", "version"].map((name) => `--${name}`));
    throw new ConfigError(`Unknown flag ${flag}${meant || "; try --help"}`);
  }
  const operand = Object.keys(options).find((key) => options[key].operand);
  const surplus = parsed._[operand === undefined ? 0 : 1];
  if (surplus !== undefined) {
    throw new ConfigError(`Unknown argument ${quote(String(surplus))}; try --help`);
  }
  if (parsed.help) return "help";
  if (parsed.version) return "version";
  const flags = new Map<string, unknown>();
  if (operand !== undefined && parsed._.length > 0) flags.set(operand, String(parsed._[0]));
  for (const [name, key] of keys) {
    const values = isSwitch(name) ? switches.get(name) ?? [] : parsed[name] as string[];
    if (values.length > 0) flags.set(key, single(name, options[key], values));
  }
  return flags;
}

/**
 * Refuses a word that starts with a hyphen after the flag of a secret. The parser would read it as
 * a flag, and the error message would show the secret.
 */
function refuseLostSecrets(
  keys: ReadonlyMap<string, string>,
  options: Options,
  args: readonly string[],
): void {
  for (const [name, key] of keys) {
    const value = args[args.indexOf(`--${name}`) + 1];
    if (options[key].secret && args.includes(`--${name}`) && value?.startsWith("-")) {
      throw new ConfigError(
        `Bad value for --${name}: write --${name}=VALUE for a value that begins with "-"`,
      );
    }
  }
}

function single(name: string, { kind }: Option, values: string[]): unknown {
  if (kind === "list") return values;
  if (values.length === 1) return values[0];
  throw new ConfigError(`--${name} is given ${values.length} times: give it once`);
}

/**
 * Reads the boolean flags in the arguments. The parser would give a boolean the next word, and it
 * would read any text after `=` as true. This function also joins a flag with an empty word after
 * it, which the parser would separate. An unset variable in quotes is such a word.
 */
function takeSwitches(
  args: readonly string[],
  booleans: readonly string[],
  texts: readonly string[],
): { plain: string[]; switches: Map<string, string[]> } {
  const switches = new Map<string, string[]>();
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const isEmptyValue = (i: number) =>
    i < end && args[i] === "" && texts.some((name) => args[i - 1] === `--${name}`);
  const plain = args.flatMap((arg, i) => {
    if (isEmptyValue(i)) return [];
    if (isEmptyValue(i + 1)) return [`${arg}=`];
    const [, name, value = "true"] = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (i > end || !booleans.includes(name)) return arg;
    switches.set(name, [...switches.get(name) ?? [], value]);
    // Keep the flag in its place, so that the flag before it does not get the word after it.
    return `--${name}=true`;
  });
  return { plain, switches };
}

/** The unparsed values in the server's TOML file, by key. */
function readToml(
  path: string,
  shared: readonly string[],
  readFile: Sources["readFile"],
): Map<string, unknown> {
  const text = readText(path, `the config file "${path}"`, readFile);
  let values: Record<string, unknown>;
  try {
    values = parseToml(text);
  } catch (error) {
    throw new ConfigError(`Cannot parse the config file "${path}": ${placeOf(error)}`);
  }
  const keys = new Map(shared.filter((key) => key !== "config").map((key) => [nameOf(key), key]));
  // The parser loses this name, because an object cannot have a member of its own by it.
  const lost = PROTOTYPE.test(text) ? [["__proto__", undefined] as const] : [];
  return new Map(
    [...Object.entries(values), ...lost].map(([name, value]) => {
      const key = keys.get(name);
      if (key !== undefined) return [key, value];
      const meant = hint(name, [...keys.keys()]);
      throw new ConfigError(`Unknown option ${quote(nameIn(name))} in ${path}${meant}`);
    }),
  );
}

/**
 * The end of an error message: the known name that an unknown name most likely means. Empty if no
 * name is similar.
 */
export function hint(name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  return meant === undefined ? "" : `; did you mean ${meant}?`;
}

/** The part of a text that can be a name. The rest is not shown, because it may be a secret. */
function nameIn(text: string): string {
  return /^[\w-]*/.exec(text)![0];
}

/**
 * The place of a mistake in a file. The parser's message quotes the line, which may hold a secret.
 */
function placeOf(error: unknown): string {
  const [place] = /line \d+, column \d+/.exec(firstLine(error)) ?? ["it"];
  return `${place} is not TOML; texts need quotes`;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
