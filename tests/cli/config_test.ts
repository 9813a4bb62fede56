import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { type Command, type Order, readOrder } from "../../lib/cli/command.ts";
import { serve } from "../../lib/cli/commands/serve.ts";
import { token } from "../../lib/cli/commands/token.ts";
import { helpText, optionsTable, overview } from "../../lib/cli/help.ts";
import { ConfigError, defaultText, type Option } from "../../lib/cli/option.ts";
import { checkServer, SERVER_OPTIONS, type ServerConfig } from "../../lib/cli/options.ts";
import { COMMANDS } from "../../main.ts";

interface Given {
  args?: string[];
  env?: Record<string, string>;
  /** The text of river.toml, the only file there is. */
  file?: string;
}

function orderOf({ args = [], env = {}, file }: Given): Order {
  return readOrder(COMMANDS, {
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
function runOf(command: Command, given: Given) {
  const order = orderOf(given);
  if (order.kind !== "run" || order.command !== command) {
    throw new Error(`not a run: ${order.kind}`);
  }
  return order;
}

function configOf(given: Given): ServerConfig {
  const config = runOf(serve, given).values as ServerConfig;
  checkServer(config);
  return config;
}

/** The message of the error that reading throws. */
function errorOf(given: Given): string {
  return assertThrows(() => {
    const order = orderOf(given);
    if (order.kind === "run" && order.command === serve) checkServer(order.values as ServerConfig);
  }, ConfigError).message;
}

/** As the flag and the file have it. */
function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());
}

/** As the environment has it. */
function variableOf(key: string): string {
  return `RIVER_${kebab(key).toUpperCase().replaceAll("-", "_")}`;
}

/** The three ways to give an option a value. `toml` is the value as the file spells it. */
function ways(key: string, value: string, toml = JSON.stringify(value)): [string, Given][] {
  const [name, variable] = [kebab(key), variableOf(key)];
  return [
    [`--${name}`, { args: [`--${name}=${value}`] }],
    [variable, { env: { [variable]: value } }],
    [`"${name}" in river.toml`, { args: ["--config", "river.toml"], file: `${name} = ${toml}` }],
  ];
}

/** As short as a secret may be. */
const SECRET = "0123456789abcdef0123456789abcdef";

const DEFAULTS: ServerConfig = {
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
  origin: [],
  publishKey: undefined,
  tokenSecret: [],
  open: false,
  grace: 10_000,
  logFormat: "text",
};

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
const OTHERS: { [N in Exclude<keyof ServerConfig, "config">]: [string, ServerConfig[N]] } = {
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
  origin: ["*.example.com", ["*.example.com"]],
  publishKey: ["s3cret", "s3cret"],
  tokenSecret: [SECRET, [SECRET]],
  open: ["true", true],
  grace: ["3", 3000],
  logFormat: ["json", "json"],
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

// Where a variable of a deployment is not set, a server without a secret would be open to everybody.
for (const empty of ["", " ", "\t\n"]) {
  Deno.test(`readOptions() refuses the secret ${JSON.stringify(empty)}, wherever it comes from`, () => {
    for (const [way, given] of ways("publishKey", empty)) {
      assertEquals(errorOf(given), `Bad value for ${way}: expected a non-empty value`);
    }
    for (const [way, given] of ways("tokenSecret", empty)) {
      const expected = `Bad value for ${way}: expected one or more non-empty values`;
      assertEquals(errorOf(given), expected);
      const { args = [], ...others } = given;
      assertEquals(errorOf({ ...others, args: ["token", "--publish=x", ...args] }), expected);
    }
  });
}

for (const list of [",", " , ", "\n,\n"]) {
  Deno.test(`readOptions() refuses RIVER_TOKEN_SECRET=${JSON.stringify(list)}, which holds no secret`, () => {
    const env = { RIVER_TOKEN_SECRET: list };
    assertMatch(errorOf({ env }), /^Bad value for RIVER_TOKEN_SECRET: expected one or more/);
  });
}

for (
  const line of ["token-secret = []", 'token-secret = [""]', `token-secret = ["${" ".repeat(32)}"]`]
) {
  Deno.test(`readOptions() refuses ${line.replaceAll(" ", "")} in a file`, () => {
    const given = { args: ["--config=river.toml"], file: line };
    assertMatch(
      errorOf(given),
      /^Bad value for "token-secret" in river.toml: expected one or more/,
    );
  });
}

Deno.test("readOptions() does not listen everywhere with a blank key", () => {
  assertMatch(
    errorOf({ env: { RIVER_HOST: "0.0.0.0", RIVER_PUBLISH_KEY: " " } }),
    /^Bad value for RIVER_PUBLISH_KEY: /,
  );
});

Deno.test("readOptions() shows no secret when it refuses one", () => {
  const short = SECRET.slice(1);
  const bytes = "expected 32 bytes or more";
  for (const [way, given] of ways("tokenSecret", short)) {
    assertEquals(errorOf(given), `Bad value for ${way}: ${bytes}`);
  }
  const env = { RIVER_TOKEN_SECRET: `${SECRET}, ${short}` };
  assertEquals(errorOf({ env }), `Bad value for RIVER_TOKEN_SECRET: ${bytes}`);
  for (
    const [line, expected] of [
      ["publish-key = 123456", '"publish-key" in river.toml: expected a non-empty value'],
      [
        "token-secret = 123456",
        '"token-secret" in river.toml: expected one or more non-empty values',
      ],
      [
        "token-secret = [123456]",
        '"token-secret" in river.toml: expected one or more non-empty values',
      ],
      [`token-secret = "${short}"`, `"token-secret" in river.toml: ${bytes}`],
    ]
  ) {
    const given = { args: ["--config=river.toml"], file: line };
    assertEquals(errorOf(given), `Bad value for ${expected}`);
  }
  assertEquals(
    errorOf({ args: ["--publish-key"] }),
    "Bad value for --publish-key: expected a non-empty value",
  );
});

Deno.test("readOptions() counts the bytes of a secret, not its characters", () => {
  const secret = "ü".repeat(16);
  assertEquals(configOf({ args: ["--token-secret", secret] }).tokenSecret, [secret]);
});

Deno.test("readOptions() collects secrets from repeated flags and from a list in a variable", () => {
  const secrets = [SECRET, SECRET.toUpperCase()];
  const args = secrets.map((secret) => `--token-secret=${secret}`);
  assertEquals(configOf({ args }).tokenSecret, secrets);
  const env = { RIVER_TOKEN_SECRET: secrets.join(",") };
  assertEquals(configOf({ env }).tokenSecret, secrets);
});

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
    const terminal = { version: "0.0.0", print() {}, printError() {} };
    const run = async () => await token.run({ ...nothing, ...values }, terminal, []);
    assertEquals((await assertRejects(run, ConfigError)).message, expected);
  });
}

