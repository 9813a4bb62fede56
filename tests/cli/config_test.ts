import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import { readCommandLine } from "../../lib/cli/command.ts";
import { serve } from "../../lib/cli/commands/serve.ts";
import { ConfigError } from "../../lib/cli/option.ts";
import { SERVER_OPTIONS, type ServerConfig } from "../../lib/cli/options.ts";
import { COMMANDS } from "../../main.ts";
import {
  BYTES,
  configOf,
  DEFAULTS,
  DURATION,
  errorOf,
  kebab,
  orderOf,
  SECRET,
  variableOf,
  ways,
} from "../support/options.ts";

Deno.test("readOptions() gives the documented defaults when nothing is set", () => {
  for (const args of [[], ["serve"]]) {
    assertEquals(orderOf({ args }), {
      kind: "run",
      command: serve,
      values: DEFAULTS,
      ignored: [],
    });
  }
});

/** A value other than the default for every option: as it is written, and as it is read. */
/** Options that name a file, or that only a flag sets: they have tests of their own. */
type Special = "config" | "publishKeyFile" | "tokenSecretFile" | "check" | "printConfig";

const OTHERS: { [N in Exclude<keyof ServerConfig, Special>]: [string, ServerConfig[N]] } = {
  host: ["localhost", "localhost"],
  port: ["80", 80],
  history: ["7", 7],
  historyTtl: ["2h", 7_200_000],
  maxMemory: ["1GiB", 2 ** 30],
  maxMessage: ["32KiB", 32_768],
  maxBody: ["2MiB", 2 ** 21],
  maxBodies: ["3MiB", 3 * 2 ** 20],
  maxBatch: ["5", 5],
  bodyTimeout: ["4s", 4000],
  maxQueue: ["512", 512],
  maxInbox: ["2MiB", 2 * 1024 * 1024],
  maxUnsent: ["64MiB", 2 ** 26],
  maxConnections: ["10", 10],
  maxConnectionsPerClient: ["6", 6],
  connectionRate: ["8", 8],
  publishRate: ["9", 9],
  trustProxy: ["true", true],
  maxChannels: ["11", 11],
  maxChannelsPerClient: ["12", 12],
  maxIds: ["13", 13],
  idTtl: ["1d", 86_400_000],
  clientTimeout: ["500ms", 500],
  heartbeat: ["1m", 60_000],
  data: ["river.db", "river.db"],
  dataSync: ["full", "full"],
  maxData: ["32MiB", 2 ** 25],
  maxUnwritten: ["2MiB", 2 ** 21],
  origin: ["*.example.com", ["*.example.com"]],
  publishKey: ["s3cret", "s3cret"],
  tokenSecret: [SECRET, [SECRET]],
  open: ["true", true],
  drainDelay: ["2s", 2000],
  grace: ["3", 3000],
  logFormat: ["json", "json"],
  logLevel: ["warn", "warn"],
};

for (const [name, [written, value]] of Object.entries(OTHERS)) {
  Deno.test(`readOptions() takes ${name} from flag, environment and file, and nothing else`, () => {
    for (const [way, given] of ways(name, written)) {
      const config = way.endsWith(".toml") ? "river.toml" : undefined;
      // Behind a proxy a server needs a key, or this.
      const open = name === "trustProxy" || name === "open";
      const args = [...given.args ?? [], ...open && name !== "open" ? ["--open"] : []];
      assertEquals(configOf({ ...given, args }), { ...DEFAULTS, config, open, [name]: value }, way);
    }
  });
}

Deno.test("readOptions() takes every flag with its value as the next word", () => {
  const flags = Object.entries(OTHERS).flatMap(([name, [written]]) =>
    name === "open" || name === "trustProxy" ? [`--${kebab(name)}`] : [`--${kebab(name)}`, written]
  );
  const values = Object.entries(OTHERS).map(([name, [, value]]) => [name, value]);
  assertEquals(configOf({ args: ["serve", ...flags] }), {
    ...DEFAULTS,
    ...Object.fromEntries(values),
  });
});

Deno.test("readOptions() takes TOML's own numbers, booleans and lists", () => {
  const file =
    'port = 80\nmax-queue = 1_000\nopen = true\ngrace = 3\norigin = ["a.test", "b.test"]';
  assertEquals(configOf({ args: ["--config", "river.toml"], file }), {
    ...DEFAULTS,
    config: "river.toml",
    port: 80,
    maxQueue: 1000,
    open: true,
    grace: 3000,
    origin: ["a.test", "b.test"],
  });
});

