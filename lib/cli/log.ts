/**
 * Logs on stderr, for people or for programs.
 *
 * @module
 */

/** Facts that go with a message. */
export type LogFields = Record<string, string | number>;

/** Writes log lines. */
export interface Log {
  /** Writes what happened in the normal course of things. */
  info(message: string, fields?: LogFields): void;
  /** Writes what should be looked at: a client was refused, or an option is missing. */
  warn(message: string, fields?: LogFields): void;
  /** Writes what went wrong. */
  error(message: string, fields?: LogFields): void;
}

/**
 * A log that writes one line an event.
 *
 * @param write Takes a whole line with its line end.
 */
export function createLog(
  format: "text" | "json",
  write: (line: string) => void,
  now: () => Date = () => new Date(),
): Log {
  const log = (level: string) => (message: string, fields: LogFields = {}) => {
    const time = now().toISOString();
    if (format === "json") return write(escaped({ time, level, message, ...fields }) + "\n");
    const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${escaped(value)}`);
    write(`${time} ${level} ${message}${facts.join("")}\n`);
  };
  return { info: log("info"), warn: log("warn"), error: log("error") };
}

/**
 * A value in JSON, without any character that a terminal or viewer takes for more than itself: JSON leaves
 * the C1 controls, line separators and marks that turn the direction of text as they are.
 */
function escaped(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    // By code units: some of these characters have two.
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
