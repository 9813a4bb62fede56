/**
 * Defines the options of commands: their kinds, their names, and how their values are read.
 *
 * @module
 */

/** The kind of an option's value. */
export type Kind = "text" | "list" | "boolean" | "count" | "bytes" | "duration" | "choice";

/** An option. Its key is its name in camelCase, from which all its other names are derived. */
export interface Option {
  /** The kind of its value. */
  readonly kind: Kind;
  /**
   * The value if none is given: a number of bytes, a number of milliseconds, a count, or a text.
   */
  readonly default?: string | number;
  /** A description in one line. */
  readonly help: string;
  /** If the option is a limit: the consequence of exceeding it. */
  readonly whenExceeded?: string;
  /** The smallest allowed value. */
  readonly min?: number;
  /** The largest allowed value. */
  readonly max?: number;
  /** The allowed values of a choice. */
  readonly choices?: readonly string[];
  /** Whether a count may also be `auto`, so that the program chooses it. */
  readonly auto?: boolean;
  /** Whether only a flag can set it, and neither the environment nor the file. */
  readonly flagOnly?: boolean;
  /** Whether it is the word after the command's name, without a flag. A command has at most one. */
  readonly operand?: boolean;
  /**
   * Checks a text, or an item of a list. Returns the expected form for the error message, or
   * undefined if the item is valid.
   */
  readonly check?: (item: string) => string | undefined;
  /** Whether the value is never shown, not even in an error message. */
  readonly secret?: boolean;
  /**
   * If the value is the path of a file that holds another option's value: the key of that option.
   */
  readonly fileOf?: string;
}

/** Options by their keys. */
export type Options = Readonly<Record<string, Option>>;

/** The type of an option's value. `unknown` if the kind is not known. */
export type ValueOf<K> = Option extends K ? unknown
  : K extends { kind: "list" } ? readonly string[]
  : K extends { kind: "boolean" } ? boolean
  : K extends { kind: "choice"; choices: readonly (infer C)[] } ? C
  : K extends { kind: "text"; default: string } ? string
  : K extends { kind: "text" } ? string | undefined
  : K extends { auto: true } ? number | "auto"
  : number;

/** The values of options, by the same keys. */
export type ValuesOf<O> = { readonly [K in keyof O]: ValueOf<O[K]> };

/** A mistake in the options. The message is one line that the user reads. */
export class ConfigError extends Error {
  /** Names the error in logs and stack traces. */
  override name = "ConfigError";

  /** An error with this message. Control characters become spaces, so that it stays one line. */
  constructor(message: string) {
    super(message.replace(/\p{Cc}+/gu, " "));
  }
}