Deno.test("readOptions() takes open = false of a file, unless the environment says otherwise", () => {
  const file = "open = false";
  const args = ["--config=river.toml"];
  assertEquals(configOf({ args, file }).open, false);
  assertEquals(configOf({ args, file, env: { RIVER_OPEN: "1" } }).open, true);
});

Deno.test("readOptions() lets flags win over the environment, and both over the file", () => {
  const file = 'history = 1\nport = 1\nheartbeat = "1s"\norigin = ["file.test", "too.test"]';
  const env = { RIVER_PORT: "2", RIVER_HISTORY: "2", RIVER_ORIGIN: "env.test" };
  const config = configOf({
    args: ["--config=river.toml", "--history=3", "--origin=flag.test"],
    env,
    file,
  });
  const { history, port, heartbeat, origin } = config;
  assertEquals({ history, port, heartbeat, origin }, {
    history: 3,
    port: 2,
    heartbeat: 1000,
    origin: ["flag.test"],
  });
  const { origin: without } = configOf({ args: ["--config=river.toml"], env, file });
  assertEquals(without, ["env.test"]);
});

Deno.test("readOptions() lets a bad value be overridden", () => {
  const { port } = configOf({ args: ["--port=3"], env: { RIVER_PORT: "many" } });
  assertEquals(port, 3);
});

Deno.test("readOptions() finds the file by RIVER_CONFIG, but --config wins", () => {
  const file = "port = 80";
  assertEquals(configOf({ env: { RIVER_CONFIG: "river.toml" }, file }).port, 80);
  const both = { args: ["--config=river.toml"], env: { RIVER_CONFIG: "other.toml" }, file };
  assertEquals(configOf(both).port, 80);
});

Deno.test("readOptions() reads no file unless it is told to", () => {
  assertEquals(configOf({ file: "port = 80" }).port, 9271);
});

Deno.test("readOptions() takes an empty variable for one that is not set, unless it is a secret", () => {
  const variables = Object.entries(SERVER_OPTIONS)
    .filter(([, option]) => !("secret" in option))
    .map(([key]) => variableOf(key));
  const env = Object.fromEntries(variables.map((variable) => [variable, ""]));
  assertEquals(configOf({ env }), DEFAULTS);
});

Deno.test("readOptions() refuses a blank value, which must never mean none", () => {
  for (const blank of [" ", "\t\n", "\u00a0"]) {
    for (
      const [name, shown] of [["host", ` ${JSON.stringify(blank)}`], ["publishKey", ""]] as const
    ) {
      for (const [way, given] of ways(name, blank)) {
        assertEquals(errorOf(given), `Bad value${shown} for ${way}: expected a non-empty value`);
      }
    }
    for (const name of ["port", "maxBody", "grace", "open", "logFormat"]) {
      const variable = variableOf(name);
      assertMatch(errorOf({ env: { [variable]: blank } }), /^Bad value " *.*" for RIVER_/);
    }
    assertMatch(errorOf({ env: { RIVER_CONFIG: blank } }), /^Cannot read the config file /);
    assertEquals(configOf({ env: { RIVER_ORIGIN: blank } }).origin, []);
  }
});

Deno.test("readOptions() lets --open=0 and --open=1 win over the environment, and both over the file", () => {
  const openOf = (flags: string[], variable: string, file: string) =>
    configOf({
      args: ["--config=river.toml", ...flags],
      env: { RIVER_OPEN: variable },
      file: `open = ${file}`,
    }).open;
  assertEquals(openOf(["--open=0"], "1", "true"), false);
  assertEquals(openOf(["--open=false"], "true", "true"), false);
  assertEquals(openOf(["--open=1"], "0", "false"), true);
  assertEquals(openOf(["--open"], "0", "false"), true);
  assertEquals(openOf([], "0", "true"), false);
});

Deno.test("readOptions() refuses a flag without its value", () => {
  const expected = new Map([
    ["host", "a non-empty value"],
    ["port", "a whole number from 0 to 65535"],
    ["max-body", BYTES],
    ["grace", DURATION],
    ["log-format", "text or json"],
  ]);
  for (const [name, what] of expected) {
    for (const args of [[`--${name}`], [`--${name}=`], [`--${name}`, "--open"]]) {
      assertEquals(errorOf({ args }), `Bad value "" for --${name}: expected ${what}`);
    }
  }
  assertEquals(
    errorOf({ args: ["--origin"] }),
    'Bad value [""] for --origin: expected one or more non-empty values',
  );
});

