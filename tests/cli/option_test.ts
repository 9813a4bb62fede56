import { assertEquals } from "@std/assert";
import { defaultText } from "../../lib/cli/option.ts";
import { SERVER_OPTIONS, type ServerConfig } from "../../lib/cli/options.ts";
import { BYTES, configOf, DEFAULTS, DURATION, errorOf, kebab, ways } from "../support/options.ts";

for (const value of ["true", "1", "false", "0"]) {
  Deno.test(`readOptions() takes open = ${value} from flag, environment and file`, () => {
    const open = value === "true" || value === "1";
    for (const [way, given] of ways("open", value)) {
      assertEquals(configOf(given).open, open, way);
    }
  });
}

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
