/**
 * A request's parameters: from the query string, a form or a JSON object, decoded strictly and
 * turned into typed values. Whatever is wrong is named.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { keyOf } from "../base/key.ts";
import { isNear, plainName } from "../base/spelling.ts";
import { checkName } from "../core/names.ts";
import { badParameter, quote, Refusal } from "../core/refusal.ts";
import { mayMean } from "./aliases.ts";
import type { BodyReader } from "./body.ts";
import { checkTransfer, contentOf } from "./content.ts";
import { parseObject } from "./json.ts";

/** Parameters that a query string or form may have. */
export const MAX_PARAMETERS = 1000;

/** The limits that requests are held to. */
export interface RequestLimits {
  /** Bytes of data of one message. */
  readonly maxMessage: number;
  /** Bytes of the body of one request, or of one WebSocket frame. */
  readonly maxBody: number;
  /** Messages that one request may publish. */
  readonly maxBatch: number;
  /** Channels that one request or socket may name. */
  readonly maxChannelsPerClient: number;
}

/** Every parameter that means something somewhere. Others are let pass, as caches may need them. */
export const KNOWN = [
  "name",
  "data",
  "id",
  "keep",
  "seq",
  "last_event_id",
  "callback",
  "jsonp",
  "format",
  "limit",
  "timeout",
  "token",
  "prefix",
  "after",
  // As libraries for event streams spell `last_event_id`: any case, with or without hyphens.
  "lastEventId",
] as const;

/** The name of a parameter that is known. */
export type Name = typeof KNOWN[number];

const EQUALS = "=".charCodeAt(0);
const PLUS = "+".charCodeAt(0);
const SPACE = " ".charCodeAt(0);

/** Characters of a text that a part of it may keep in memory. */
const SPARE = 128;

/** A list, as a set would hash each name that a stranger chose: those that hash alike would take seconds. */
const known: readonly string[] = KNOWN;

/** Characters that the encoded name of a parameter may have to be looked into. */
const MAX_ENCODED = 64;
/** Characters from which on bytes are faster than `replaceAll`, which takes 150 ms for a megabyte. */
const LONG = 1024;

/** A parameter that means nothing. */
interface Unknown {
  readonly name: string;
  /** Whether it looks like a piece of a value in which a `&` was not escaped. */
  readonly piece: boolean;
}

/** Decoded parameters by name, with all the values that each was given. */
export class Params {
  #values: Map<Name, string[]> | undefined;
  #unknown: Unknown[] | undefined;

  /**
   * Adds what a query string or form holds.
   *
   * @param text Without the question mark.
   * @param isBody Whether it is a form in a body, in which a name without a value is a mistake.
   * @throws {Refusal} 400 if there are too many parameters, or a value cannot be decoded.
   */
  addForm(text: string, isBody = false): this {
    if (text === "") return this;
    const found = new Map<Name, string[]>();
    let count = 0;
    for (let start = 0; start < text.length;) {
      let end = text.indexOf("&", start);
      if (end < 0) end = text.length;
      if (end > start) {
        if (++count > MAX_PARAMETERS) throw tooManyParameters();
        // Searched for within the part: to the end of a long form it would take forever.
        let equals = start;
        while (equals < end && text.charCodeAt(equals) !== EQUALS) equals++;
        const name = parameterName(text.slice(start, equals));
        const meant = nameOf(name);
        if (meant !== undefined) push(found, meant, decode(name, partOf(text, equals + 1, end)));
        else this.#meet(name, equals === end && (isBody || found.has("data")));
      }
      start = end + 1;
    }
    return this.#merge(found);
  }

  /**
   * Adds the members of a JSON object; they win over what is there.
   *
   * @throws {Refusal} 400 if it is not a JSON object, or a value has the wrong type.
   */
  addJson(text: string): this {
    const object = parseObject(text, "the body");
    const found = new Map<Name, string[]>();
    for (const name of Object.keys(object)) {
      const meant = nameOf(name);
      if (meant === undefined) {
        this.#meet(name, false);
        continue;
      }
      const value = object[name];
      const items: unknown[] = meant === "name" && Array.isArray(value) ? value : [value];
      found.set(meant, items.map((item) => jsonText(name, item)));
    }
    return this.#merge(found);
  }