Deno.test("readOptions() refuses a flag that is given twice, unless it is a list", () => {
  for (const args of [["--port", "80", "--port=81"], ["--port=80", "--port=80"]]) {
    assertEquals(errorOf({ args }), "--port is given 2 times: give it once");
  }
  assertEquals(
    errorOf({ args: Array(3).fill("--config=river.toml") }),
    "--config is given 3 times: give it once",
  );
  for (const args of [["--open", "--open"], ["--open", "--open=false"], ["--open=0", "--open=0"]]) {
    assertEquals(errorOf({ args }), "--open is given 2 times: give it once");
  }
});

for (
  const [flag, shown, cure] of [
    ["--frobnicate", "--frobnicate", "try --help"],
    ["--frobnicate=1", "--frobnicate", "try --help"],
    ["--Port=80", "--Port", "did you mean --port?"],
    ["--prot=80", "--prot", "did you mean --port?"],
    ["--max_body=5", "--max_body", "did you mean --max-body?"],
    [
      "--maxConnectionsPerClient=5",
      "--maxConnectionsPerClient",
      "did you mean --max-connections-per-client?",
    ],
    ["--max-conn=5", "--max-conn", "did you mean --max-connections?"],
    ["--pubish-key=x", "--pubish-key", "did you mean --publish-key?"],
    ["--halp", "--halp", "did you mean --help?"],
    ["--no-port", "--no-port", "did you mean --port?"],
    ["-p", "-p", "try --help"],
    ["-1", "-1", "try --help"],
    ["--constructor", "--constructor", "try --help"],
    ["--__proto__.port=1", "--__proto__", "try --help"],
    ["--prot.x=1", "--prot", "did you mean --port?"],
    [`--${"port".repeat(20)}`, `--${"port".repeat(20)}`, "try --help"],
    ["-_", "-_", "try --help"],
    ["--_=1", "--_", "try --help"],
  ]
) {
  Deno.test(`readOptions() refuses the unknown flag ${flag}`, () => {
    assertEquals(errorOf({ args: [flag] }), `Unknown flag ${shown}; ${cure}`);
  });
}

Deno.test("readOptions() names the first of several unknown flags, even next to --help", () => {
  assertEquals(errorOf({ args: ["--help", "--uno", "--due"] }), "Unknown flag --uno; try --help");
});

Deno.test("readOptions() names the flag whose value is an empty word, as an unset variable leaves it", () => {
  const empty = "expected a non-empty value";
  for (
    const [args, message] of [
      [["--publish-key", ""], `Bad value for --publish-key: ${empty}`],
      [["serve", "--publish-key", "", "--open"], `Bad value for --publish-key: ${empty}`],
      [["--host", ""], `Bad value "" for --host: ${empty}`],
      [
        ["--token-secret", SECRET, "--token-secret", ""],
        "Bad value for --token-secret: expected one or more non-empty values",
      ],
    ] as const
  ) {
    assertEquals(errorOf({ args: [...args] }), message);
  }
  assertEquals(errorOf({ args: ["--open", ""] }), 'Unknown argument ""; try --help');
});

Deno.test("readOptions() refuses words that are not commands", () => {
  const refused: [string[], string][] = [
    [["serve", "serve"], "serve"],
    [["--open", "serve"], "serve"],
    [["9271"], "9271"],
    [["--open", "now"], "now"],
    [["--open", "true"], "true"],
    [["--open", "false"], "false"],
    [["--host", "--open", "0.0.0.0"], "0.0.0.0"],
    [["serve", "--", "--port"], "--port"],
    [["--", "--open"], "--open"],
    [["--host=0.0.0.0", "--", "--open=true"], "--open=true"],
    [["-"], "-"],
  ];
  for (const [args, shown] of refused) {
    assertEquals(errorOf({ args }), `Unknown argument "${shown}"; try --help`);
  }
});

Deno.test("readOptions() ignores variables of others, and those of the client commands", () => {
  const env = { PORT: "80", HOST: "::", RIVER_URL: "http://river.test", RIVER_TOKEN: "x" };
  assertEquals(configOf({ env }), DEFAULTS);
  assertEquals(configOf({ env: { RIVERSIDE: "1", river_port: "80" } }), DEFAULTS);
});

