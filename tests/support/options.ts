/**
 * Options as they are given to the program, for tests of how they are read.
 *
 * @module
 */
import { assertThrows } from "@std/assert";
import { type Command, type Invocation, readCommandLine } from "../../lib/cli/command.ts";
import { checkServer, serve } from "../../lib/cli/commands/serve.ts";
import { ConfigError } from "../../lib/cli/option.ts";
import type { ServerConfig } from "../../lib/cli/options.ts";
import { COMMANDS } from "../../main.ts";

export interface Given {
  args?: string[];
  env?: Record<string, string>;
  /** The text of river.toml, the only file there is. */
  file?: string;
}

export function orderOf({ args = [], env = {}, file }: Given): Invocation {
  return readCommandLine(COMMANDS, {
    args,
    env,
    readFile: (path) => {
      if (file === undefined || path !== "river.toml") {
        throw new Error(`no such file: ${path}\nat a place of no interest`);
      }
      return file;
    },
  });
}

/** What a command is run with. */
export function runOf(command: Command, given: Given) {
  const order = orderOf(given);
  if (order.kind !== "run" || order.command !== command) {
    throw new Error(`not a run: ${order.kind}`);
  }
  return order;
}

export function configOf(given: Given): ServerConfig {
  const config = runOf(serve, given).values as ServerConfig;
  checkServer(config);
  return config;
}

/** The message of the error that reading throws. */
export function errorOf(given: Given): string {
  return assertThrows(() => {
    const order = orderOf(given);
    if (order.kind === "run" && order.command === serve) checkServer(order.values as ServerConfig);
  }, ConfigError).message;
}

/** As the flag and the file have it. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());
}

/** As the environment has it. */
export function variableOf(key: string): string {
  return `RIVER_${kebab(key).toUpperCase().replaceAll("-", "_")}`;
}

/** The three ways to give an option a value. `toml` is the value as the file spells it. */
export function ways(key: string, value: string, toml = JSON.stringify(value)): [string, Given][] {
  const [name, variable] = [kebab(key), variableOf(key)];
  return [
    [`--${name}`, { args: [`--${name}=${value}`] }],
    [variable, { env: { [variable]: value } }],
    [`"${name}" in river.toml`, { args: ["--config", "river.toml"], file: `${name} = ${toml}` }],
  ];
}

/** As short as a secret may be. */
export const SECRET = "0123456789abcdef0123456789abcdef";

export const DEFAULTS: ServerConfig = {
  host: "127.0.0.1",
  port: 9271,
  config: undefined,
  history: 100,
  historyTtl: 3_600_000,
  maxMemory: 128 * 1024 * 1024,
  maxMessage: 64 * 1024,
  maxBody: 1024 * 1024,
  maxBodies: 64 * 1024 * 1024,
  maxBatch: 50_000,
  bodyTimeout: 10_000,
  maxQueue: 1024 * 1024,
  maxInbox: 16 * 1024 * 1024,
  maxUnsent: 256 * 1024 * 1024,
  maxConnections: 0,
  maxConnectionsPerClient: "auto",
  connectionRate: 0,
  publishRate: 0,
  trustProxy: false,
  maxChannels: 100_000,
  maxChannelsPerClient: 128,
  maxIds: 100_000,
  idTtl: 300_000,
  clientTimeout: 0,
  heartbeat: 25_000,
  data: undefined,
  dataSync: "normal",
  maxData: 2 ** 30,
  maxUnwritten: 2 ** 26,
  origin: [],
  publishKey: undefined,
  publishKeyFile: undefined,
  tokenSecret: [],
  tokenSecretFile: undefined,
  open: false,
  drainDelay: 0,
  grace: 10_000,
  logFormat: "text",
  logLevel: "info",
  check: false,
  printConfig: false,
};

/** What errors say that they expect of a size and of a duration. */
export const BYTES = "a size like 512, 64KiB, 1MiB or 1GiB, more than 0";
export const DURATION = "a duration like 500ms, 25s, 5m or 1h, from 0ms to 366d";
