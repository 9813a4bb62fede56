/**
 * Writes the texts of `--help`, and the table of options in docs/options.md.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { defaultText, nameOf, type Options, placeholderOf } from "./option.ts";

/** The start of the second column and the longest line, in characters. */
const COLUMN = 38;
const WIDTH = 100;

/**
 * The text of `river help`: all commands, and the options of the default command.
 *
 * @param commands All commands. The first is the default.
 */
export function overview(version: string, commands: readonly Command[]): string {
  const [first, ...others] = commands;
  return lines([
    `river ${version}: a publish/subscribe push server`,
    "",
    `Usage: river [${first.name}] ${first.usage}`,
    ...others.map(({ name, usage }) => `       river ${name} ${usage}`),
    "       river help COMMAND",
    "",
    "Commands:",
    ...commands.map(({ name, about }, i) => row(name, i === 0 ? `${about} (default)` : about)),
    "",
    `Flags of river ${first.name}:`,
    ...flagRows(first.options),
    "",
    ...first.notes,
  ]);
}

/** The text of `river COMMAND --help`. */
export function helpText({ name, about, usage, options, notes }: Command): string {
  return lines([
    `river ${name}: ${about}`,
    "",
    `Usage: river ${name} ${usage}`,
    "",
    ...flagRows(options),
    "",
    ...notes,
  ]);
}

/** The table of options in docs/options.md, in Markdown. */
export function optionsTable(options: Options): string {
  const rows = Object.entries(options).map(([key, option]) => {
    const { help, whenExceeded = "" } = option;
    const value = defaultText(option) ?? "none";
    return `| \`--${nameOf(key)}\` | ${value} | ${help} | ${whenExceeded} |`;
  });
  return lines(["| flag | default | what | when exceeded |", "|---|---|---|---|", ...rows]);
}

function flagRows(options: Options): string[] {
  const own = Object.entries(options).map(([key, option]) => {
    const value = placeholderOf(option);
    const text = defaultText(option);
    const help = text === undefined ? option.help : `${option.help} (default ${text})`;
    return row(option.operand ? value : `--${nameOf(key)}${value && ` ${value}`}`, help);
  });
  return [...own, row("--help", "show this help"), row("--version", "show the version")];
}

function row(left: string, right: string): string {
  const rows = [`  ${left}`.padEnd(COLUMN)];
  for (const word of right.split(" ")) {
    const last = rows.at(-1)!;
    if (last.length + 1 + word.length > WIDTH) rows.push(" ".repeat(COLUMN) + word);
    else rows[rows.length - 1] = last.length > COLUMN ? `${last} ${word}` : last + word;
  }
  return rows.join("\n");
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