for (
  const [name, cure] of [
    ["RIVER_PRT", "; did you mean RIVER_PORT?"],
    ["RIVER_MAX_CHANEL", "; did you mean RIVER_MAX_CHANNELS?"],
    ["RIVER_MAX_CONNECTION_PER_CLIENT", "; did you mean RIVER_MAX_CONNECTIONS_PER_CLIENT?"],
    ["RIVER_PUBLISHKEY", "; did you mean RIVER_PUBLISH_KEY?"],
    ["RIVER_TOKEN_SECRETS", "; did you mean RIVER_TOKEN_SECRET?"],
    ["RIVER_FROBNICATE", ""],
    ["RIVER_", ""],
  ]
) {
  Deno.test(`readOptions() refuses the unknown variable ${name}, unless it is empty`, () => {
    const error = `Unknown variable ${name} in the environment${cure}`;
    for (const args of [["serve"], ["token", "--operate"]]) {
      assertEquals(errorOf({ args, env: { [name]: "secret value" } }), error);
    }
    assertEquals(configOf({ env: { [name]: "" } }), DEFAULTS);
  });
}

for (
  const [file, error] of [
    ["frobnicate = 1", 'Unknown option "frobnicate" in river.toml'],
    ["Port = 1", 'Unknown option "Port" in river.toml; did you mean port?'],
    ["max_body = 1", 'Unknown option "max_body" in river.toml; did you mean max-body?'],
    ["historyTtl = 1", 'Unknown option "historyTtl" in river.toml; did you mean history-ttl?'],
    ["[river]\nport = 1", 'Unknown option "river" in river.toml'],
    ['config = "other.toml"', 'Unknown option "config" in river.toml'],
    ["constructor = 1", 'Unknown option "constructor" in river.toml'],
    ["port = 1\n__proto__ = 1", 'Unknown option "__proto__" in river.toml'],
    ['"__proto__" = {port = 1}', 'Unknown option "__proto__" in river.toml'],
    [" '__proto__'.port = 1", 'Unknown option "__proto__" in river.toml'],
    ["[__proto__]\nport = 1", 'Unknown option "__proto__" in river.toml'],
  ]
) {
  Deno.test(`readOptions() refuses a file with ${JSON.stringify(file)}`, () => {
    assertEquals(errorOf({ args: ["--config=river.toml"], file }), error);
  });
}

Deno.test("readOptions() says on one line why a file cannot be read", () => {
  const error = 'Cannot read the config file "lost.toml": no such file: lost.toml';
  assertEquals(errorOf({ args: ["--config=lost.toml"] }), error);
  assertEquals(errorOf({ env: { RIVER_CONFIG: "lost.toml" } }), error);
});

Deno.test("readOptions() says on one line why a file cannot be read that throws no Error", () => {
  const readFile = () => {
    throw "not\nnow";
  };
  const sources = { args: ["--config=x"], env: {}, readFile };
  const { message } = assertThrows(() => readCommandLine(COMMANDS, sources), ConfigError);
  assertEquals(message, 'Cannot read the config file "x": not');
});

for (
  const [flag, start] of [
    ["--config=a\nb", 'Cannot read the config file "a b": no such file: a'],
    ["--host=a\r\nb", "Refusing to listen on a b where anybody could publish: "],
    ["--fr\x1b[2Job", "Unknown flag --fr; try --help"],
  ]
) {
  Deno.test(`readOptions() says on one line what is wrong with ${JSON.stringify(flag)}`, () => {
    const error = errorOf({ args: [flag] });
    assertEquals(error.slice(0, start.length), start);
    assert(!/\p{Cc}/u.test(error));
  });
}

Deno.test("readOptions() says on one line where a file is not TOML", () => {
  for (const file of ["port = 1\nport = = 2", "{", "port", '"port', "port = 1 2", "\0"]) {
    const error = errorOf({ args: ["--config=river.toml"], file });
    assertMatch(
      error,
      /^Cannot parse the config file "river\.toml": line \d+, column \d+ is not TOML; texts need quotes$/,
    );
  }
});

Deno.test("readOptions() takes an empty file", () => {
  for (const file of ["", "\n", "# port = 1\n", "\uFEFF", "\uFEFF# port = 1\n"]) {
    const config = configOf({ args: ["--config=river.toml"], file });
    assertEquals(config, { ...DEFAULTS, config: "river.toml" });
  }
});

