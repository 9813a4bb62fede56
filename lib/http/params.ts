/**
 * Reads the parameters of a request from the query string, a form or a JSON object. Decoding is
 * strict. Errors name the parameter and how to correct it.
 *
 * @module
 */
import { keyOf } from "../base/key.ts";
import { isNear } from "../base/spelling.ts";
import { partOf, withSpaces } from "../base/text.ts";
import { checkName } from "../core/names.ts";
import { badParameter, quote, Refusal } from "../core/refusal.ts";
import type { BodyReader } from "./body.ts";
import { FORM, JSON_OBJECT, mayHoldToken, NDJSON } from "./content_type.ts";
import { parseObject } from "./json.ts";
import { decodedName, mayMean, nameOf, type ParameterName } from "./parameter_names.ts";

/** The most parameters in a query string or form. */
export const MAX_PARAMETERS = 1000;

/** The limits of requests. */
export interface RequestLimits {
  /** The most bytes in the data of one message. */
  readonly maxMessage: number;
  /** The most bytes in the body of one request, or in one WebSocket frame. */
  readonly maxBody: number;
  /** The most messages that one request may publish. */
  readonly maxBatch: number;
  /** The most channels that one request or socket may name. */
  readonly maxChannelsPerClient: number;
}

const EQUALS = "=".charCodeAt(0);

/** An unknown parameter. */
interface Unknown {
  readonly name: string;
  /** Whether it looks like part of a value in which `&` was not escaped. */
  readonly isPiece: boolean;
}

/**
 * Decoded parameters by name. Each has all values that were given. What cannot be read is refused
 * only by `check`, so that a token can be read and judged before.
 */
export class Params {
  #values: Map<ParameterName, string[]> | undefined;
  #unknown: Unknown[] | undefined;
  /** The first mistake in what was added. */
  #mistake: Refusal | undefined;
  #namedTwice = false;

  /**
   * Adds the parameters of a query string or form.
   *
   * @param text Without the question mark.
   * @param isBody Whether the text is the body. There, an unknown name without `=` is a mistake.
   */
  addForm(text: string, isBody = false): this {
    if (text === "") return this;
    const found = new Map<ParameterName, string[]>();
    let count = 0;
    for (let start = 0; start < text.length;) {
      let end = text.indexOf("&", start);
      if (end < 0) end = text.length;
      if (end > start) {
        if (++count > MAX_PARAMETERS) {
          this.#mistake ??= tooManyParameters();
          break;
        }
        // Search only within this part. If each part of a long form were searched to the end of the
        // form, it would take seconds.
        let equals = start;
        while (equals < end && text.charCodeAt(equals) !== EQUALS) equals++;
        const name = decodedName(text.slice(start, equals));
        const meant = nameOf(name);
        if (meant === undefined) {
          this.#addUnknown(name, equals === end && (isBody || found.has("data")));
        } else if (this.#mistake === undefined || meant === "token") {
          this.#add(found, meant, decode(name, partOf(text, equals + 1, end)));
        }
      }
      start = end + 1;
    }
    return this.#merge(found);
  }

  /**
   * Adds the members of a JSON object. They replace earlier values of the same parameters.
   */
  addJson(text: string): this {
    let object: Record<string, unknown>;
    try {
      object = parseObject(text, "the body");
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#mistake ??= error;
      return this;
    }
    const found = new Map<ParameterName, string[]>();
    for (const name of Object.keys(object)) {
      const meant = nameOf(name);
      if (meant === undefined) {
        this.#addUnknown(name, false);
        continue;
      }
      const value = object[name];
      const items: unknown[] = meant === "name" && Array.isArray(value) ? value : [value];
      // An empty list of names replaces earlier ones, too.
      if (Array.isArray(value)) found.set(meant, []);
      else found.delete(meant);
      for (const item of items) this.#add(found, meant, jsonText(name, item));
    }
    return this.#merge(found);
  }

