import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type Command,
  type Config,
  ConfigError,
  helpText,
  type Name,
  OPTIONS,
  optionsTable,
  readConfig,
} from "../../lib/cli/config.ts";

interface Given {
  args?: string[];
  env?: Record<string, string>;
  /** The text of river.toml, the only file there is. */
  file?: string;
}

function commandOf({ args = [], env = {}, file }: Given): Command {
  return readConfig({
    args,
    env: (name) => env[name],
    readFile: (path) => {
      if (file === undefined || path !== "river.toml") {
        throw new Error(`no such file: ${path}\nat a place of no interest`);
      }
      return file;
    },
  });
}

function configOf(given: Given): Config {
  const command = commandOf(given);
  if (command.kind !== "serve") throw new Error(`not a command to serve: ${command.kind}`);
  return command.config;
}

/** The message of the error that reading throws. */
function errorOf(given: Given): string {
  return assertThrows(() => commandOf(given), ConfigError).message;
}

/** The three ways to give an option a value. `toml` is the value as the file spells it. */
function ways(name: string, value: string, toml = JSON.stringify(value)): [string, Given][] {
  const variable = `RIVER_${name.toUpperCase().replaceAll("-", "_")}`;
  return [
    [`--${name}`, { args: [`--${name}=${value}`] }],
    [variable, { env: { [variable]: value } }],
    [`"${name}" in river.toml`, { args: ["--config", "river.toml"], file: `${name} = ${toml}` }],
  ];
}

/** As short as a secret may be. */
const SECRET = "0123456789abcdef0123456789abcdef";

const DEFAULTS: Config = {
  "host": "127.0.0.1",
  "port": 9271,
  "config": undefined,
  "history": 100,
  "history-ttl": 3_600_000,
  "max-memory": 128 * 1024 * 1024,
  "max-message": 64 * 1024,
  "max-body": 1024 * 1024,
  "max-bodies": 64 * 1024 * 1024,
  "max-batch": 50_000,
  "body-timeout": 10_000,
  "max-queue": 1024 * 1024,
  "max-inbox": 16 * 1024 * 1024,
  "max-unsent": 256 * 1024 * 1024,
  "max-connections": 0,
  "max-connections-per-client": "auto",
  "connection-rate": 0,
  "publish-rate": 0,
  "trust-proxy": false,
  "max-channels": 100_000,
  "max-channels-per-client": 128,
  "max-ids": 100_000,
  "id-ttl": 300_000,
  "client-timeout": 0,
  "heartbeat": 25_000,
  "origin": [],
  "publish-key": undefined,
  "token-secret": [],
  "open": false,
  "grace": 10_000,
  "log-format": "text",
};

Deno.test("readConfig() gives the documented defaults when nothing is set", () => {
  assertEquals(commandOf({}), { kind: "serve", config: DEFAULTS });
  assertEquals(commandOf({ args: ["serve"] }), { kind: "serve", config: DEFAULTS });
});

/** A value other than the default for every option: as it is written, and as it is read. */
const OTHERS: { [N in Exclude<Name, "config">]: [string, Config[N]] } = {
  "host": ["localhost", "localhost"],
  "port": ["80", 80],
  "history": ["7", 7],
  "history-ttl": ["2h", 7_200_000],
  "max-memory": ["1GiB", 2 ** 30],
  "max-message": ["32KiB", 32_768],
  "max-body": ["2MiB", 2 ** 21],
  "max-bodies": ["3MiB", 3 * 2 ** 20],
  "max-batch": ["5", 5],
  "body-timeout": ["4s", 4000],
  "max-queue": ["512", 512],
  "max-inbox": ["2MiB", 2 * 1024 * 1024],
  "max-unsent": ["64MiB", 2 ** 26],
  "max-connections": ["10", 10],
  "max-connections-per-client": ["6", 6],
  "connection-rate": ["8", 8],
  "publish-rate": ["9", 9],
  "trust-proxy": ["true", true],
  "max-channels": ["11", 11],
  "max-channels-per-client": ["12", 12],
  "max-ids": ["13", 13],
  "id-ttl": ["1d", 86_400_000],
  "client-timeout": ["500ms", 500],
  "heartbeat": ["1m", 60_000],
  "origin": ["*.example.com", ["*.example.com"]],
  "publish-key": ["s3cret", "s3cret"],
  "token-secret": [SECRET, [SECRET]],
  "open": ["true", true],
  "grace": ["3", 3000],
  "log-format": ["json", "json"],
};

