import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ConfigError } from "../../lib/cli/option.ts";
import { configOf, errorOf, type Given, orderOf, SECRET, ways } from "../support/options.ts";

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
    "http://localhost:8000/",
    "example.com/",
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "chrome-extension://abcdefghijklmnop",
    "moz-extension://0f8d2c1e-0000-4000-8000-000000000000",
    "app://obsidian.md",
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
    "https://x.com//",
    "https://x.com/chat",
    "/",
    "file:///index.html",
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
    () => orderOf({ env: { RIVER_ORIGIN: "https://a.test, b.test/x, c.test" } }),
    ConfigError,
  );
  assertMatch(message, /^Bad value "b\.test\/x" for RIVER_ORIGIN: /);
});

Deno.test("readOptions() refuses the origin null: any page opened as a file would have it", () => {
  for (const [way, given] of ways("origin", "null")) {
    assertMatch(errorOf(given), new RegExp(`^Bad value "null" for ${way}: .*opened as a file$`));
  }
});

Deno.test("readOptions() refuses a key that no header can hold", () => {
  for (const key of ["key\n", " key", "key\t", "one\ntwo", "one\0two"]) {
    for (const [way, given] of ways("publishKey", key)) {
      assertEquals(
        errorOf(given),
        `Bad value for ${way}: expected a value without line breaks, and without spaces at its ends`,
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

Deno.test("readOptions() takes --open=0 for a refusal to be open, whatever the environment says", () => {
  assertMatch(
    errorOf({ args: ["--host=0.0.0.0", "--open=0"], env: { RIVER_OPEN: "1" } }),
    /^Refusing to listen on 0\.0\.0\.0 /,
  );
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
    "--max-message (1001 bytes) is more than --max-body (1000 bytes): a message of that size could never arrive",
  );
});

for (
  const [given, start] of [
    [{ args: ["--publish-key hunter2"] }, "Bad flag --publish-key: write --publish-key=VALUE"],
    [{ args: ["--publish-key:hunter2"] }, "Bad flag --publish-key: write --publish-key=VALUE"],
    [
      { args: ["--publish-key", "--hunter2"] },
      "Bad value for --publish-key: write --publish-key=VALUE for",
    ],
    [
      { args: ["--publish-kye:hunter2"] },
      "Unknown flag --publish-kye; did you mean --publish-key?",
    ],
    [{ env: { "RIVER_PUBLISH_KYE hunter2": "1" } }, "Unknown variable RIVER_PUBLISH_KYE in"],
    [{ file: '"publish-key=hunter2" = 1' }, 'Unknown option "publish-key" in river.toml'],
    [
      { file: "publish-key = hunter2" },
      'Cannot parse the config file "river.toml": line 1, column',
    ],
    [
      { file: 'publish-key = "hunter2' },
      'Cannot parse the config file "river.toml": line 1, column',
    ],
    [{ file: "publish-key: hunter2" }, 'Cannot parse the config file "river.toml": line 1, column'],
  ] satisfies [Given, string][]
) {
  Deno.test(`readOptions() shows no secret that is where a name should be: ${JSON.stringify(given)}`, () => {
    const args = "file" in given ? ["--config=river.toml"] : [];
    const error = errorOf({ args, ...given });
    assertEquals(error.slice(0, start.length), start);
    assert(!error.includes("hunter2"), error);
  });
}