  /**
   * Refuses parameters that are most likely mistakes. All others that mean nothing are let pass: caches and
   * libraries add some.
   *
   * @param here The optional parameters of this request.
   * @throws {Refusal} 400 that names the cure.
   */
  refuseMistakes(here: readonly Name[]): this {
    if (this.#unknown === undefined) return this;
    for (const { name, piece } of this.#unknown) {
      if (/^\s*[{[]\s*["{[]/.test(name)) {
        throw badForm("This looks like JSON: send it as application/json (curl --json)");
      }
      if (piece) {
        throw badForm(
          `Parameter ${
            quote(name)
          } has no value: write "&" in a value as %26 (curl --data-urlencode)`,
        );
      }
      const meant = here.find((meant) => !this.has(meant) && isNear(name, meant));
      if (meant === undefined) continue;
      throw new Refusal(
        400,
        "unknown_parameter",
        `Unknown parameter ${quote(name)}: did you mean "${meant}"?`,
      );
    }
    return this;
  }

  /** The refusal of a request without this parameter. */
  missing(name: Name): Refusal {
    const other = this.#unknown?.find((unknown) => mayMean(unknown.name, name));
    const hint = other === undefined ? "" : `, but ${quote(other.name)} is given`;
    return new Refusal(400, "missing_parameter", `Parameter "${name}" is missing${hint}`);
  }

  /** Sets a parameter, whatever it was before. */
  set(name: Name, value: string): this {
    return this.#merge(new Map([[name, [value]]]));
  }

  /** Whether a parameter was given. */
  has(name: Name): boolean {
    return this.#values?.has(name) ?? false;
  }

  /**
   * The value of a parameter that may be given once.
   *
   * @throws {Refusal} 400 if it was given more than once.
   */
  get(name: Name): string | undefined {
    const values = this.#values?.get(name);
    if (values !== undefined && values.length > 1) {
      throw new Refusal(
        400,
        "duplicate_parameter",
        `Parameter "${name}" is given ${values.length} times, the first time as ${
          shown(name, values[0])
        }`,
      );
    }
    return values?.[0];
  }

  /** The last value of a parameter that may be given more than once. */
  last(name: Name): string | undefined {
    return this.#values?.get(name)?.at(-1);
  }

  /**
   * The channels named, in order.
   *
   * @throws {Refusal} 400 if there are none or more than `max`, one is named twice, or one is no
   * channel name.
   */
  names(max: number): string[] {
    const names = this.#values?.get("name");
    if (names === undefined || names.length === 0) throw this.missing("name");
    if (names.length > max) {
      throw badParameter("name", `it is given ${names.length} times, but ${max} are allowed`);
    }
    for (const name of names) checkName("name", name);
    if (names.length > 1 && new Set(names.map(keyOf)).size < names.length) {
      const twice = names.find((name, i) => names.indexOf(name) < i)!;
      throw new Refusal(
        400,
        "duplicate_parameter",
        `Parameter "name" gives the channel ${quote(twice)} twice`,
      );
    }
    return names;
  }

  #meet(name: string, piece: boolean): void {
    if (name.trim() !== "") (this.#unknown ??= []).push({ name, piece });
  }

  #merge(found: Map<Name, string[]>): this {
    if (this.#values === undefined) this.#values = found;
    else for (const [name, values] of found) this.#values.set(name, values);
    return this;
  }
}

/**
 * Reads the parameters of a POST request.
 *
 * @param query What the query string holds; the body's are added to it.
 * @param stranger The refusal of a client that has yet to show a credential. Its body may hold a token if it is
 * small.
 * @throws {Refusal} 400 for malformed input, 413 for a body over the limit, 415 for one that cannot be read.
 */
export function readParams(
  request: Request,
  query: Params,
  bodies: BodyReader,
  stranger?: Refusal,
): Promise<Params> {
  if (stranger !== undefined && !mayHoldToken(request.headers)) throw stranger;
  return bodies.read(request, (text, type) => {
    addBody(query, text, type);
    return query;
  }, stranger);
}

const FORM = "application/x-www-form-urlencoded";
const JSON_OBJECT = "application/json";
/** The type of bodies of one object per line. */
export const NDJSON = "application/x-ndjson";

/** Whether a body may have parameters that can be read, and so a token among them. */
export function mayHoldToken(headers: Headers): boolean {
  try {
    checkTransfer(headers);
    const { type } = contentOf(headers);
    return type === FORM || type === JSON_OBJECT;
  } catch {
    return false;
  }
}

/** Adds the parameters of a body; false if it is of a type that has none. */
export function addBody(params: Params, text: string, type: string): boolean {
  if (type === FORM) params.addForm(text, true);
  else if (type === JSON_OBJECT) params.addJson(text);
  else if (!type.startsWith("multipart/")) return false;
  else {
    throw new Refusal(
      415,
      "unsupported_type",
      `Multipart bodies are not read here: send ${FORM}, ${JSON_OBJECT}, ${NDJSON}, ` +
        "or the data itself as text/plain",
    );
  }
  return true;
}

/**
 * A parameter that is a whole number.
 *
 * @throws {Refusal} 400 if it is not one from `min` to `max`.
 */
export function wholeNumber(
  params: Params,
  name: Name,
  min: number,
  max: number,
): number | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const number = /^[0-9]{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(number >= min && number <= max)) {
    throw badParameter(
      name,
      `expected a whole number from ${min} to ${max}, got ${quote(text)}`,
    );
  }
  return number;
}

function jsonText(name: string, value: unknown): string {
  if (typeof value === "string") return value;
  const text = name !== "name" && name !== "data" && name !== "id";
  if (text && (typeof value === "number" || typeof value === "boolean")) {
    return String(Number(value));
  }
  const type = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  throw badParameter(name, `expected a string, got ${type.replace("a object", "an object")}`);
}

function tooManyParameters(): Refusal {
  return new Refusal(
    400,
    "too_many_parameters",
    `A query string or form may have ${MAX_PARAMETERS} parameters`,
  );
}

function badForm(message: string): Refusal {
  return new Refusal(400, "bad_form", message);
}

function push(map: Map<Name, string[]>, name: Name, value: string): void {
  const values = map.get(name);
  if (values === undefined) map.set(name, [value]);
  else values.push(value);
}

/**
 * A part of a text that may be kept when the text is not. The runtime's slices point into the whole and
 * keep all of it in memory: a few bytes of data would hold a megabyte that no limit counts.
 */
export function partOf(text: string, start: number, end: number): string {
  const part = text.slice(start, end);
  return text.length - part.length > SPARE ? Buffer.from(part).toString() : part;
}

/** The decoded name, or as it is if it cannot be decoded: no parameter has such a name. */
function parameterName(text: string): string {
  if (!text.includes("%")) return text;
  if (text.length > MAX_ENCODED) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The parameter that a name stands for. */
function nameOf(name: string): Name | undefined {
  if (known.includes(name)) return name as Name;
  // `evs_` is what the first polyfills of EventSource put in front.
  return name.length <= MAX_ENCODED && /^(?:evs)?lasteventid$/.test(plainName(name))
    ? "lastEventId"
    : undefined;
}

function decode(name: string, text: string): string {
  if (text.includes("+")) text = withSpaces(text);
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw badParameter(
      name,
      /%(?![0-9a-fA-F]{2})/.test(text)
        ? `a percent sign must be written as %25: ${shown(name, text)}`
        : `it is not UTF-8: ${shown(name, text)}`,
    );
  }
}

/** A value as an error may show it. */
function shown(name: string, value: string): string {
  return name === "token" ? "a secret" : quote(value);
}

/** Each plus as a space. */
function withSpaces(text: string): string {
  if (text.length < LONG) return text.replaceAll("+", " ");
  const bytes = Buffer.from(text);
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === PLUS) bytes[i] = SPACE;
  return bytes.toString();
}