Deno.test("readOptions() collects origins from repeated flags and from a list in a variable", () => {
  const origin = ["https://a.test", "b.test", "*"];
  assertEquals(configOf({ args: origin.map((each) => `--origin=${each}`) }).origin, origin);
  for (
    const list of [
      "https://a.test,b.test,*",
      "https://a.test b.test\t*",
      "https://a.test, b.test, *",
    ]
  ) {
    assertEquals(configOf({ env: { RIVER_ORIGIN: list } }).origin, origin);
  }
});

for (
  const [list, origin] of [
    [" a.test", ["a.test"]],
    ["a.test ", ["a.test"]],
    ["\ta.test\n b.test,", ["a.test", "b.test"]],
    [",a.test,, b.test , ", ["a.test", "b.test"]],
    [" , ", []],
    ["  ", ["file.test"]],
  ] as const
) {
  Deno.test(`readOptions() finds ${origin.length} origins in RIVER_ORIGIN=${JSON.stringify(list)}`, () => {
    const env = { RIVER_CONFIG: "river.toml", RIVER_ORIGIN: list };
    assertEquals(configOf({ env, file: 'origin = "file.test"' }).origin, origin);
  });
}

for (
  const origin of [
    "https://example.com",
    "HTTP://Example.com:8080",
    "localhost:3000",
    "*.example.com",
    "192.168.1.7",
    "[::1]",
    "https://[::1]:8443",
    "my_host",
    "https://my_app.example.com",
    "*.my_app.example.com",
    "example.com.",
    // Either is an origin in the other scheme.
    "example.com:80",
    "example.com:443",
    "http://example.com:443",
    "https://example.com:80",
    "example.com:65535",
    "*",
  ]
) {
  Deno.test(`readOptions() takes the origin ${origin}`, () => {
    for (const [way, given] of ways("origin", origin)) {
      assertEquals(configOf(given).origin, [origin], way);
    }
  });
}

