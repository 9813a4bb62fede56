import { assert, assertEquals } from "@std/assert";

/**
 * What each folder of lib/ may import beside its own files: folders, and names of libraries.
 * docs/architecture.md says why.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: ["@std/text", "node:buffer"],
  core: ["base", "node:buffer"],
  engines: ["base", "core", "node:sqlite"],
  access: ["base", "core", "node:crypto", "jose"],
  http: ["base", "core", "access", "static", "chat-demo", "node:process", "@std/http", "uplot"],
  "river.ts": ["base", "core", "engines", "access", "http"],
  cli: ["base", "core", "access", "river.ts", "@std/cli", "@std/toml"],
  "main.ts": ["cli", "deno.json"],
};

/** The runtime's words for HTTP, the network and itself, which the core must not know. */
const NOT_IN_CORE = new Set(
  ("Deno Request Response Headers WebSocket WebSocketStream EventSource Worker fetch navigator " +
    "location process globalThis").split(" "),
);

const MOST_LINES = 400;
const MOST_FILES = 15;
const MEDIAN_LINES = 120;
const MOST_FUNCTION_LINES = 60;

const ROOT = new URL("../", import.meta.url);

/** What the tests ask of a file. */
interface Source {
  /** From the top of the project. */
  readonly path: string;
  readonly lines: number;
  /** What it imports, in any way. Undefined stands for something that only a run could tell. */
  readonly specifiers: readonly (string | undefined)[];
  /** The names of others that it uses, beside those of its own fields. */
  readonly names: ReadonlySet<string>;
  /** The lines of its functions, by `path:line`. */
  readonly functions: readonly (readonly [string, number])[];
}

const SOURCES: readonly Source[] = ["main.ts", ...filesUnder("lib/")]
  .filter((path) => path !== "lib/std.d.ts")
  .map((path) => sourceOf(path, Deno.readTextFileSync(new URL(path, ROOT))));

function filesUnder(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesUnder(`${folder}${name}/`) : [`${folder}${name}`]
  );
}

/** The text of a literal. Undefined if it is not one. */
function literal(node: Deno.lint.Node | null): string | undefined {
  if (node?.type === "TSLiteralType") return literal(node.literal);
  if (node?.type === "Literal" && typeof node.value === "string") return node.value;
  if (node?.type === "TemplateLiteral" && node.expressions.length === 0) {
    return node.quasis[0].cooked;
  }
}

/** Whether an identifier only names a field or a key. */
function isField(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  switch (parent.type) {
    case "MemberExpression":
      return parent.property === node && !parent.computed;
    case "Property":
      return parent.key === node && !parent.computed && !parent.shorthand;
    case "MethodDefinition":
    case "PropertyDefinition":
    case "TSPropertySignature":
    case "TSMethodSignature":
      return parent.key === node && !parent.computed;
    default:
      return false;
  }
}

/** Reads a file with the parser of `deno lint`. */
function sourceOf(path: string, text: string): Source {
  const specifiers: (string | undefined)[] = [];
  const names = new Set<string>();
  const functions: (readonly [string, number])[] = [];
  const lineAt = (index: number) => text.slice(0, index).split("\n").length;
  const imported = (node: Deno.lint.Node | null) => {
    specifiers.push(literal(node));
  };
  const measure = ({ range: [start, end] }: Deno.lint.Node) => {
    const first = lineAt(start);
    functions.push([`${path}:${first}`, lineAt(end) - first + 1]);
  };
  const visitor: Deno.lint.LintVisitor = {
    ImportDeclaration: ({ source }) => imported(source),
    ExportAllDeclaration: ({ source }) => imported(source),
    ExportNamedDeclaration: ({ source }) => void (source && imported(source)),
    ImportExpression: ({ source }) => imported(source),
    TSImportType: ({ argument }) => imported(argument),
    TSExternalModuleReference: ({ expression }) => imported(expression),
    // The address of a file beside this one, as workers need.
    NewExpression({ callee, arguments: [address, base] }) {
      const isUrl = callee.type === "Identifier" && callee.name === "URL" && base !== undefined;
      if (isUrl) imported(address);
    },
    FunctionDeclaration: measure,
    FunctionExpression: measure,
    ArrowFunctionExpression: measure,
    Identifier: (node) => void (isField(node) || names.add(node.name)),
  };
  const plugin = { name: "layers", rules: { read: { create: () => visitor } } };
  Deno.lint.runPlugin(plugin, path, text);
  return { path, lines: text.trimEnd().split("\n").length, specifiers, names, functions };
}

