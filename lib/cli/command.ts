/**
 * Commands: what each is, and how the command line picks one.
 *
 * @module
 */
import { hint, readOptions, sharedKeys, type Sources } from "./config.ts";
import { ConfigError, type Options, type ValuesOf } from "./option.ts";

/** What a command may use of the process. */
export interface Terminal {
  /** River's version. */
  readonly version: string;
  /** Writes to stdout. */
  print(text: string): void;
  /** Writes to stderr; never throws. */
  printError(text: string): void;
  /**
   * Reads the options of the running command again: its file may have changed.
   *
   * @throws {ConfigError} If one of them is wrong.
   */
  reread(): ValuesOf<Options>;
}

/** A command. A new one is one file in commands/, and its name in the list of main.ts. */
export interface Command<O extends Options = Options> {
  /** The first word of the command line. */
  readonly name: string;
  /** What it does, in one line. */
  readonly about: string;
  /** What follows its name, for `--help`: `[--publish CHANNEL] [flags]`. */
  readonly usage: string;
  /** Its flags. */
  readonly options: O;
  /** Said at the end of `--help`, a line each. */
  readonly notes: readonly string[];
  /**
   * Runs it, until it is done.
   *
   * @param ignored Names of variables that look like river's, but are not.
   * @throws {ConfigError} If the values make no sense together.
   */
  run(
    values: ValuesOf<O>,
    terminal: Terminal,
    ignored: readonly string[],
  ): Promise<void> | void;
}

/** What the command line asks for. */
export type Order =
  | {
    readonly kind: "run";
    readonly command: Command;
    readonly values: ValuesOf<Options>;
    readonly ignored: readonly string[];
  }
  | { readonly kind: "help"; readonly command?: Command }
  | { readonly kind: "version" };

/**
 * Reads the command line.
 *
 * @param commands All commands. The first is run where none is named.
 * @throws {ConfigError} If the command, or one of its options, is wrong.
 */
export function readOrder(
  commands: readonly Command[],
  sources: Omit<Sources, "shared">,
): Order {
  const [word, ...rest] = sources.args;
  if (word === "help") return { kind: "help", command: helpedOf(commands, rest) };
  const isNamed = word !== undefined && /^[a-z]/i.test(word);
  const command = isNamed ? named(commands, word) : commands[0];
  const reading = readOptions(command.options, {
    ...sources,
    shared: [...new Set(commands.flatMap(({ options }) => sharedKeys(options)))],
    args: isNamed ? rest : sources.args,
  });
  if (reading === "version") return { kind: "version" };
  if (reading === "help") return { kind: "help", command: isNamed ? command : undefined };
  return { kind: "run", command, ...reading };
}

function helpedOf(commands: readonly Command[], words: readonly string[]): Command | undefined {
  if (words.length > 1) throw new ConfigError("Expected at most one command: river help COMMAND");
  return words.length === 0 || words[0] === "help" ? undefined : named(commands, words[0]);
}

function named(commands: readonly Command[], word: string): Command {
  const command = commands.find(({ name }) => name === word);
  if (command !== undefined) return command;
  const meant = hint(word, [...commands.map(({ name }) => name), "help"]);
  throw new ConfigError(`Unknown command ${JSON.stringify(word)}${meant || "; try river help"}`);
}
