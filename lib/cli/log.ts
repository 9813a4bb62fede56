/**
 * Writes log lines, for people or for programs.
 *
 * @module
 */

/** The details of a message, by name. */
export type LogFields = Record<string, string | number>;

/** How important a line is. */
export type Level = "info" | "warn" | "error";

/** All levels, the least important first. */
const LEVELS: readonly Level[] = ["info", "warn", "error"];

/** Writes log lines. */
export interface Log {
  /** Writes a normal event. */
  info(message: string, fields?: LogFields): void;
  /** Writes an event that an operator should look at. An option may be missing, for example. */
  warn(message: string, fields?: LogFields): void;
  /** Writes a failure. */
  error(message: string, fields?: LogFields): void;
  /** The least important level that is written. May be changed at any time. */
  level: Level;
}

/** How the lines of a log are written. */
export type LogFormat = "text" | "json";

/**
 * A line of a log, with its line end.
 *
 * @param time When the event happened.
 */
export function logLine(
  format: LogFormat,
  level: Level,
  message: string,
  fields: LogFields = {},
  time: Date = new Date(),
): string {
  const at = time.toISOString();
  if (format === "json") return escaped({ time: at, level, message, ...fields }) + "\n";
  const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${escaped(value)}`);
  return `${at} ${level} ${message}${facts.join("")}\n`;
}

/**
 * A log that writes one line per event.
 *
 * @param write Takes a whole line, including its line end.
 * @param options Lines below `level` are not written. `now` returns the time of a line.
 */
export function createLog(
  format: LogFormat,
  write: (line: string) => void,
  { level = "info", now = () => new Date() }: { level?: Level; now?: () => Date } = {},
): Log {
  const line = (level: Level) => (message: string, fields: LogFields = {}) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(log.level)) return;
    write(logLine(format, level, message, fields, now()));
  };
  const log: Log = { info: line("info"), warn: line("warn"), error: line("error"), level };
  return log;
}

/**
 * A value in JSON, without characters that change how a terminal or viewer shows the rest of the
 * line. JSON itself does not escape C1 controls, line separators or marks of text direction.
 */
function escaped(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    // Escape each code unit, because some of these characters have two.
    (char) =>
      char.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
}

/** An error as fields of a log line. */
export function errorFields(error: unknown): LogFields {
  if (error instanceof Error) return { error: error.message, stack: error.stack ?? "" };
  try {
    return { error: String(error) };
  } catch {
    return { error: "something that cannot be printed" };
  }
}