  /**
   * Refuses what could not be read. Must be called before anything but the token counts.
   *
   * @throws {Refusal} 400 if there are too many parameters, if a value cannot be decoded or has the
   * wrong type, if a body is not a JSON object, or if there are several tokens.
   */
  check(): this {
    if (this.#mistake !== undefined) throw this.#mistake;
    this.get("token");
    return this;
  }

  /**
   * Refuses what could not be read, and unknown parameters that are most likely mistakes. Other
   * unknown parameters are ignored.
   *
   * @param here The optional parameters of this request.
   * @throws {Refusal} 400 if there is a mistake. The message says how to correct it.
   */
  refuseMistakes(here: readonly ParameterName[]): this {
    this.check();
    if (this.#unknown === undefined) return this;
    for (const { name, isPiece } of this.#unknown) {
      if (/^\s*[{[]\s*["{[]/.test(name)) {
        throw badForm("This looks like JSON: send it as application/json (curl --json)");
      }
      if (isPiece) {
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

  /** The refusal of a request that lacks this parameter. */
  missing(name: ParameterName): Refusal {
    const other = this.#unknown?.find((unknown) => mayMean(unknown.name, name));
    const hint = other === undefined ? "" : `, but ${quote(other.name)} is given`;
    return new Refusal(400, "missing_parameter", `Parameter "${name}" is missing${hint}`);
  }

  /** Sets a parameter to this value, and drops its earlier values. */
  set(name: ParameterName, value: string): this {
    return this.#merge(new Map([[name, [value]]]));
  }

  /** The token. Undefined if there is none that can be read. */
  get token(): string | undefined {
    const values = this.#values?.get("token");
    return values?.length === 1 ? values[0] : undefined;
  }

  /** Whether the address and the body both name channels. */
  get namedTwice(): boolean {
    return this.#namedTwice;
  }

  /** Whether a parameter was given. */
  has(name: ParameterName): boolean {
    return this.#values?.has(name) ?? false;
  }

  /**
   * The value of a parameter that may be given only once. Undefined if it is not given.
   *
   * @throws {Refusal} 400 if it was given more than once.
   */
  get(name: ParameterName): string | undefined {
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

  /**
   * The last value of a parameter that may be given several times. Undefined if it is not given.
   */
  last(name: ParameterName): string | undefined {
    return this.#values?.get(name)?.at(-1);
  }

  /**
   * The channels that the request names, in order.
   *
   * @throws {Refusal} 400 if there are no names or more than `max`, if a name is given twice, or if
   * a name is not valid.
   */
  names(max: number): string[] {
    const names = this.#values?.get("name");
    if (names === undefined || names.length === 0) throw this.missing("name");
    if (names.length > max) {
      throw badParameter(
        "name",
        `it is given ${names.length} times, but at most ${max} are allowed ` +
          "(--max-channels-per-client)",
      );
    }
    for (const name of names) checkName("name", name);
    if (names.length > 1 && new Set(names.map(keyOf)).size < names.length) {
      const twice = names.find((name, i) => names.indexOf(name) < i)!;
      throw new Refusal(
        400,
        "duplicate_parameter",
        `Parameter "name" names the channel ${quote(twice)} twice`,
      );
    }
    return names;
  }

  #addUnknown(name: string, isPiece: boolean): void {
    if (name.trim() !== "") (this.#unknown ??= []).push({ name, isPiece });
  }

  #add(found: Map<ParameterName, string[]>, name: ParameterName, value: string | Refusal): void {
    if (value instanceof Refusal) this.#mistake ??= value;
    else push(found, name, value);
  }

  #merge(found: Map<ParameterName, string[]>): this {
    if (this.#values === undefined) this.#values = found;
    else {
      if (found.has("name") && this.#values.has("name")) this.#namedTwice = true;
      for (const [name, values] of found) this.#values.set(name, values);
    }
    return this;
  }
}

/**
 * Reads the parameters of a POST request.
 *
 * @param query The parameters of the query string. The parameters of the body are added to it.
 * @param unauthorized The refusal, if the client shows no valid credential. A small body is read
 * nevertheless, because it may contain a token.
 * @throws {Refusal} 413 for a body over the limit, 415 for a type or encoding that is not
 * supported. Malformed input is refused by `Params.check`.
 */
export function readParams(
  request: Request,
  query: Params,
  bodies: BodyReader,
  unauthorized?: Refusal,
): Promise<Params> {
  if (unauthorized !== undefined && !mayHoldToken(request.headers)) throw unauthorized;
  return bodies.read(request, (text, type) => {
    addBody(query, text, type);
    return query;
  }, unauthorized);
}

/**
 * Adds the parameters of a body. False if a body of its type has no parameters.
 *
 * @throws {Refusal} 415 for a multipart body.
 */
export function addBody(params: Params, text: string, type: string): boolean {
  if (type === FORM) params.addForm(text, true);
  else if (type === JSON_OBJECT) params.addJson(text);
  else if (!type.startsWith("multipart/")) return false;
  else {
    throw new Refusal(
      415,
      "unsupported_type",
      `Cannot read a multipart body: send ${FORM}, ${JSON_OBJECT}, ${NDJSON}, ` +
        "or the data itself as text/plain",
    );
  }
  return true;
}

/**
 * The value of a parameter that is a whole number. Undefined if it is not given.
 *
 * @throws {Refusal} 400 if it is not a whole number from `min` to `max`.
 */
export function wholeNumber(
  params: Params,
  name: ParameterName,
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

/** The text of a member of a JSON object, or the refusal of its type. */
function jsonText(name: string, value: unknown): string | Refusal {
  if (typeof value === "string") return value;
  const text = !["name", "data", "id", "type"].includes(name);
  if (text && (typeof value === "number" || typeof value === "boolean")) {
    return String(Number(value));
  }
  const type = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  return badParameter(name, `expected a string, got ${type.replace("a object", "an object")}`);
}

function tooManyParameters(): Refusal {
  return new Refusal(
    400,
    "too_many_parameters",
    `A query string or form may have at most ${MAX_PARAMETERS} parameters`,
  );
}

function badForm(message: string): Refusal {
  return new Refusal(400, "bad_form", message);
}

function push(map: Map<ParameterName, string[]>, name: ParameterName, value: string): void {
  const values = map.get(name);
  if (values === undefined) map.set(name, [value]);
  else values.push(value);
}

/** A decoded value, or the refusal of one that cannot be decoded. */
function decode(name: string, text: string): string | Refusal {
  if (text.includes("+")) text = withSpaces(text);
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return badParameter(
      name,
      /%(?![0-9a-fA-F]{2})/.test(text)
        ? `a percent sign must be written as %25: ${shown(name, text)}`
        : `it is not UTF-8: ${shown(name, text)}`,
    );
  }
}

/** A value as error messages show it. A token is a secret and is not shown. */
function shown(name: string, value: string): string {
  return name === "token" ? "a secret" : quote(value);
}