for (const [name, [written, value]] of Object.entries(OTHERS)) {
  Deno.test(`readConfig() takes ${name} from flag, environment and file, and nothing else`, () => {
    for (const [way, given] of ways(name, written)) {
      const config = way.endsWith(".toml") ? "river.toml" : undefined;
      // Behind a proxy a server needs a key, or this.
      const open = name === "trust-proxy" || name === "open";
      const args = [...given.args ?? [], ...open && name !== "open" ? ["--open"] : []];
      assertEquals(configOf({ ...given, args }), { ...DEFAULTS, config, open, [name]: value }, way);
    }
  });
}

Deno.test("readConfig() takes every flag with its value as the next word", () => {
  const flags = Object.entries(OTHERS).flatMap(([name, [written]]) =>
    name === "open" || name === "trust-proxy" ? [`--${name}`] : [`--${name}`, written]
  );
  const values = Object.entries(OTHERS).map(([name, [, value]]) => [name, value]);
  assertEquals(configOf({ args: ["serve", ...flags] }), {
    ...DEFAULTS,
    ...Object.fromEntries(values),
  });
});

Deno.test("readConfig() takes TOML's own numbers, booleans and lists", () => {
  const file =
    'port = 80\nmax-queue = 1_000\nopen = true\ngrace = 3\norigin = ["a.test", "b.test"]';
  assertEquals(configOf({ args: ["--config", "river.toml"], file }), {
    ...DEFAULTS,
    "config": "river.toml",
    "port": 80,
    "max-queue": 1000,
    "open": true,
    "grace": 3000,
    "origin": ["a.test", "b.test"],
  });
});

Deno.test("readConfig() takes open = false of a file, unless the environment says otherwise", () => {
  const file = "open = false";
  const args = ["--config=river.toml"];
  assertEquals(configOf({ args, file }).open, false);
  assertEquals(configOf({ args, file, env: { RIVER_OPEN: "1" } }).open, true);
});

