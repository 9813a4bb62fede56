import { assertEquals } from "@std/assert";
import { type Command, readCommandLine } from "../../lib/cli/command.ts";
import { COMMANDS } from "../../main.ts";
import { errorOf, orderOf } from "../support/options.ts";

for (
  const [words, error] of [
    [["start"], 'Unknown command "start"; try river help'],
    [["Serve"], 'Unknown command "Serve"; did you mean serve?'],
    [["tokne", "--operate"], 'Unknown command "tokne"; did you mean token?'],
    [["hlep"], 'Unknown command "hlep"; did you mean help?'],
    [["help", "tokens"], 'Unknown command "tokens"; did you mean token?'],
    [["help", "token", "serve"], "Expected at most one command: river help COMMAND"],
  ] as const
) {
  Deno.test(`readCommandLine() refuses the command "${words.join(" ")}"`, () => {
    assertEquals(errorOf({ args: [...words] }), error);
  });
}

Deno.test("readOptions() shows help or the version when asked, whatever else is set", () => {
  const env = { RIVER_PORT: "many" };
  for (const args of [["--help"], ["-h"], ["--port=many", "--help"], ["--version", "--help"]]) {
    assertEquals(orderOf({ args, env }), { kind: "help", command: undefined });
  }
  for (const command of COMMANDS) {
    for (const args of [[command.name, "--help"], ["help", command.name]]) {
      assertEquals(orderOf({ args, env }), { kind: "help", command });
    }
    assertEquals(orderOf({ args: [command.name, "-V"], env }), { kind: "version" });
  }
  for (const args of [["help"], ["help", "help"]]) {
    assertEquals(orderOf({ args, env }), { kind: "help", command: undefined });
  }
  for (const args of [["--version"], ["-V"], ["--config=lost.toml", "--version"]]) {
    assertEquals(orderOf({ args, env }), { kind: "version" });
  }
  for (const flag of ["--help", "--version"]) {
    assertEquals(errorOf({ args: [flag, "extra"] }), 'Unknown argument "extra"; try --help');
  }
});

/** A command with an option that no other has. */
const GREET: Command = {
  name: "greet",
  about: "greets",
  usage: "[flags]",
  options: { greeting: { kind: "text", help: "what it says" } },
  notes: [],
  run() {},
};

Deno.test("readCommandLine() takes the options of every command from the environment and the file", () => {
  const commands = [...COMMANDS, GREET];
  const file = 'greeting = "c"\nport = 1';
  const order = (args: string[], env: Record<string, string> = {}) => {
    const order = readCommandLine(commands, { args, env, readFile: () => file });
    return order.kind === "run" ? [order.values.greeting, order.values.port] : undefined;
  };
  assertEquals(order(["greet"], { RIVER_GREETING: "b" }), ["b", undefined]);
  assertEquals(order(["greet", "--greeting=a"], { RIVER_GREETING: "b" }), ["a", undefined]);
  // They share the environment and the file, so those of others are not mistakes.
  assertEquals(order(["serve", "--config=f"], { RIVER_GREETING: "b" }), [undefined, 1]);
});
