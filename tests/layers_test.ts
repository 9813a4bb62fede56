import { assert, assertEquals } from "@std/assert";

/**
 * What each folder of lib/ may import beside its own files: folders, and names of libraries.
 * docs/architecture.md says why.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: ["@std/text", "node:buffer"],
  core: ["base", "node:buffer"],
  engines: ["base", "core"],
  access: ["base", "core", "node:crypto", "jose"],
  http: ["base", "core", "access", "static", "chat-demo", "node:process", "@std/http", "uplot"],
  "river.ts": ["base", "core", "engines", "access", "http"],
  cli: ["base", "core", "access", "river.ts", "@std/cli", "@std/toml"],
  "main.ts": ["cli", "deno.json"],
};

/** The runtime's words for HTTP and for itself, which the core must not know. */
const NOT_IN_CORE = /\b(?:Request|Response|WebSocket)\b|\bDeno\./;

const MOST_LINES = 400;
const MOST_FILES = 15;
const MEDIAN_LINES = 120;
const MOST_FUNCTION_LINES = 60;

const ROOT = new URL("../", import.meta.url);

interface Source {
  /** From the top of the project. */
  readonly path: string;
  readonly text: string;
}

const SOURCES: readonly Source[] = ["main.ts", ...filesUnder("lib/")]
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
  .map((path) => ({ path, text: Deno.readTextFileSync(new URL(path, ROOT)) }));

function filesUnder(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesUnder(`${folder}${name}/`) : [`${folder}${name}`]
  );
}

/** The folder, library or lone file that a path from the top or the name of a module belongs to. */
function roomOf(path: string): string {
  const [first, second] = path.replace(/^lib\//, "").split("/");
  return first.startsWith("@") ? `${first}/${second}` : first;
}

/** The rooms that a file imports from. */
function importsOf(source: Source): string[] {
  const specifiers = codeOf(source)
    .matchAll(/\bfrom "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"/gm);
  return [...specifiers].map(([, from, bare, dynamic]) => {
    const specifier = from ?? bare ?? dynamic;
    if (!specifier.startsWith(".")) return roomOf(specifier);
    return roomOf(new URL(specifier, new URL(source.path, ROOT)).href.slice(ROOT.href.length));
  });
}

/** A source without its comments. */
function codeOf({ text }: Source): string {
  return text.replace(/\/\*[^]*?\*\//g, "").replace(/(?<!:)\/\/.*$/gm, "");
}

/** Every block that is not a type or a value, as `file:line` and its lines. Relies on the formatter. */
function blocksOf({ path, text }: Source): [string, number][] {
  const lines = text.split("\n");
  return lines.flatMap((line, start): [string, number][] => {
    if (!line.endsWith("{") || /\b(?:class|interface|type) |(?:=|\(|:) \{$/.test(line)) return [];
    const indent = /^ */.exec(line)![0];
    const end = lines.findIndex((other, at) => at > start && other.startsWith(`${indent}}`));
    return [[`${path}:${start + 1}`, end - start + 1]];
  });
}

function linesOf({ text }: Source): number {
  return text.trimEnd().split("\n").length;
}

Deno.test("no folder imports from one that docs/architecture.md forbids", () => {
  const forbidden = SOURCES.flatMap((source) => {
    const room = roomOf(source.path);
    const allowed = [room, ...MAY_IMPORT[room] ?? []];
    return importsOf(source)
      .filter((imported) => !allowed.includes(imported))
      .map((imported) => `${source.path} imports from ${imported}`);
  });
  assertEquals(forbidden, []);
});

Deno.test("every arrow that is allowed is there, so that the list says how the house is", () => {
  for (const [room, allowed] of Object.entries(MAY_IMPORT)) {
    const sources = SOURCES.filter(({ path }) => roomOf(path) === room);
    assert(sources.length > 0, `there is no ${room}`);
    const used = new Set(sources.flatMap(importsOf));
    assertEquals(allowed.filter((each) => !used.has(each)), [], `${room} does not use these`);
  }
});

Deno.test("the core names no transport and no runtime", () => {
  const files = SOURCES.filter((source) => roomOf(source.path) === "core");
  const naming = files.filter((source) => NOT_IN_CORE.test(codeOf(source)));
  assertEquals(naming.map(({ path }) => path), []);
});

Deno.test(`no file of lib has more than ${MOST_LINES} lines, the median less than ${MEDIAN_LINES}`, () => {
  const long = SOURCES.filter((source) => linesOf(source) > MOST_LINES);
  assertEquals(long.map((source) => `${source.path}: ${linesOf(source)}`), []);
  const sorted = SOURCES.map(linesOf).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  assert(median < MEDIAN_LINES, `the median is ${median}`);
});

Deno.test(`no function has more than ${MOST_FUNCTION_LINES} lines`, () => {
  const blocks = SOURCES.flatMap(blocksOf);
  assert(blocks.length > 500, "the blocks of the sources are found");
  assertEquals(blocks.filter(([, lines]) => lines > MOST_FUNCTION_LINES), []);
});

Deno.test(`no folder of lib holds more than ${MOST_FILES} files`, () => {
  const folders = Map.groupBy(SOURCES, ({ path }) => path.slice(0, path.lastIndexOf("/") + 1));
  const full = [...folders].filter(([, files]) => files.length > MOST_FILES);
  assertEquals(full.map(([folder, files]) => `${folder}: ${files.length}`), []);
});
