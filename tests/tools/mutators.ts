/**
 * The edits that `mutate.ts` makes: for each place in a source file, what it could say by mistake.
 *
 * @module
 */
import { stripTypeScriptTypes } from "node:module";
import { type AnyNode, type Literal, parse } from "acorn";

/** One edit of one place. */
export interface Mutant {
  /** Path of the file from the top of the project. */
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  /** Names of the classes, functions and variables around it, joined by dots. */
  readonly within: string;
  /** The source before and after, on one line. */
  readonly edit: string;
  /** The whole file after the edit. */
  readonly source: string;
}

/** What may stand in place of the source from `start` to `end`. */
interface Site {
  readonly start: number;
  readonly end: number;
  readonly texts: readonly string[];
}

/** Operators, and those that are mistaken for them. */
const OPERATORS: Record<string, readonly string[]> = {
  "===": ["!=="],
  "!==": ["==="],
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["*"],
  "&": ["|"],
  "|": ["&"],
  "<<": [">>"],
  ">>": ["<<"],
  "&&": ["||"],
  "||": ["&&"],
  "??": ["&&"],
  "+=": ["-="],
  "-=": ["+="],
  "??=": ["="],
  "++": ["--"],
  "--": ["++"],
};

/** Methods, and those that are mistaken for them. */
const METHODS: Record<string, string> = {
  some: "every",
  every: "some",
  startsWith: "endsWith",
  endsWith: "startsWith",
  indexOf: "lastIndexOf",
  lastIndexOf: "indexOf",
  min: "max",
  max: "min",
  floor: "ceil",
  ceil: "floor",
  toLowerCase: "toUpperCase",
  toUpperCase: "toLowerCase",
};

/**
 * All mutants of a file, a list for each place. Types, imports and prose (texts with a blank) are left
 * alone, and so are the numbers of the module's constants: most are tuned, and their neighbours are as good.
 */
export function mutantsOf(file: string, source: string): Mutant[][] {
  // Blanks take the place of types, so that everything stays where it is.
  const plain = stripTypeScriptTypes(source);
  if (plain.length !== source.length) throw new Error(`${file} has types that cannot be blanked`);
  const places: Mutant[][] = [];
  visit(parse(plain, { ecmaVersion: "latest", sourceType: "module" }), []);
  return places;

  function visit(node: AnyNode, parents: readonly AnyNode[]): void {
    for (const { start, end, texts } of sitesOf(node, parents, plain)) {
      places.push(texts.map((text) => ({
        file,
        line: source.slice(0, start).split("\n").length,
        within: namesAround(parents, source),
        edit: describe(source, start, end, text),
        source: source.slice(0, start) + text + source.slice(end),
      })));
    }
    for (const child of childrenOf(node)) visit(child, [node, ...parents]);
  }
}

function childrenOf(node: AnyNode): AnyNode[] {
  if (node.type === "ImportDeclaration") return [];
  if (node.type === "Property" && node.key.type === "Literal") return [node.value];
  return Object.values(node).flat().filter((value) => typeof value?.type === "string");
}