for (
  const origin of [
    "https://*.x.com",
    "https://x.com/",
    "https://x.com/chat",
    "x.com/",
    "x.com?a",
    "x.com#a",
    "https://u@x.com",
    "ws://x.com",
    "https://",
    "x.com:",
    "x.com:654321",
    "*.x.com:8443",
    "*x.com",
    "a.*.com",
    "**",
    "*.",
    "*..",
    "*..com",
    "*.a..com",
    "...",
    ".com",
    "a..com",
    "http://a..com",
    "x.com:65536",
    "http://x.com:65536",
    "x.com:99999",
    "[x]",
    "[:::]",
  ]
) {
  Deno.test(`readOptions() refuses the origin ${origin}, which no page can have`, () => {
    const expected = "https://example.com, example.com:8443, *.example.com or *, " +
      "without a path, ports up to 65535";
    for (const [way, given] of ways("origin", origin)) {
      assertEquals(errorOf(given), `Bad value "${origin}" for ${way}: expected ${expected}`);
    }
  });
}

for (
  const [origin, sent] of [
    ["http://x.com:80", "http://x.com"],
    ["HTTPS://x.com:443", "https://x.com"],
    ["http://x.com:08080", "http://x.com:8080"],
    ["x.com:08080", "x.com:8080"],
    ["http://127.1", "http://127.0.0.1"],
    ["[0:0:0::1]:81", "[::1]:81"],
  ]
) {
  Deno.test(`readOptions() refuses the origin ${origin}, and says how browsers send it`, () => {
    for (const [way, given] of ways("origin", origin)) {
      assertEquals(
        errorOf(given),
        `Bad value "${origin}" for ${way}: expected ${sent}, as browsers send it`,
      );
    }
  });
}

Deno.test("readOptions() names the origin that is wrong among others", () => {
  const { message } = assertThrows(
    () => orderOf({ env: { RIVER_ORIGIN: "https://a.test, b.test/, c.test" } }),
    ConfigError,
  );
  assertMatch(message, /^Bad value "b\.test\/" for RIVER_ORIGIN: /);
});

Deno.test("readOptions() refuses a key that no header can hold", () => {
  for (const key of ["key\n", " key", "key\t", "one\ntwo", "one\0two"]) {
    for (const [way, given] of ways("publishKey", key)) {
      assertEquals(
        errorOf(given),
        `Bad value for ${way}: expected a value without line ends, and without spaces at its ends`,
      );
    }
  }
});

Deno.test("readOptions() refuses an empty secret even where a good one wins", () => {
  const env = { RIVER_PUBLISH_KEY: "" };
  const expected = "Bad value for RIVER_PUBLISH_KEY: expected a non-empty value";
  assertEquals(errorOf({ args: ["--publish-key=good"], env }), expected);
});

Deno.test("readOptions() leaves the text of a key as it is", () => {
  for (const key of ["007", "1e3", "true", "-x", "a=b c", "ü"]) {
    assertEquals(configOf({ args: [`--publish-key=${key}`] }).publishKey, key);
    assertEquals(configOf({ env: { RIVER_PUBLISH_KEY: key } }).publishKey, key);
  }
});

for (const value of ["true", "1", "false", "0"]) {
  Deno.test(`readOptions() takes open = ${value} from flag, environment and file`, () => {
    const open = value === "true" || value === "1";
    for (const [way, given] of ways("open", value)) {
      assertEquals(configOf(given).open, open, way);
    }
  });
}

const BYTES = "a size like 512, 64KiB, 1MiB or 1GiB, more than 0";
const DURATION = "a duration like 500ms, 25s, 5m or 1h, from 0ms to 366d";