Deno.test("readOptions() throws nothing but ConfigError of one line, whatever the arguments", () => {
  const names = [...Object.keys(SERVER_OPTIONS).map(kebab), "help", "frob", "__proto__", ""];
  const anyText = fc.string({ unit: fc.oneof(fc.constantFrom("\n", "\r", "\x1b"), fc.string()) });
  const anyArgument = fc.oneof(
    anyText,
    fc.constantFrom(...names).map((name) => `--${name}`),
    fc.tuple(fc.constantFrom(...names), anyText).map(([name, value]) => `--${name}=${value}`),
  );
  fc.assert(fc.property(fc.array(anyArgument), anyText, (args, file) => {
    try {
      const { kind } = readCommandLine(COMMANDS, { args, env: {}, readFile: () => file });
      assert(["run", "help", "version"].includes(kind));
    } catch (error) {
      assert(error instanceof ConfigError, String(error));
      assert(!/\p{Cc}/u.test(error.message), JSON.stringify(error.message));
    }
  }));
});

/** Reads options where these files exist. */
function withFiles(files: Record<string, string>, args: string[], env = {}): ServerConfig {
  const order = readCommandLine(COMMANDS, {
    args,
    env,
    readFile: (path) => {
      if (path in files) return files[path];
      throw new Error(`no such file: ${path}`);
    },
  });
  if (order.kind !== "run") throw new Error(order.kind);
  return order.values as ServerConfig;
}

Deno.test("readOptions() takes a key and secrets from files of their own", () => {
  const files = { key: "s3cret\n", secrets: `${SECRET}\r\n${SECRET.toUpperCase()}\n` };
  const args = ["--publish-key-file=key", "--token-secret-file", "secrets"];
  const { publishKey, tokenSecret } = withFiles(files, args);
  assertEquals([publishKey, tokenSecret], ["s3cret", [SECRET, SECRET.toUpperCase()]]);
  const env = { RIVER_PUBLISH_KEY_FILE: "key", RIVER_TOKEN_SECRET_FILE: "secrets" };
  assertEquals(withFiles(files, [], env).publishKey, "s3cret");
  const toml = { "river.toml": 'publish-key-file = "key"', key: "s3cret" };
  assertEquals(withFiles(toml, ["--config=river.toml"]).publishKey, "s3cret");
  const token = withFiles(files, ["token", "--operate", "--token-secret-file=secrets"]);
  assertEquals(token.tokenSecret, [SECRET, SECRET.toUpperCase()]);
});

for (
  const [files, args, error] of [
    [
      {},
      ["--publish-key-file=key"],
      'Cannot read the file "key" (--publish-key-file): no such file: key',
    ],
    [
      { key: "" },
      ["--publish-key-file=key"],
      "Bad value for --publish-key-file: expected a non-empty value",
    ],
    [
      { key: "a\nb" },
      ["--publish-key-file=key"],
      "Bad value for --publish-key-file: expected a value without line breaks, and without spaces at its ends",
    ],
    [
      { key: "short" },
      ["--token-secret-file=key"],
      "Bad value for --token-secret-file: expected 32 bytes or more",
    ],
    ...[` ${"s".repeat(40)}`, `${"s".repeat(40)}\t\n`, `${"r".repeat(40)}\n${"s".repeat(40)} \r\n`]
      .map(
        (key) =>
          [
            { key },
            ["--token-secret-file=key"],
            "Bad value for --token-secret-file: expected a secret without spaces at its ends",
          ] as const,
      ),
    [
      { key: "key \n" },
      ["--publish-key-file=key"],
      "Bad value for --publish-key-file: expected a value without line breaks, and without spaces at its ends",
    ],
    [
      { key: "" },
      ["--token-secret-file=key"],
      "Bad value for --token-secret-file: expected one or more non-empty values",
    ],
    [
      { key: "k" },
      ["--publish-key-file=key", "--publish-key=k"],
      "Set --publish-key or --publish-key-file, not both",
    ],
  ] as const
) {
  Deno.test(`readOptions() says: ${error.slice(0, 70)}`, () => {
    const { message } = assertThrows(() => withFiles(files, [...args]), ConfigError);
    assertEquals(message, error);
  });
}

Deno.test("readOptions() takes --check and --print-config from flags alone", () => {
  const { check, printConfig } = configOf({ args: ["--check", "--print-config"] });
  assertEquals([check, printConfig], [true, true]);
  assertMatch(errorOf({ env: { RIVER_CHECK: "1" } }), /^Unknown variable RIVER_CHECK /);
  const file = "check = true";
  assertMatch(errorOf({ args: ["--config=river.toml"], file }), /^Unknown option "check" /);
});
