import { assertEquals, assertRejects } from "@std/assert";
import { token } from "../../../lib/cli/commands/token.ts";
import { ConfigError } from "../../../lib/cli/option.ts";
import { errorOf, type Given, runOf, SECRET } from "../../support/options.ts";

/** What `river token` is run with. */
function tokenOf(...args: string[]) {
  return runOf(token, { args: ["token", ...args], env: { RIVER_TOKEN_SECRET: SECRET } }).values;
}

Deno.test("readOptions() takes the flags of river token", () => {
  const nothing = {
    publish: [],
    subscribe: [],
    operate: false,
    ttl: 3_600_000,
    tokenSecret: [SECRET],
    tokenSecretFile: undefined,
    config: undefined,
  };
  assertEquals(tokenOf("--publish", "a", "--publish=room.*", "--ttl=90s"), {
    ...nothing,
    publish: ["a", "room.*"],
    ttl: 90_000,
  });
  assertEquals(tokenOf("--subscribe=a", "--operate"), {
    ...nothing,
    subscribe: ["a"],
    operate: true,
  });
});

Deno.test("readOptions() takes the secret of river token from flag, environment or file", () => {
  const [other, third] = [SECRET.toUpperCase(), SECRET.repeat(2)];
  const args = ["token", "--operate"];
  const file = `token-secret = ["${third}"]\nport = 80`;
  const env = { RIVER_TOKEN_SECRET: `${other} ${SECRET}`, RIVER_PORT: "many" };
  const secretsOf = (given: Given) => runOf(token, given).values.tokenSecret;
  const flags = [...args, `--token-secret=${SECRET}`, `--token-secret=${third}`];
  const config = "--config=river.toml";
  assertEquals(secretsOf({ args: [...flags, config], env, file }), [SECRET, third]);
  assertEquals(secretsOf({ args: [...args, config], env, file }), [other, SECRET]);
  assertEquals(secretsOf({ args: [...args, config], file }), [third]);
});

for (
  const [args, expected] of [
    [["--port=80"], "Unknown flag --port; try --help"],
    [["x"], 'Unknown argument "x"; try --help'],
    [
      ["--ttl=999ms"],
      'Bad value "999ms" for --ttl: expected a duration like 500ms, 25s, 5m or 1h, from 1000ms to 366d',
    ],
    [["--publish="], 'Bad value [""] for --publish: expected one or more non-empty values'],
  ] as const
) {
  Deno.test(`readOptions() refuses river token ${args.join(" ").slice(0, 20)}`, () => {
    assertEquals(errorOf({ args: ["token", ...args] }), expected);
  });
}

Deno.test("readOptions() lets the flags of river token come from nowhere else", () => {
  const { publish, ttl } = runOf(token, { args: ["token"], env: { RIVER_TTL: "" } }).values;
  assertEquals([publish, ttl], [[], 3_600_000]);
  const unknown = "Unknown variable RIVER_TTL in the environment";
  assertEquals(errorOf({ args: ["token"], env: { RIVER_TTL: "5m" } }).slice(0, 45), unknown);
});

for (
  const [values, expected] of [
    [{ operate: true }, "A token needs a secret to be signed with: set --token-secret"],
    [
      { tokenSecret: [SECRET] },
      "A token must allow something: set --publish, --subscribe or --operate",
    ],
  ] as const
) {
  Deno.test(`river token says: ${expected}`, async () => {
    const nothing = runOf(token, { args: ["token"] }).values as Parameters<typeof token.run>[0];
    const terminal = { version: "0.0.0", print() {}, printError() {}, reread: () => ({}) };
    const run = async () => await token.run({ ...nothing, ...values }, terminal, []);
    assertEquals((await assertRejects(run, ConfigError)).message, expected);
  });
}