/** The places of a node itself; `parents` begin with the nearest. */
function sitesOf(node: AnyNode, parents: readonly AnyNode[], source: string): Site[] {
  const at = ({ start, end }: { start: number; end: number }, ...texts: string[]): Site[] =>
    texts.length === 0 ? [] : [{ start, end, texts }];
  const token = (text: string, from: number, ...texts: readonly string[]): Site[] => {
    const start = source.indexOf(text, from);
    return at({ start, end: start + text.length }, ...texts);
  };
  const [parent] = parents;
  switch (node.type) {
    case "IfStatement":
    case "ConditionalExpression":
      return at(node.test, "true", "false");
    case "WhileStatement":
      // Always true, it would only hang.
      return at(node.test, "false");
    case "ForStatement":
      return node.test ? at(node.test, "false") : [];
    case "BinaryExpression":
      if (!parents.some(isFunctionOrClass)) return [];
      // Texts can be added, but not taken away.
      if (node.operator === "+" && (isText(node.left) || isText(node.right))) return [];
      return token(node.operator, node.left.end, ...OPERATORS[node.operator] ?? []);
    case "LogicalExpression":
    case "AssignmentExpression":
      return token(node.operator, node.left.end, ...OPERATORS[node.operator] ?? []);
    case "UpdateExpression":
      return token(
        node.operator,
        node.prefix ? node.start : node.argument.end,
        ...OPERATORS[node.operator],
      );
    case "UnaryExpression":
      return /[a-z]/.test(node.operator) ? [] : token(node.operator, node.start, "");
    case "Literal":
      return at(node, ...textsBeside(node, parents));
    case "TemplateLiteral":
      return at(node, ...wordsBeside(node.quasis.map(({ value }) => value.raw).join("")));
    case "ArrayExpression":
      return node.elements.length > 0 ? at(node, "[]") : [];
    case "MemberExpression":
    case "CallExpression":
      return [
        ...node.optional
          ? optional(node.type === "MemberExpression" ? node.object : node.callee)
          : [],
        ...method(node),
      ];
    case "BlockStatement":
      return node.body.length > 0 ? at(node, "{}") : [];
    case "ExpressionStatement":
    case "ThrowStatement":
    case "ContinueStatement":
      return at(node, ";");
    case "BreakStatement":
      return parent.type === "SwitchCase" ? [] : at(node, ";");
    case "ReturnStatement":
      return isEarly(node, parents) ? at(node, ";") : [];
  }
  return [];

  function optional(from: AnyNode): Site[] {
    const start = source.indexOf("?.", from.end);
    const isName = /[\w#]/.test(source[start + 2]);
    return at({ start, end: start + 2 }, isName ? "." : "");
  }

  function method(node: AnyNode): Site[] {
    if (node.type !== "CallExpression" || node.callee.type !== "MemberExpression") return [];
    const { property } = node.callee;
    if (property.type !== "Identifier" || !Object.hasOwn(METHODS, property.name)) return [];
    return at(property, METHODS[property.name]);
  }
}

function isText(node: AnyNode): boolean {
  return node.type === "TemplateLiteral" ||
    node.type === "Literal" && typeof node.value === "string";
}

function textsBeside(node: Literal, parents: readonly AnyNode[]): string[] {
  if (node.regex) return expressionsBeside(node.regex.pattern, node.regex.flags);
  if (typeof node.value === "boolean") return [String(!node.value)];
  if (typeof node.value === "string") return wordsBeside(node.value);
  if (typeof node.value !== "number" || !parents.some(isFunctionOrClass)) return [];
  return [node.value === 1 ? "0" : String(node.value + 1)];
}

function wordsBeside(text: string): string[] {
  if (/\s\S/.test(text)) return [];
  return [text === "" ? '"mutant"' : '""'];
}

/** A regular expression without an anchor or a flag. */
function expressionsBeside(pattern: string, flags: string): string[] {
  return [
    ...pattern.startsWith("^") ? [`/${pattern.slice(1)}/${flags}`] : [],
    ...pattern.endsWith("$") ? [`/${pattern.slice(0, -1)}/${flags}`] : [],
    ...flags.includes("i") ? [`/${pattern}/${flags.replace("i", "")}`] : [],
  ];
}

function isFunctionOrClass({ type }: AnyNode): boolean {
  return /Function|^Class/.test(type);
}

/** Whether the function continues without it. */
function isEarly(node: AnyNode, [block, around]: readonly AnyNode[]): boolean {
  return block.type !== "BlockStatement" || !isFunctionOrClass(around) ||
    block.body.at(-1) !== node;
}

function namesAround(parents: readonly AnyNode[], source: string): string {
  const names = parents.flatMap((node) => {
    const name = node.type === "MethodDefinition" || node.type === "PropertyDefinition"
      ? node.key
      : "id" in node
      ? node.id
      : undefined;
    return name ? [source.slice(name.start, name.end)] : [];
  });
  return names.reverse().join(".");
}

/** The lines that an edit touches, before and after, each as one line of moderate length. */
function describe(source: string, start: number, end: number, text: string): string {
  const from = source.lastIndexOf("\n", start - 1) + 1;
  const to = source.indexOf("\n", end - 1);
  const head = source.slice(from, start);
  const tail = source.slice(end, to < 0 ? source.length : to);
  return `${brief(head + source.slice(start, end) + tail)} -> ${brief(head + text + tail)}`;
}

function brief(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 160 ? line : `${line.slice(0, 100)} … ${line.slice(-57)}`;
}
