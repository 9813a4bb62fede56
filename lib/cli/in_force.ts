/**
 * Shows the options in force to operators, without secrets.
 *
 * @module
 */
import { stringify } from "@std/toml";
import { defaultOf, defaultText, nameOf, type Option, valueText } from "./option.ts";
import { SERVER_OPTIONS, type ServerConfig } from "./options.ts";

/** The options that differ from their defaults, by name, for the log. A secret shows as `set`. */
export function optionsInForce(config: ServerConfig): Record<string, string> {
  const facts: Record<string, string> = {};
  for (const [key, option] of entries()) {
    const value = config[key];
    if (isDefault(option, value) || option.flagOnly) continue;
    facts[nameOf(key)] = option.secret ? "set" : valueText(option, value);
  }
  return facts;
}

/**
 * All options as a TOML file for `--config`. A secret is only a comment in it, and must be set
 * elsewhere.
 */
export function tomlOf(config: ServerConfig): string {
  const lines = entries().map(([key, option]) => {
    const name = nameOf(key);
    const value = config[key];
    if (option.flagOnly || key === "config") return "";
    if (option.secret) return `# ${name} is ${isDefault(option, value) ? "not set" : "set"}\n`;
    if (value === undefined) return `# ${name} is not set\n`;
    const written = Array.isArray(value) || typeof value === "boolean"
      ? value
      : valueText(option, value);
    return stringify({ [name]: written });
  });
  return lines.join("");
}

function entries(): [keyof ServerConfig, Option][] {
  return Object.entries(SERVER_OPTIONS) as [keyof ServerConfig, Option][];
}

function isDefault(option: Option, value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return value === defaultOf(option) || String(value) === defaultText(option);
}