/** By option: texts that are read, with their values, and texts that are refused. */
const VALUES: {
  name: keyof ServerConfig;
  read: [string, unknown][];
  refused: string[];
  expected: string;
}[] = [
  {
    name: "port",
    read: [["0", 0], ["1", 1], ["0080", 80], ["65535", 65_535]],
    refused: ["65536", "-1", "+1", "1e3", "0x50", "80.0", " 80", "80 ", "http", "١", "1,2"],
    expected: "a whole number from 0 to 65535",
  },
  {
    name: "history",
    read: [["0", 0], ["9007199254740991", Number.MAX_SAFE_INTEGER]],
    refused: ["9007199254740992", "18446744073709551616", "-1", "many", "NaN", "Infinity"],
    expected: "a whole number, 0 or more",
  },
  ...(["maxChannels", "maxChannelsPerClient", "maxIds"] as const).map((name) => ({
    name,
    read: [["1", 1]] satisfies [string, unknown][],
    refused: ["0", "-1"],
    expected: "a whole number, 1 or more",
  })),
  {
    name: "maxMemory",
    read: [
      ["1", 1],
      ["512B", 512],
      ["1 KiB", 1024],
      ["3MiB", 3 * 2 ** 20],
      ["8388607GiB", 8_388_607 * 2 ** 30],
    ],
    refused: ["0", "0GiB", "-1", "1KB", "1kib", "1.5MiB", "MiB", "1  KiB", "1TiB", "8388608GiB"],
    expected: BYTES,
  },
  {
    name: "grace",
    read: [
      ["0", 0],
      ["25", 25_000],
      ["0ms", 0],
      ["999ms", 999],
      ["5 s", 5000],
      ["2m", 120_000],
      ["1h", 3_600_000],
      ["366d", 366 * 86_400_000],
    ],
    refused: ["367d", "31622401", "-1s", "1.5h", "1w", "1H", "s", "1h30m", "1s ", "constructor"],
    expected: DURATION,
  },
  {
    name: "heartbeat",
    read: [["100ms", 100]],
    refused: ["99ms", "0"],
    expected: DURATION.replace("0ms to", "100ms to"),
  },
  {
    name: "historyTtl",
    read: [["1ms", 1]],
    refused: ["0", "0ms"],
    expected: DURATION.replace("0ms to", "1ms to"),
  },
  {
    name: "logFormat",
    read: [["text", "text"], ["json", "json"]],
    refused: ["JSON", "xml", "text,json"],
    expected: "text or json",
  },
];

for (const { name, read, refused, expected } of VALUES) {
  Deno.test(`readOptions() reads ${expected} for ${name}, up to its limits`, () => {
    for (const [text, value] of read) {
      for (const [way, given] of ways(name, text)) {
        assertEquals(configOf(given)[name], value, `${way}: ${text}`);
      }
    }
  });
  Deno.test(`readOptions() refuses what is not ${expected} for ${name}`, () => {
    for (const text of refused) {
      for (const [way, given] of ways(name, text)) {
        assertEquals(
          errorOf(given),
          `Bad value ${JSON.stringify(text)} for ${way}: expected ${expected}`,
        );
      }
    }
  });
}

Deno.test("readOptions() takes auto for a count that may be left to it, and for no other", () => {
  for (const [, given] of ways("maxConnectionsPerClient", "auto")) {
    assertEquals(configOf(given).maxConnectionsPerClient, "auto");
  }
  for (const [way, given] of ways("maxConnectionsPerClient", "Auto")) {
    const expected = "expected a whole number, 0 or more, or auto";
    assertEquals(errorOf(given), `Bad value "Auto" for ${way}: ${expected}`);
  }
  for (const [way, given] of ways("maxConnections", "auto")) {
    const expected = "expected a whole number, 0 or more";
    assertEquals(errorOf(given), `Bad value "auto" for ${way}: ${expected}`);
  }
});

