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
    if (format === "json") return write(JSON.stringify({ time, level, message, ...fields }) + "\n");
    const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
    write(`${time} ${level} ${message}${facts.join("")}\n`);
  };
  return { info: log("info"), error: log("error") };
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
