/**
 * The command `river token`: prints a token.
 *
 * @module
 */
import { BadTokenError, mintToken } from "../../access/tokens.ts";
import type { Command } from "../command.ts";
import { ConfigError, type Options } from "../option.ts";
import { SERVER_OPTIONS } from "../options.ts";

/** The options of `river token`. */
export const TOKEN_OPTIONS = {
  publish: {
    kind: "list",
    help: "channel to publish to, or room.* for all that start with room.",
    flagOnly: true,
  },
  subscribe: { kind: "list", help: "channel to subscribe to, or room.*", flagOnly: true },
  operate: {
    kind: "boolean",
    help: "allow reading metrics and channels, and resetting channels",
    flagOnly: true,
  },
  ttl: {
    kind: "duration",
    default: 3_600_000,
    min: 1000,
    help: "how long the token is valid",
    flagOnly: true,
  },
  tokenSecret: {
    ...SERVER_OPTIONS.tokenSecret,
    help: "the server's secret to sign with; if there are several, the first one is used",
  },
  tokenSecretFile: {
    ...SERVER_OPTIONS.tokenSecretFile,
    help: "file that holds the server's secrets, one per line",
  },
  config: { kind: "text", help: "the server's TOML file, which may hold the secret" },
} as const satisfies Options;

/** Prints a token, which is valid for servers with the same secret. */
export const token: Command<typeof TOKEN_OPTIONS> = {
  name: "token",
  about: "prints a token for a server with the same --token-secret",
  usage: "[--publish CHANNEL] [--subscribe CHANNEL] [--operate] [flags]",
  options: TOKEN_OPTIONS,
  notes: [
    "Repeat --publish and --subscribe for more channels. Set RIVER_TOKEN_SECRET rather than the",
    "flag, because flags are visible in the list of processes.",
  ],
  async run({ publish, subscribe, operate, ttl, tokenSecret }, { print }) {
    const [secret] = tokenSecret;
    if (secret === undefined) {
      throw new ConfigError("A token needs a secret to be signed with: set --token-secret");
    }
    if (publish.length === 0 && subscribe.length === 0 && !operate) {
      throw new ConfigError(
        "A token must allow something: set --publish, --subscribe or --operate",
      );
    }
    const claims = { publish, subscribe, operate, expires: Date.now() + ttl };
    try {
      print(`${await mintToken(secret, claims)}\n`);
    } catch (error) {
      if (!(error instanceof BadTokenError)) throw error;
      throw new ConfigError(`Cannot make the token: ${error.message}`);
    }
  },
};