Deno.test("readOptions() refuses a boolean that is neither true nor false", () => {
  for (const value of ["yes", "no", "TRUE", "00", "1=1"]) {
    for (const [way, given] of ways("open", value)) {
      assertEquals(errorOf(given), `Bad value "${value}" for ${way}: expected true or false`);
    }
  }
  assertEquals(errorOf({ args: ["--open="] }), 'Bad value "" for --open: expected true or false');
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

Deno.test("readOptions() takes --open=0 for a refusal to be open, whatever the environment says", () => {
  assertMatch(
    errorOf({ args: ["--host=0.0.0.0", "--open=0"], env: { RIVER_OPEN: "1" } }),
    /^Refusing to listen on 0\.0\.0\.0 /,
  );
});

for (
  const [line, shown, expected] of [
    ["port = -1", '-1 for "port"', "a whole number from 0 to 65535"],
    ["port = 1.5", '1.5 for "port"', "a whole number from 0 to 65535"],
    ["port = true", 'true for "port"', "a whole number from 0 to 65535"],
    ["port = inf", 'Infinity for "port"', "a whole number from 0 to 65535"],
    ["port = nan", 'NaN for "port"', "a whole number from 0 to 65535"],
    ["port = [80]", '[80] for "port"', "a whole number from 0 to 65535"],
    ['history = ["7"]', '["7"] for "history"', "a whole number, 0 or more"],
    ["max-queue = [512]", '[512] for "max-queue"', BYTES],
    ['max-queue = ["1KiB"]', '["1KiB"] for "max-queue"', BYTES],
    ['grace = ["1s"]', '["1s"] for "grace"', DURATION],
    ['host = ["localhost"]', '["localhost"] for "host"', "a non-empty value"],
    ["open = [true]", '[true] for "open"', "true or false"],
    ["max-queue = { a = 1 }", '{"a":1} for "max-queue"', BYTES],
    ["grace = [1, 2]", '[1,2] for "grace"', DURATION],
    ["open = 1", '1 for "open"', "true or false"],
    ["open = []", '[] for "open"', "true or false"],
    ["host = 5", '5 for "host"', "a non-empty value"],
    ['host = ""', '"" for "host"', "a non-empty value"],
    ["origin = 5", '5 for "origin"', "one or more non-empty values"],
    ["origin = [1]", '[1] for "origin"', "one or more non-empty values"],
    ['origin = ["a.test", ""]', '["a.test",""] for "origin"', "one or more non-empty values"],
    ['log-format = ["json"]', '["json"] for "log-format"', "text or json"],
  ]
) {
  Deno.test(`readOptions() refuses ${line} in a file`, () => {
    assertEquals(
      errorOf({ args: ["--config=river.toml"], file: line }),
      `Bad value ${shown} in river.toml: expected ${expected}`,
    );
  });
}

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
    assertEquals(errorOf({ args }), "--port is given 2 times");
  }
  assertEquals(
    errorOf({ args: Array(3).fill("--config=river.toml") }),
    "--config is given 3 times",
  );
  for (const args of [["--open", "--open"], ["--open", "--open=false"], ["--open=0", "--open=0"]]) {
    assertEquals(errorOf({ args }), "--open is given 2 times");
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
    ["--__proto__.port=1", "--__proto__.port", "try --help"],
    ["--port.x=1", "--port.x", "did you mean --port?"],
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

Deno.test("readOptions() refuses words that are no command", () => {
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
  Deno.test(`readOrder() refuses the command "${words.join(" ")}"`, () => {
    assertEquals(errorOf({ args: [...words] }), error);
  });
}

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

/** As Kubernetes sets them for services named `river` and `river-web`, and Docker for its links. */
const INJECTED = {
  RIVER_SERVICE_HOST: "10.0.0.143",
  RIVER_SERVICE_PORT: "9271",
  RIVER_SERVICE_PORT_HTTP: "9271",
  RIVER_PORT: "tcp://10.0.0.143:9271",
  RIVER_PORT_9271_TCP: "tcp://10.0.0.143:9271",
  RIVER_PORT_9271_TCP_PROTO: "tcp",
  RIVER_PORT_9271_TCP_PORT: "9271",
  RIVER_PORT_9271_TCP_ADDR: "10.0.0.143",
  RIVER_WEB_SERVICE_HOST: "10.0.0.144",
  RIVER_WEB_PORT: "udp://10.0.0.144:53",
  RIVER_WEB_PORT_53_UDP: "udp://10.0.0.144:53",
  RIVER_NAME: "/web/river",
  RIVER_ENV_PATH: "/usr/bin",
};

Deno.test("readOptions() ignores what orchestrators set for a service named river, and tells it", () => {
  const { values, ignored } = runOf(serve, { env: INJECTED });
  assertEquals(values, DEFAULTS);
  assertEquals(ignored, Object.keys(INJECTED));
  const { values: own } = runOf(serve, { env: INJECTED, args: ["--port=80"] });
  assertEquals(own, { ...DEFAULTS, port: 80 });
});

for (const [name, value] of [["RIVER_WEB_PORT", "9271"], ["RIVER_NAME", "mine"]]) {
  Deno.test(`readOptions() takes ${name}=${value} for a mistake: no orchestrator sets it`, () => {
    assertMatch(errorOf({ env: { [name]: value } }), /^Unknown variable /);
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
  const { message } = assertThrows(() => readOrder(COMMANDS, sources), ConfigError);
  assertEquals(message, 'Cannot read the config file "x": not');
});

for (
  const [flag, start] of [
    ["--config=a\nb", 'Cannot read the config file "a b": no such file: a'],
    ["--host=a\r\nb", "Refusing to listen on a b where anybody could publish: "],
    ["--fr\x1b[2Job", "Unknown flag --fr [2Job; try --help"],
  ]
) {
  Deno.test(`readOptions() says on one line what is wrong with ${JSON.stringify(flag)}`, () => {
    const error = errorOf({ args: [flag] });
    assertEquals(error.slice(0, start.length), start);
    assert(!/\p{Cc}/u.test(error));
  });
}

Deno.test("readOptions() says on one line where a file is no TOML", () => {
  for (const file of ["port = 1\nport = = 2", "{", "port", '"port', "port = 1 2", "\0"]) {
    const error = errorOf({ args: ["--config=river.toml"], file });
    assertMatch(error, /^Cannot parse the config file "river\.toml": .+$/);
  }
});

Deno.test("readOptions() takes an empty file", () => {
  for (const file of ["", "\n", "# port = 1\n"]) {
    const config = configOf({ args: ["--config=river.toml"], file });
    assertEquals(config, { ...DEFAULTS, config: "river.toml" });
  }
});

Deno.test("readOptions() lets a loopback address be open to everybody", () => {
  for (const host of ["127.0.0.1", "127.255.255.254", "localhost", "::1", "[::1]"]) {
    assertEquals(configOf({ args: [`--host=${host}`] }).host, host);
  }
});

Deno.test("readOptions() refuses another address without a key, and says what to do", () => {
  const hosts = ["0.0.0.0", "::", "[::]", "192.168.1.7", "example.com"];
  for (const host of [...hosts, "127.0.0.1.evil.test", "127.1", "localhost.evil.test", "1::1"]) {
    for (const [way, given] of ways("host", host)) {
      assertEquals(
        errorOf(given),
        `Refusing to listen on ${host} where anybody could publish: ` +
          "set --publish-key or --token-secret, or --open if that is what you want",
        way,
      );
    }
    assertEquals(configOf({ args: [`--host=${host}`, "--publish-key=k"] }).host, host);
    assertEquals(configOf({ args: [`--host=${host}`, `--token-secret=${SECRET}`] }).host, host);
    assertEquals(configOf({ args: [`--host=${host}`, "--open"] }).host, host);
  }
});

Deno.test("readOptions() refuses --trust-proxy without a key like a public host, and says what to do", () => {
  for (const host of ["127.0.0.1", "localhost", "::1"]) {
    for (const [way, { args = [], ...given }] of ways("trustProxy", "true")) {
      const proxied = { ...given, args: [`--host=${host}`, ...args] };
      assertEquals(
        errorOf(proxied),
        "Refusing to serve behind a proxy (--trust-proxy) where anybody could publish: " +
          "set --publish-key or --token-secret, or --open if that is what you want",
        way,
      );
      for (const cure of ["--publish-key=k", `--token-secret=${SECRET}`, "--open"]) {
        const config = configOf({ ...proxied, args: [...proxied.args, cure] });
        assertEquals(config.trustProxy, true);
      }
    }
  }
});

Deno.test("readOptions() refuses a message limit that no body could reach", () => {
  const limits = (message: number) => ({ args: [`--max-message=${message}`, "--max-body=1000"] });
  assertEquals(configOf(limits(1000)).maxMessage, 1000);
  assertEquals(
    errorOf(limits(1001)),
    "--max-message (1001 bytes) is more than --max-body (1000 bytes): no such message could come in",
  );
});

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
  assertEquals(orderOf({ args: ["help"], env }), { kind: "help", command: undefined });
  for (const args of [["--version"], ["-V"], ["--config=lost.toml", "--version"]]) {
    assertEquals(orderOf({ args, env }), { kind: "version" });
  }
  for (const flag of ["--help", "--version"]) {
    assertEquals(errorOf({ args: [flag, "extra"] }), 'Unknown argument "extra"; try --help');
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
      const { kind } = readOrder(COMMANDS, { args, env: {}, readFile: () => file });
      assert(["run", "help", "version"].includes(kind));
    } catch (error) {
      assert(error instanceof ConfigError, String(error));
      assert(!/\p{Cc}/u.test(error.message), JSON.stringify(error.message));
    }
  }));
});