/** The folder, library or lone file that a path from the top or the name of a module belongs to. */
function roomOf(path: string): string {
  const [first, second] = path.replace(/^lib\//, "").split("/");
  return first.startsWith("@") ? `${first}/${second}` : first;
}

/** The rooms that a file imports from. */
function importsOf({ path, specifiers }: Source): string[] {
  return specifiers.map((specifier) => {
    if (specifier === undefined) return "something unknown";
    if (!specifier.startsWith(".")) return roomOf(specifier);
    return roomOf(new URL(specifier, new URL(path, ROOT)).href.slice(ROOT.href.length));
  });
}

/** The imports of a file that its room does not allow. */
function forbiddenIn(source: Source): string[] {
  const room = roomOf(source.path);
  const allowed = [room, ...MAY_IMPORT[room] ?? []];
  return importsOf(source)
    .filter((imported) => !allowed.includes(imported))
    .map((imported) => `${source.path} imports from ${imported}`);
}

Deno.test("no folder imports from one that docs/architecture.md forbids", () => {
  assertEquals(SOURCES.flatMap(forbiddenIn), []);
});

for (
  const smuggled of [
    'import { a } from "../river.ts"',
    'import type { A } from "../river.ts"',
    'import "../river.ts"',
    'export * from /* x */ "../river.ts"',
    'export { a } from "../river.ts"',
    "await import(`../river.ts`)",
    'await import(\n  "../river.ts"\n)',
    "await import(path)",
    'type A = typeof import("../river.ts")',
    'const a = "/*"; import "../river.ts"; const b = "*/"',
    'new Worker(new URL("../river.ts", import.meta.url))',
  ]
) {
  Deno.test(`a file of the core that has ${JSON.stringify(smuggled)} would be found`, () => {
    const source = sourceOf("lib/core/smuggler.ts", smuggled);
    const from = smuggled.includes("path") ? "something unknown" : "river.ts";
    assertEquals(forbiddenIn(source), [`lib/core/smuggler.ts imports from ${from}`]);
  });
}

Deno.test("lib has TypeScript only, and one file of declarations: for @std, which has none here", () => {
  assertEquals(SOURCES.filter(({ path }) => !/(?<!\.d)\.ts$/.test(path)), []);
});

Deno.test("every arrow that is allowed is there, so that the list says how the house is", () => {
  for (const [room, allowed] of Object.entries(MAY_IMPORT)) {
    const sources = SOURCES.filter(({ path }) => roomOf(path) === room);
    assert(sources.length > 0, `there is no ${room}`);
    const used = new Set(sources.flatMap(importsOf));
    assertEquals(allowed.filter((each) => !used.has(each)), [], `${room} does not use these`);
  }
});

/** The words in a file that the core must not know. */
function foreignTo({ path, names }: Source): string[] {
  return [...names].filter((name) => NOT_IN_CORE.has(name)).map((name) => `${path}: ${name}`);
}

Deno.test("the core names no transport and no runtime", () => {
  assertEquals(
    SOURCES.filter((source) => roomOf(source.path) === "core").flatMap(foreignTo),
    [],
  );
});

for (
  const [code, name] of [
    ["const { pid } = Deno", "Deno"],
    ['Deno?.["pid"]', "Deno"],
    ["fetch(address)", "fetch"],
    ["(socket: WebSocket) => socket.close()", "WebSocket"],
    ["({ Headers }).Headers", "Headers"],
  ]
) {
  Deno.test(`a file of the core that has ${JSON.stringify(code)} would be found`, () => {
    assertEquals(foreignTo(sourceOf("x.ts", code)), [`x.ts: ${name}`]);
  });
}

Deno.test(`no file of lib has more than ${MOST_LINES} lines, the median less than ${MEDIAN_LINES}`, () => {
  assertEquals(SOURCES.filter(({ lines }) => lines > MOST_LINES).map(({ path }) => path), []);
  const sorted = SOURCES.map(({ lines }) => lines).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  assert(median < MEDIAN_LINES, `the median is ${median}`);
});

Deno.test(`no function has more than ${MOST_FUNCTION_LINES} lines`, () => {
  const functions = SOURCES.flatMap(({ functions }) => functions);
  assert(functions.length > 500, "the functions of the sources are found");
  assertEquals(functions.filter(([, lines]) => lines > MOST_FUNCTION_LINES), []);
});

Deno.test("the lines of a function are counted, however it is written", () => {
  const body = "\n".repeat(58);
  for (
    const code of [
      `function type() {${body}\n}\n`,
      `const f = () => {${body}\n};`,
      `const f = () =>${body}\n  1;`,
      `class A {\n  get type() {${body}\n  }\n}`,
      `const f = function () { return \`\n}\`;${body}};`,
    ]
  ) {
    assertEquals(sourceOf("x.ts", code).functions.map(([, lines]) => lines), [60]);
  }
});

Deno.test(`no folder of lib holds more than ${MOST_FILES} files`, () => {
  const folders = Map.groupBy(SOURCES, ({ path }) => path.slice(0, path.lastIndexOf("/") + 1));
  const full = [...folders].filter(([, files]) => files.length > MOST_FILES);
  assertEquals(full.map(([folder, files]) => `${folder}: ${files.length}`), []);
});
