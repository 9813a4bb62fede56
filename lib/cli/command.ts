/**
 * Defines commands, and reads which one the command line asks for.
 *
 * @module
 */
import { hint, readOptions, sharedKeys, type Sources } from "./config.ts";
import { ConfigError, type Options, type ValuesOf } from "./option.ts";

/** The parts of the process that a command may use. */
export interface Terminal {
  /** The version of river. */
  readonly version: string;
  /** Writes to stdout. */
  print(text: string): void;
  /** Writes to stderr. Never throws. */
  printError(text: string): void;
  /**
   * Reads the options of the running command again, because its files may have changed.
   *
   * @throws {ConfigError} If an option is wrong.
   */
  reread(): ValuesOf<Options>;
}

/** A command. A new command is one file in commands/, plus its name in the list in main.ts. */
export interface Command<O extends Options = Options> {
  /** The first word of the command line. */
  readonly name: string;
  /** A description in one line, which starts with a verb: `serves until ..`. */
  readonly about: string;
  /** The arguments after its name, for `--help`: `[--publish CHANNEL] [flags]`. */
  readonly usage: string;
  /** The options that it takes. */
  readonly options: O;
  /** The lines at the end of `--help`. */
  readonly notes: readonly string[];
  /**
   * Runs the command to its end.
   *
   * @param ignored Names of variables that look like river's, but that an orchestrator has set.
   * @throws {ConfigError} If values contradict each other, or the command cannot use them.
   */
  run(
    values: ValuesOf<O>,
    terminal: Terminal,
    ignored: readonly string[],
  ): Promise<void> | void;
}

/** The action that the command line asks for. */
export type Invocation =
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
 * @param commands All commands. The first is the default.
 * @throws {ConfigError} If the command is unknown, or one of its options is wrong.
 */
export function readCommandLine(
  commands: readonly Command[],
  sources: Omit<Sources, "shared">,
): Invocation {
  const [word, ...rest] = sources.args;
  if (word === "help") return { kind: "help", command: commandToExplain(commands, rest) };
  const isNamed = word !== undefined && /^[a-z]/i.test(word);
  const command = isNamed ? findCommand(commands, word) : commands[0];
  const reading = readOptions(command.options, {
    ...sources,
    shared: [...new Set(commands.flatMap(({ options }) => sharedKeys(options)))],
    args: isNamed ? rest : sources.args,
  });
  if (reading === "version") return { kind: "version" };
  if (reading === "help") return { kind: "help", command: isNamed ? command : undefined };
  return { kind: "run", command, ...reading };
}

function commandToExplain(
  commands: readonly Command[],
  words: readonly string[],
): Command | undefined {
  if (words.length > 1) throw new ConfigError("Expected at most one command: river help COMMAND");
  return words.length === 0 || words[0] === "help" ? undefined : findCommand(commands, words[0]);
}

function findCommand(commands: readonly Command[], word: string): Command {
  const command = commands.find(({ name }) => name === word);
  if (command !== undefined) return command;
  const meant = hint(word, [...commands.map(({ name }) => name), "help"]);
  throw new ConfigError(`Unknown command ${JSON.stringify(word)}${meant || "; try river help"}`);
}