Deno.test("readConfig() lets flags win over the environment, and both over the file", () => {
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

Deno.test("readConfig() lets a bad value be overridden", () => {
  const { port } = configOf({ args: ["--port=3"], env: { RIVER_PORT: "many" } });
  assertEquals(port, 3);
});

Deno.test("readConfig() finds the file by RIVER_CONFIG, but --config wins", () => {
  const file = "port = 80";
  assertEquals(configOf({ env: { RIVER_CONFIG: "river.toml" }, file }).port, 80);
  const both = { args: ["--config=river.toml"], env: { RIVER_CONFIG: "other.toml" }, file };
  assertEquals(configOf(both).port, 80);
});

Deno.test("readConfig() reads no file unless it is told to", () => {
  assertEquals(configOf({ file: "port = 80" }).port, 9271);
});

Deno.test("readConfig() takes an empty variable for one that is not set, unless it is a secret", () => {
  const variables = Object.entries(OPTIONS)
    .filter(([, option]) => !("secret" in option))
    .map(([name]) => `RIVER_${name.toUpperCase().replaceAll("-", "_")}`);
  const env = Object.fromEntries(variables.map((variable) => [variable, ""]));
  assertEquals(configOf({ env }), DEFAULTS);
});

Deno.test("readConfig() refuses a blank value, which must never mean none", () => {
  for (const blank of [" ", "\t\n", "\u00a0"]) {
    for (
      const [name, shown] of [["host", ` ${JSON.stringify(blank)}`], ["publish-key", ""]] as const
    ) {
      for (const [way, given] of ways(name, blank)) {
        assertEquals(errorOf(given), `Bad value${shown} for ${way}: expected a non-empty value`);
      }
    }
    for (const name of ["port", "max-body", "grace", "open", "log-format"]) {
      const variable = `RIVER_${name.toUpperCase().replaceAll("-", "_")}`;
      assertMatch(errorOf({ env: { [variable]: blank } }), /^Bad value " *.*" for RIVER_/);
    }
    assertMatch(errorOf({ env: { RIVER_CONFIG: blank } }), /^Cannot read the config file /);
    assertEquals(configOf({ env: { RIVER_ORIGIN: blank } }).origin, []);
  }
});

// Where a variable of a deployment is not set, a server without a secret would be open to everybody.
for (const empty of ["", " ", "\t\n"]) {
  Deno.test(`readConfig() refuses the secret ${JSON.stringify(empty)}, wherever it comes from`, () => {
    for (const [way, given] of ways("publish-key", empty)) {
      assertEquals(errorOf(given), `Bad value for ${way}: expected a non-empty value`);
    }
    for (const [way, given] of ways("token-secret", empty)) {
      const expected = `Bad value for ${way}: expected one or more non-empty values`;
      assertEquals(errorOf(given), expected);
      const { args = [], ...others } = given;
      assertEquals(errorOf({ ...others, args: ["token", "--publish=x", ...args] }), expected);
    }
  });
}

for (const list of [",", " , ", "\n,\n"]) {
  Deno.test(`readConfig() refuses RIVER_TOKEN_SECRET=${JSON.stringify(list)}, which holds no secret`, () => {
    const env = { RIVER_TOKEN_SECRET: list };
    assertMatch(errorOf({ env }), /^Bad value for RIVER_TOKEN_SECRET: expected one or more/);
  });
}

for (
  const line of ["token-secret = []", 'token-secret = [""]', `token-secret = ["${" ".repeat(32)}"]`]
) {
  Deno.test(`readConfig() refuses ${line.replaceAll(" ", "")} in a file`, () => {
    const given = { args: ["--config=river.toml"], file: line };
    assertMatch(
      errorOf(given),
      /^Bad value for "token-secret" in river.toml: expected one or more/,
    );
  });
}

Deno.test("readConfig() does not listen everywhere with a blank key", () => {
  assertMatch(
    errorOf({ env: { RIVER_HOST: "0.0.0.0", RIVER_PUBLISH_KEY: " " } }),
    /^Bad value for RIVER_PUBLISH_KEY: /,
  );
});

Deno.test("readConfig() shows no secret when it refuses one", () => {
  const short = SECRET.slice(1);
  const bytes = "expected 32 bytes or more";
  for (const [way, given] of ways("token-secret", short)) {
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

Deno.test("readConfig() counts the bytes of a secret, not its characters", () => {
  const secret = "ü".repeat(16);
  assertEquals(configOf({ args: ["--token-secret", secret] })["token-secret"], [secret]);
});

Deno.test("readConfig() collects secrets from repeated flags and from a list in a variable", () => {
  const secrets = [SECRET, SECRET.toUpperCase()];
  const args = secrets.map((secret) => `--token-secret=${secret}`);
  assertEquals(configOf({ args })["token-secret"], secrets);
  const env = { RIVER_TOKEN_SECRET: secrets.join(",") };
  assertEquals(configOf({ env })["token-secret"], secrets);
});

/** The command of `river token` with these flags. */
function tokenOf(...args: string[]) {
  return commandOf({ args: ["token", ...args], env: { RIVER_TOKEN_SECRET: SECRET } });
}

Deno.test("readConfig() takes the flags of river token", () => {
  const nothing = { publish: [], subscribe: [], operate: false, ttl: 3_600_000 };
  assertEquals(tokenOf("--publish", "a", "--publish=room.*", "--ttl=90s"), {
    kind: "token",
    secret: SECRET,
    claims: { ...nothing, publish: ["a", "room.*"], ttl: 90_000 },
  });
  assertEquals(tokenOf("--subscribe=a", "--operate"), {
    kind: "token",
    secret: SECRET,
    claims: { ...nothing, subscribe: ["a"], operate: true },
  });
});

Deno.test("readConfig() takes the secret of river token from flag, environment or file, the first of several", () => {
  const [other, third] = [SECRET.toUpperCase(), SECRET.repeat(2)];
  const args = ["token", "--operate"];
  const file = `token-secret = ["${third}"]\nport = 80`;
  const env = { RIVER_TOKEN_SECRET: `${other} ${SECRET}`, RIVER_PUBLISH: "x", RIVER_PORT: "many" };
  const secretOf = (given: Parameters<typeof commandOf>[0]) => {
    const command = commandOf(given);
    assert(command.kind === "token");
    assertEquals(command.claims.publish, []);
    return command.secret;
  };
  const flags = [...args, `--token-secret=${SECRET}`, `--token-secret=${third}`];
  const config = "--config=river.toml";
  assertEquals(secretOf({ args: [...flags, config], env, file }), SECRET);
  assertEquals(secretOf({ args: [...args, config], env, file }), other);
  assertEquals(secretOf({ args: [...args, config], file }), third);
});

for (
  const [args, expected] of [
    [["--operate"], "A token needs a secret to be signed with: set --token-secret"],
    [
      [`--token-secret=${SECRET}`],
      "A token must allow something: set --publish, --subscribe or --operate",
    ],
    [["--port=80"], "Unknown flag --port; try --help"],
    [["x"], 'Unknown argument "x"; try --help'],
    [
      ["--ttl=999ms"],
      'Bad value "999ms" for --ttl: expected a duration like 500ms, 25s, 5m or 1h, from 1000ms to 366d',
    ],
    [["--publish="], 'Bad value [""] for --publish: expected one or more non-empty values'],
  ] as const
) {
  Deno.test(`readConfig() refuses river token ${args.join(" ").slice(0, 20)}`, () => {
    assertEquals(errorOf({ args: ["token", ...args] }), expected);
  });
}

Deno.test("helpText() of river token names every flag", () => {
  assertEquals(commandOf({ args: ["token", "--help"] }), { kind: "help", of: "token" });
  assertEquals(commandOf({ args: ["token", "--version"] }), { kind: "version" });
  const help = helpText("0.1.0", "token");
  for (const flag of ["publish", "subscribe", "operate", "ttl", "token-secret", "config"]) {
    assert(help.includes(`  --${flag} `), flag);
  }
});

Deno.test("readConfig() collects origins from repeated flags and from a list in a variable", () => {
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
  Deno.test(`readConfig() finds ${origin.length} origins in RIVER_ORIGIN=${JSON.stringify(list)}`, () => {
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
  Deno.test(`readConfig() takes the origin ${origin}`, () => {
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
  Deno.test(`readConfig() refuses the origin ${origin}, which no page can have`, () => {
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
  Deno.test(`readConfig() refuses the origin ${origin}, and says how browsers send it`, () => {
    for (const [way, given] of ways("origin", origin)) {
      assertEquals(
        errorOf(given),
        `Bad value "${origin}" for ${way}: expected ${sent}, as browsers send it`,
      );
    }
  });
}

Deno.test("readConfig() names the origin that is wrong among others", () => {
  const { message } = assertThrows(
    () => commandOf({ env: { RIVER_ORIGIN: "https://a.test, b.test/, c.test" } }),
    ConfigError,
  );
  assertMatch(message, /^Bad value "b\.test\/" for RIVER_ORIGIN: /);
});

Deno.test("readConfig() refuses a key that no header can hold", () => {
  for (const key of ["key\n", " key", "key\t", "one\ntwo", "one\0two"]) {
    for (const [way, given] of ways("publish-key", key)) {
      assertEquals(
        errorOf(given),
        `Bad value for ${way}: expected a value without line ends, and without spaces at its ends`,
      );
    }
  }
});

Deno.test("readConfig() refuses an empty secret even where a good one wins", () => {
  const env = { RIVER_PUBLISH_KEY: "" };
  const expected = "Bad value for RIVER_PUBLISH_KEY: expected a non-empty value";
  assertEquals(errorOf({ args: ["--publish-key=good"], env }), expected);
});

Deno.test("readConfig() leaves the text of a key as it is", () => {
  for (const key of ["007", "1e3", "true", "-x", "a=b c", "ü"]) {
    assertEquals(configOf({ args: [`--publish-key=${key}`] })["publish-key"], key);
    assertEquals(configOf({ env: { RIVER_PUBLISH_KEY: key } })["publish-key"], key);
  }
});

for (const value of ["true", "1", "false", "0"]) {
  Deno.test(`readConfig() takes open = ${value} from flag, environment and file`, () => {
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
  name: Name;
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
  ...(["max-channels", "max-channels-per-client", "max-ids"] as const).map((name) => ({
    name,
    read: [["1", 1]] satisfies [string, unknown][],
    refused: ["0", "-1"],
    expected: "a whole number, 1 or more",
  })),
  {
    name: "max-memory",
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
    name: "history-ttl",
    read: [["1ms", 1]],
    refused: ["0", "0ms"],
    expected: DURATION.replace("0ms to", "1ms to"),
  },
  {
    name: "log-format",
    read: [["text", "text"], ["json", "json"]],
    refused: ["JSON", "xml", "text,json"],
    expected: "text or json",
  },
];

for (const { name, read, refused, expected } of VALUES) {
  Deno.test(`readConfig() reads ${expected} for ${name}, up to its limits`, () => {
    for (const [text, value] of read) {
      for (const [way, given] of ways(name, text)) {
        assertEquals(configOf(given)[name], value, `${way}: ${text}`);
      }
    }
  });
  Deno.test(`readConfig() refuses what is not ${expected} for ${name}`, () => {
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

Deno.test("readConfig() takes auto for a count that may be left to it, and for no other", () => {
  for (const [, given] of ways("max-connections-per-client", "auto")) {
    assertEquals(configOf(given)["max-connections-per-client"], "auto");
  }
  for (const [way, given] of ways("max-connections-per-client", "Auto")) {
    const expected = "expected a whole number, 0 or more, or auto";
    assertEquals(errorOf(given), `Bad value "Auto" for ${way}: ${expected}`);
  }
  for (const [way, given] of ways("max-connections", "auto")) {
    const expected = "expected a whole number, 0 or more";
    assertEquals(errorOf(given), `Bad value "auto" for ${way}: ${expected}`);
  }
});

Deno.test("readConfig() refuses a boolean that is neither true nor false", () => {
  for (const value of ["yes", "no", "TRUE", "00", "1=1"]) {
    for (const [way, given] of ways("open", value)) {
      assertEquals(errorOf(given), `Bad value "${value}" for ${way}: expected true or false`);
    }
  }
  assertEquals(errorOf({ args: ["--open="] }), 'Bad value "" for --open: expected true or false');
});

Deno.test("readConfig() lets --open=0 and --open=1 win over the environment, and both over the file", () => {
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

Deno.test("readConfig() takes --open=0 for a refusal to be open, whatever the environment says", () => {
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
  Deno.test(`readConfig() refuses ${line} in a file`, () => {
    assertEquals(
      errorOf({ args: ["--config=river.toml"], file: line }),
      `Bad value ${shown} in river.toml: expected ${expected}`,
    );
  });
}

Deno.test("readConfig() refuses a flag without its value", () => {
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

Deno.test("readConfig() refuses a flag that is given twice, unless it is a list", () => {
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
  const [flag, shown] of [
    ["--frob", "--frob"],
    ["--frob=1", "--frob"],
    ["--Port=80", "--Port"],
    ["--max_body=5", "--max_body"],
    ["--no-port", "--no-port"],
    ["-p", "-p"],
    ["-1", "-1"],
    ["--constructor", "--constructor"],
    ["--__proto__.port=1", "--__proto__.port"],
    ["--port.x=1", "--port.x"],
    ["-_", "-_"],
    ["--_=1", "--_"],
  ]
) {
  Deno.test(`readConfig() refuses the unknown flag ${flag}`, () => {
    assertEquals(errorOf({ args: [flag] }), `Unknown flag ${shown}; try --help`);
  });
}

Deno.test("readConfig() names the first of several unknown flags, even next to --help", () => {
  assertEquals(errorOf({ args: ["--help", "--one", "--two"] }), "Unknown flag --one; try --help");
});

Deno.test("readConfig() names the flag whose value is an empty word, as an unset variable leaves it", () => {
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

Deno.test("readConfig() refuses words that are no command", () => {
  const refused: [string[], string][] = [
    [["start"], "start"],
    [["help"], "help"],
    [["serve", "serve"], "serve"],
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

Deno.test("readConfig() ignores variables that it does not know", () => {
  assertEquals(configOf({ env: { RIVER_FROB: "1", PORT: "80", HOST: "::" } }), DEFAULTS);
});

for (
  const [file, error] of [
    ["frob = 1", 'Unknown option "frob" in river.toml'],
    ["Port = 1", 'Unknown option "Port" in river.toml'],
    ["max_body = 1", 'Unknown option "max_body" in river.toml'],
    ["[river]\nport = 1", 'Unknown option "river" in river.toml'],
    ['config = "other.toml"', 'Unknown option "config" in river.toml'],
    ["constructor = 1", 'Unknown option "constructor" in river.toml'],
  ]
) {
  Deno.test(`readConfig() refuses a file with ${JSON.stringify(file)}`, () => {
    assertEquals(errorOf({ args: ["--config=river.toml"], file }), error);
  });
}

Deno.test("readConfig() says on one line why a file cannot be read", () => {
  const error = 'Cannot read the config file "lost.toml": no such file: lost.toml';
  assertEquals(errorOf({ args: ["--config=lost.toml"] }), error);
  assertEquals(errorOf({ env: { RIVER_CONFIG: "lost.toml" } }), error);
});

Deno.test("readConfig() says on one line why a file cannot be read that throws no Error", () => {
  const readFile = () => {
    throw "not\nnow";
  };
  const sources = { args: ["--config=x"], env: () => undefined, readFile };
  const { message } = assertThrows(() => readConfig(sources), ConfigError);
  assertEquals(message, 'Cannot read the config file "x": not');
});

for (
  const [flag, start] of [
    ["--config=a\nb", 'Cannot read the config file "a b": no such file: a'],
    ["--host=a\r\nb", "Refusing to listen on a b where anybody could publish: "],
    ["--fr\x1b[2Job", "Unknown flag --fr [2Job; try --help"],
  ]
) {
  Deno.test(`readConfig() says on one line what is wrong with ${JSON.stringify(flag)}`, () => {
    const error = errorOf({ args: [flag] });
    assertEquals(error.slice(0, start.length), start);
    assert(!/\p{Cc}/u.test(error));
  });
}

Deno.test("readConfig() says on one line where a file is no TOML", () => {
  for (const file of ["port = 1\nport = = 2", "{", "port", '"port', "port = 1 2", "\0"]) {
    const error = errorOf({ args: ["--config=river.toml"], file });
    assertMatch(error, /^Cannot parse the config file "river\.toml": .+$/);
  }
});

Deno.test("readConfig() takes an empty file", () => {
  for (const file of ["", "\n", "# port = 1\n"]) {
    const config = configOf({ args: ["--config=river.toml"], file });
    assertEquals(config, { ...DEFAULTS, config: "river.toml" });
  }
});

Deno.test("readConfig() lets a loopback address be open to everybody", () => {
  for (const host of ["127.0.0.1", "127.255.255.254", "localhost", "::1", "[::1]"]) {
    assertEquals(configOf({ args: [`--host=${host}`] }).host, host);
  }
});

Deno.test("readConfig() refuses another address without a key, and says what to do", () => {
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

Deno.test("readConfig() refuses --trust-proxy without a key like a public host, and says what to do", () => {
  for (const host of ["127.0.0.1", "localhost", "::1"]) {
    for (const [way, { args = [], ...given }] of ways("trust-proxy", "true")) {
      const proxied = { ...given, args: [`--host=${host}`, ...args] };
      assertEquals(
        errorOf(proxied),
        "Refusing to serve behind a proxy (--trust-proxy) where anybody could publish: " +
          "set --publish-key or --token-secret, or --open if that is what you want",
        way,
      );
      for (const cure of ["--publish-key=k", `--token-secret=${SECRET}`, "--open"]) {
        const config = configOf({ ...proxied, args: [...proxied.args, cure] });
        assertEquals(config["trust-proxy"], true);
      }
    }
  }
});

Deno.test("readConfig() refuses a message limit that no body could reach", () => {
  const limits = (message: number) => ({ args: [`--max-message=${message}`, "--max-body=1000"] });
  assertEquals(configOf(limits(1000))["max-message"], 1000);
  assertEquals(
    errorOf(limits(1001)),
    "--max-message (1001 bytes) is more than --max-body (1000 bytes): no such message could come in",
  );
});

Deno.test("readConfig() shows help or the version when asked, whatever else is set", () => {
  for (const args of [["--help"], ["-h"], ["serve", "--help"], ["--port=many", "--help"]]) {
    assertEquals(commandOf({ args, env: { RIVER_PORT: "many" } }), { kind: "help", of: "serve" });
  }
  for (const args of [["--version"], ["-V"], ["--config=lost.toml", "--version"]]) {
    assertEquals(commandOf({ args, env: { RIVER_PORT: "many" } }), { kind: "version" });
  }
  assertEquals(commandOf({ args: ["--version", "--help"] }), { kind: "help", of: "serve" });
  for (const flag of ["--help", "--version"]) {
    assertEquals(errorOf({ args: [flag, "extra"] }), 'Unknown argument "extra"; try --help');
  }
});

Deno.test("readConfig() throws nothing but ConfigError of one line, whatever the arguments", () => {
  const names = [...Object.keys(OPTIONS), "help", "frob", "__proto__", ""];
  const anyText = fc.string({ unit: fc.oneof(fc.constantFrom("\n", "\r", "\x1b"), fc.string()) });
  const anyArgument = fc.oneof(
    anyText,
    fc.constantFrom(...names).map((name) => `--${name}`),
    fc.tuple(fc.constantFrom(...names), anyText).map(([name, value]) => `--${name}=${value}`),
  );
  fc.assert(fc.property(fc.array(anyArgument), anyText, (args, file) => {
    try {
      const { kind } = readConfig({ args, env: () => undefined, readFile: () => file });
      assert(["serve", "help", "version"].includes(kind));
    } catch (error) {
      assert(error instanceof ConfigError, String(error));
      assert(!/\p{Cc}/u.test(error.message), JSON.stringify(error.message));
    }
  }));
});

Deno.test("helpText() shows every option with its placeholder, meaning and default", () => {
  const rows = helpText("9.8.7", "serve").split("\n");
  assertEquals(rows[0], "river 9.8.7: a publish/subscribe push server");
  assertEquals(rows[2], "Usage: river [serve] [flags]");
  const shown = new Map(rows.map((row) => [/^ {2}--([a-z-]+)/.exec(row)?.[1], row]));
  for (const [name, option] of Object.entries(OPTIONS)) {
    const row = shown.get(name) ?? "";
    assertStringIncludes(row, option.help);
    assertEquals(
      row.endsWith(` (default ${"default" in option ? option.default : ""})`),
      "default" in option,
    );
  }
  assertEquals(shown.get("help"), `  --help${" ".repeat(30)}show this`);
  assertEquals(shown.get("version"), `  --version${" ".repeat(27)}show the version`);
  assertEquals(
    shown.size,
    Object.keys(OPTIONS).length + 3,
    "those two besides the options, and rows without a flag",
  );
});

Deno.test("helpText() aligns the options and shows what kind of value each takes", () => {
  const help = helpText("0.1.0", "serve");
  for (
    const row of [
      "  --host TEXT                         address to listen on (default 127.0.0.1)",
      "  --port N                            port to listen on; 0 picks one (default 9271)",
      "  --config TEXT                       TOML file with these same names",
      "  --max-channels-per-client N         channels one request, NDJSON line or socket may name (default 128)",
      "  --max-message SIZE                  data of one message (default 64KiB)",
      "  --grace TIME                        how long shutting down may take (default 10s)",
      "  --log-format text|json              how logs look on stderr (default text)",
    ]
  ) assertStringIncludes(help, `\n${row}\n`);
  assertMatch(help, /\n {2}--open {30}let anybody publish [^\n]+\n/);
  assert(help.endsWith(".\n") && !help.endsWith("\n\n"), "one line end at the end");
});

Deno.test("helpText() tells how options are spelt in the environment and the file", () => {
  const help = helpText("0.1.0", "serve");
  const ttl = "2h";
  assertStringIncludes(help, `RIVER_HISTORY_TTL=${ttl}`);
  assertStringIncludes(help, `history-ttl = "${ttl}"`);
  for (const [way, given] of ways("history-ttl", ttl)) {
    assertEquals(configOf(given)["history-ttl"], 7_200_000, way);
  }
});

Deno.test("optionsTable() has one row of four cells an option", () => {
  const [head, rule, ...rows] = optionsTable().trimEnd().split("\n");
  assertEquals([head, rule], ["| flag | default | what | beyond it |", "|---|---|---|---|"]);
  assertEquals(rows.map((row) => row.split("|").length), rows.map(() => 6));
  assertEquals(
    rows.map((row) => /^\| `--([a-z-]+)` \|/.exec(row)?.[1]),
    Object.keys(OPTIONS),
  );
  assertStringIncludes(
    optionsTable(),
    "\n| `--max-channels` | 100000 | channels published to, at a time; as many more may be only watched | 503 |\n",
  );
  assertStringIncludes(
    optionsTable(),
    "\n| `--config` | none | TOML file with these same names |  |\n",
  );
});