Deno.test("overview() shows every command, and every option of the server", () => {
  const rows = overview("9.8.7", COMMANDS).split("\n");
  assertEquals(rows.slice(0, 5), [
    "river 9.8.7: a publish/subscribe push server",
    "",
    "Usage: river [serve] [flags]",
    "       river token [--publish CHANNEL] [--subscribe CHANNEL] [--operate] [flags]",
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
    const shown = new Map(rows.map((row) => [/^ {2}--([a-z-]+)/.exec(row)?.[1], row]));
    for (const [key, option] of Object.entries<Option>(options)) {
      const row = shown.get(kebab(key)) ?? "";
      assertStringIncludes(row, option.help);
      assertEquals(/ \(default [^ ]+\)$/.test(row), option.default !== undefined, row);
    }
    assertEquals(shown.get("help"), `  --help${" ".repeat(30)}show this`);
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
      "  --port N                            port to listen on; 0 picks one (default 9271)",
      "  --config TEXT                       TOML file with these same names",
      "  --max-channels-per-client N         channels that one request, NDJSON line or socket may name (default 128)",
      "  --max-message SIZE                  data of one message (default 64KiB)",
      "  --grace TIME                        how long shutting down may take (default 10s)",
      "  --client-timeout TIME               longest life of a subscription; 0: no end (default 0)",
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

Deno.test("defaultText() writes every default as the option would be given", () => {
  for (const [key, option] of Object.entries(SERVER_OPTIONS)) {
    const text = defaultText(option);
    if (text === undefined) continue;
    assertEquals(configOf({ args: [`--${kebab(key)}=${text}`] }), DEFAULTS, `${key}: ${text}`);
  }
  const shown = ["maxMemory", "historyTtl", "idTtl", "bodyTimeout", "maxIds"] as const;
  assertEquals(shown.map((key) => defaultText(SERVER_OPTIONS[key])), [
    "128MiB",
    "1h",
    "5m",
    "10s",
    "100000",
  ]);
});

Deno.test("optionsTable() has one row of four cells an option", () => {
  const table = optionsTable(SERVER_OPTIONS);
  const [head, rule, ...rows] = table.trimEnd().split("\n");
  assertEquals([head, rule], ["| flag | default | what | beyond it |", "|---|---|---|---|"]);
  assertEquals(rows.map((row) => row.split("|").length), rows.map(() => 6));
  assertEquals(
    rows.map((row) => /^\| `--([a-z-]+)` \|/.exec(row)?.[1]),
    Object.keys(SERVER_OPTIONS).map(kebab),
  );
  assertStringIncludes(
    table,
    "\n| `--max-channels` | 100000 | channels published to, at a time; as many more may be only watched | 503 |\n",
  );
  assertStringIncludes(
    table,
    "\n| `--config` | none | TOML file with these same names |  |\n",
  );
});
