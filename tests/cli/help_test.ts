import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "../../lib/cli/commands/serve.ts";
import { helpText, optionsTable, overview } from "../../lib/cli/help.ts";
import type { Option } from "../../lib/cli/option.ts";
import { SERVER_OPTIONS } from "../../lib/cli/options.ts";
import { COMMANDS } from "../../main.ts";
import { configOf, kebab, ways } from "../support/options.ts";

Deno.test("overview() shows every command, and every option of the server", () => {
  const rows = overview("9.8.7", COMMANDS).split("\n");
  assertEquals(rows.slice(0, 7), [
    "river 9.8.7: a publish/subscribe push server",
    "",
    "Usage: river [serve] [flags]",
    "       river token [--publish CHANNEL] [--subscribe CHANNEL] [--operate] [flags]",
    "       river backup FILE [--data FILE] [flags]",
    "       river restore FILE [--data FILE] [flags]",
    "       river help COMMAND",
  ]);
  for (const { name, about } of COMMANDS) {
    assert(rows.some((row) => row.startsWith(`  ${name} `) && row.includes(about)), name);
  }
  const flags = helpText(serve).split("\n").filter((row) => row.startsWith("  --"));
  assertEquals(rows.filter((row) => row.startsWith("  --")), flags);
});

Deno.test("helpText() shows every option with its placeholder, meaning and default", () => {
  for (const { name, options } of COMMANDS) {
    const text = helpText(COMMANDS.find((command) => command.name === name)!);
    assert(text.split("\n").every((line) => line.length <= 100), "no line is too wide");
    const rows = text.replaceAll(/\n {38}/g, " ").split("\n");
    assertStringIncludes(rows[0], `river ${name}: `);
    const shown = new Map(rows.map((row) => [/^ {2}(?:--)?([A-Za-z-]+) /.exec(row)?.[1], row]));
    for (const [key, option] of Object.entries<Option>(options)) {
      const row = shown.get(option.operand ? "FILE" : kebab(key)) ?? "";
      assertStringIncludes(row, option.help);
      assertEquals(/ \(default [^ ]+\)$/.test(row), option.default !== undefined, row);
    }
    assertEquals(shown.get("help"), `  --help${" ".repeat(30)}show this help`);
    assertEquals(shown.get("version"), `  --version${" ".repeat(27)}show the version`);
    const count = Object.keys(options).length + 3;
    assertEquals(shown.size, count, "those two besides the options, and rows without a flag");
  }
});

Deno.test("helpText() aligns the options and shows what kind of value each takes", () => {
  const help = helpText(serve).replaceAll(/\n {38}/g, " ");
  for (
    const row of [
      "  --host TEXT                         address to listen on (default 127.0.0.1)",
      "  --port N                            port to listen on; 0 picks a free port (default 9271)",
      "  --config TEXT                       TOML file that sets options by these names",
      "  --max-channels-per-client N         channels that one request, NDJSON line or socket may name (default 128)",
      "  --max-message SIZE                  data of one message (default 64KiB)",
      "  --grace TIME                        how long the shutdown may take (default 10s)",
      "  --client-timeout TIME               longest lifetime of a subscription; 0: no limit (default 0)",
      "  --log-format text|json              format of the log on stderr (default text)",
    ]
  ) assertStringIncludes(help, `\n${row}\n`);
  assertMatch(help, /\n {2}--open {30}let anybody publish [^\n]+\n/);
  assert(help.endsWith(".\n") && !help.endsWith("\n\n"), "one line end at the end");
});

Deno.test("helpText() tells how options are spelt in the environment and the file", () => {
  const help = helpText(serve);
  const ttl = "2h";
  assertStringIncludes(help, `RIVER_HISTORY_TTL=${ttl}`);
  assertStringIncludes(help, `history-ttl = "${ttl}"`);
  for (const [way, given] of ways("historyTtl", ttl)) {
    assertEquals(configOf(given).historyTtl, 7_200_000, way);
  }
});

Deno.test("optionsTable() has one row of four cells an option", () => {
  const table = optionsTable(SERVER_OPTIONS);
  const [head, rule, ...rows] = table.trimEnd().split("\n");
  assertEquals([head, rule], ["| flag | default | what | when exceeded |", "|---|---|---|---|"]);
  assertEquals(rows.map((row) => row.split("|").length), rows.map(() => 6));
  assertEquals(
    rows.map((row) => /^\| `--([a-z-]+)` \|/.exec(row)?.[1]),
    Object.keys(SERVER_OPTIONS).map(kebab),
  );
  assertStringIncludes(
    table,
    "\n| `--max-channels` | 100000 | channels that are published to, at a time; as many again may be only watched | 503 |\n",
  );
  assertStringIncludes(
    table,
    "\n| `--config` | none | TOML file that sets options by these names |  |\n",
  );
});