const BYTES: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};
const DURATIONS: Readonly<Record<string, number>> = {
  "": 1000,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const MAX_DURATION = 366 * DURATIONS.d;

/** The name of an option in the file, and after `--` in its flag: `max-channels`. */
export function nameOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The prefix of all of river's variables. */
export const PREFIX = "RIVER_";

/** The name of an option's variable: `RIVER_MAX_CHANNELS`. */
export function variableOf(key: string): string {
  return `${PREFIX}${nameOf(key).toUpperCase().replaceAll("-", "_")}`;
}

/** The value of an option that no source gives. */
export function defaultOf({ kind, default: value }: Option): unknown {
  if (kind === "list") return [];
  if (kind === "boolean") return false;
  return value;
}

/** The default as a user would write it. Undefined if there is none. */
export function defaultText(option: Option): string | undefined {
  return option.default === undefined ? undefined : valueText(option, option.default);
}

/** A value as a user would write it. The items of a list are separated by commas. */
export function valueText({ kind }: Option, value: unknown): string {
  if (typeof value !== "number" || value === 0) return String(value);
  if (kind === "bytes") return scaledText(value, BYTES);
  return kind === "duration" ? scaledText(value, DURATIONS) : String(value);
}

/** The word that stands for the value in `--help`. Empty for a boolean. */
export function placeholderOf({ kind, choices, operand }: Option): string {
  if (operand) return "FILE";
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

/**
 * Reads a value.
 *
 * @param value A text or a TOML value.
 * @param source The place of the value, for the error message: `--port` or `"port" in river.toml`.
 * @throws {ConfigError} If the value is malformed or out of range.
 */
export function readValue(option: Option, value: unknown, source: string): unknown {
  const result = parse(option, value);
  if (!(result instanceof Expected)) return result;
  const { wrong = value } = result;
  const text = typeof wrong === "number" ? String(wrong) : JSON.stringify(wrong);
  const shown = option.secret ? "" : ` ${text}`;
  throw new ConfigError(`Bad value${shown} for ${source}: expected ${result.form}`);
}

/** The expected form of a value that has another form. `wrong` is the part that is wrong. */
class Expected {
  readonly form: string;
  readonly wrong?: unknown;

  constructor(form: string, wrong?: unknown) {
    this.form = form;
    this.wrong = wrong;
  }
}

function parse(option: Option, value: unknown): unknown {
  switch (option.kind) {
    case "text":
      return parseText(option, value);
    case "list":
      return parseList(option, value);
    case "boolean":
      if (value === true || value === "true" || value === "1") return true;
      if (value === false || value === "false" || value === "0") return false;
      return new Expected("true or false");
    case "choice":
      if (option.choices!.includes(value as string)) return value;
      return new Expected(option.choices!.join(" or "));
    case "count":
      return parseCount(option, value);
    case "bytes": {
      const bytes = scaled(value, BYTES);
      if (bytes >= (option.min ?? 1) && Number.isSafeInteger(bytes)) return bytes;
      const least = option.min === undefined
        ? "more than 0"
        : `${scaledText(option.min, BYTES)} or more`;
      return new Expected(`a size like 512, 64KiB, 1MiB or 1GiB, ${least}`);
    }
    case "duration": {
      const { min = 0 } = option;
      const ms = scaled(value, DURATIONS);
      if (ms >= min && ms <= MAX_DURATION) return ms;
      return new Expected(`a duration like 500ms, 25s, 5m or 1h, from ${min}ms to 366d`);
    }
  }
}

function parseText({ check }: Option, value: unknown): unknown {
  if (typeof value !== "string" || value.trim() === "") return new Expected("a non-empty value");
  const form = check?.(value);
  return form === undefined ? value : new Expected(form);
}

function parseList({ check, secret }: Option, value: unknown): unknown {
  const items = typeof value === "string" ? [value] : value;
  const fits = (item: unknown) => typeof item === "string" && item.trim() !== "";
  if (!Array.isArray(items) || !items.every(fits) || secret && items.length === 0) {
    return new Expected("one or more non-empty values");
  }
  for (const item of items) {
    const form = check?.(item);
    if (form !== undefined) return new Expected(form, item);
  }
  return items;
}

function parseCount(option: Option, value: unknown): unknown {
  const { auto, min = 0, max = Number.MAX_SAFE_INTEGER } = option;
  if (auto && value === "auto") return value;
  const count = /^[0-9]{1,16}$/.test(scalar(value)) ? Number(value) : NaN;
  if (count >= min && count <= max) return count;
  const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`;
  return new Expected(`a whole number${range}${auto ? ", or auto" : ""}`);
}

/** A text or number as text. Any other value becomes "", which no pattern matches. */
function scalar(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function scaled(value: unknown, units: Readonly<Record<string, number>>): number {
  const match = /^([0-9]{1,16}) ?([A-Za-z]*)$/.exec(scalar(value));
  if (match === null || !Object.hasOwn(units, match[2])) return NaN;
  return Number(match[1]) * units[match[2]];
}

/** Formats a number in the largest unit that divides it. */
function scaledText(value: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units).filter(([unit, size]) => unit !== "" && value % size === 0);
  const [unit, size] = fitting.at(-1)!;
  return `${value / size}${unit}`;
}
