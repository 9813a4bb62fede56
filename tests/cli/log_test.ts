import { assertEquals, assertMatch } from "@std/assert";
import { createLog, errorFields, type LogFields } from "../../lib/cli/log.ts";

const TIME = "2011-02-03T04:05:06.789Z";

/** What one call writes. */
function logged(
  format: "text" | "json",
  level: "info" | "warn" | "error",
  message: string,
  fields?: LogFields,
): string[] {
  const lines: string[] = [];
  createLog(format, (line) => lines.push(line), { now: () => new Date(TIME) })[level](
    message,
    fields,
  );
  return lines;
}

Deno.test("createLog() writes text lines with time, level, message and facts", () => {
  assertEquals(logged("text", "info", "shutting down"), [`${TIME} info shutting down\n`]);
  assertEquals(logged("text", "error", "it broke", { signal: "SIGTERM", n: 3 }), [
    `${TIME} error it broke signal="SIGTERM" n=3\n`,
  ]);
});

Deno.test("createLog() writes JSON lines with time, level, message and facts", () => {
  assertEquals(logged("json", "info", "shutting down"), [
    `{"time":"${TIME}","level":"info","message":"shutting down"}\n`,
  ]);
  assertEquals(logged("json", "error", "it broke", { signal: "SIGTERM", n: 3 }), [
    `{"time":"${TIME}","level":"error","message":"it broke","signal":"SIGTERM","n":3}\n`,
  ]);
});

Deno.test("createLog() keeps a fact with line breaks and quotes on its line", () => {
  const fields = { error: 'no "such"\r\nthing\0\x1b[2J' };
  const escaped = '"no \\"such\\"\\r\\nthing\\u0000\\u001b[2J"';
  assertEquals(logged("text", "error", "it broke", fields), [
    `${TIME} error it broke error=${escaped}\n`,
  ]);
  assertEquals(logged("json", "error", "it broke", fields), [
    `{"time":"${TIME}","level":"error","message":"it broke","error":${escaped}}\n`,
  ]);
});

Deno.test("createLog() lets no character through that is more than itself where the log is read", () => {
  const text = "a\x7f\x85\x9b\u200b\u2028\u2029\u202e\ufeff\u{e0001}b";
  const escaped = '"a\\u007f\\u0085\\u009b\\u200b\\u2028\\u2029\\u202e\\ufeff\\udb40\\udc01b"';
  assertEquals(logged("text", "warn", "odd", { text }), [`${TIME} warn odd text=${escaped}\n`]);
  const [line] = logged("json", "warn", "odd", { text });
  assertEquals(JSON.parse(line).text, text);
  assertMatch(line, /^[\x20-\x7e]+\n$/);
});

Deno.test("createLog() looks at the clock for every line", () => {
  const lines: string[] = [];
  let day = 1;
  const log = createLog(
    "text",
    (line) => lines.push(line),
    { now: () => new Date(Date.UTC(2011, 0, day++)) },
  );
  log.info("a");
  log.error("b");
  assertEquals(lines, ["2011-01-01T00:00:00.000Z info a\n", "2011-01-02T00:00:00.000Z error b\n"]);
});

Deno.test("createLog() takes the time of day unless it is given another clock", () => {
  const lines: string[] = [];
  const before = Date.now();
  createLog("text", (line) => lines.push(line)).info("a");
  assertMatch(lines[0], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info a\n$/);
  const time = Date.parse(lines[0].split(" ")[0]);
  assertEquals(time >= before && time <= Date.now(), true, lines[0]);
});

Deno.test("errorFields() gives an error's message and stack", () => {
  const error = new RangeError("too far");
  assertEquals(errorFields(error), { error: "too far", stack: error.stack! });
  error.stack = undefined;
  assertEquals(errorFields(error), { error: "too far", stack: "" });
});

Deno.test("errorFields() prints what was thrown without being an error", () => {
  const thrown: [unknown, string][] = [
    ["text", "text"],
    [undefined, "undefined"],
    [null, "null"],
    [404, "404"],
    [Symbol("s"), "Symbol(s)"],
  ];
  for (const [value, error] of thrown) assertEquals(errorFields(value), { error });
});

Deno.test("errorFields() survives what cannot be printed", () => {
  const unprintable = {
    toString() {
      throw new Error("no");
    },
  };
  for (const value of [Object.create(null), unprintable]) {
    assertEquals(errorFields(value), { error: "something that cannot be printed" });
  }
});

Deno.test("createLog() writes no line below its level, which can be changed", () => {
  const lines: string[] = [];
  const log = createLog("text", (line) => lines.push(line), { level: "warn" });
  const writeAll = () => {
    for (const level of ["info", "warn", "error"] as const) log[level](level);
    return lines.splice(0).map((line) => line.trim().split(" ")[1]);
  };
  assertEquals(writeAll(), ["warn", "error"]);
  log.level = "error";
  assertEquals(writeAll(), ["error"]);
  log.level = "info";
  assertEquals(writeAll(), ["info", "warn", "error"]);
});
