/**
 * A request's parameters: from the query string, a form or a JSON object, decoded strictly and
 * turned into typed values. Whatever is wrong is named.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { BodyReader } from "./body.ts";
import { type Cursor, parseCursors, printCursor, quote } from "./cursor.ts";
import { badParameter, HttpError } from "./http_error.ts";
import type { Publication } from "./engine.ts";
import type { Wish } from "./hub.ts";
import { type Format, jsonp, raw, river, riverV1, sse, sseOfMany, utf8Length } from "./message.ts";

/** Longest channel name and idempotency key, in bytes. */
export const MAX_NAME = 255;
/** Longest JSONP callback, in characters. */
export const MAX_CALLBACK = 128;
/** Longest `timeout` of a subscription, in seconds. */
export const MAX_TIMEOUT = 86_400;

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
] as const;

/** The name of a parameter that is known. */
export type Name = typeof KNOWN[number];

const EQUALS = "=".charCodeAt(0);

/** Characters of a text that a part of it may keep in memory. */
const SPARE = 128;

const known: ReadonlySet<string> = new Set(KNOWN);

/** Decoded parameters by name, with all the values that each was given. */
export class Params {
  #values: Map<string, string[]> | undefined;

  /** Adds what a query string or form holds; `text` is without the question mark. */
  addForm(text: string): this {
    if (text === "") return this;
    const found = new Map<string, string[]>();
    for (let start = 0; start < text.length;) {
      let end = text.indexOf("&", start);
      if (end < 0) end = text.length;
      // Searched for within the part: to the end of a long form it would take forever.
      let equals = start;
      while (equals < end && text.charCodeAt(equals) !== EQUALS) equals++;
      const name = parameterName(text.slice(start, equals));
      if (known.has(name)) push(found, name, decode(name, partOf(text, equals + 1, end)));
      start = end + 1;
    }
    return this.#merge(found);
  }

  /** Adds the members of a JSON object; they win over what is there. */
  addJson(text: string): this {
    const object = parseObject(text, "the body");
    const found = new Map<string, string[]>();
    for (const name of Object.keys(object)) {
      if (!known.has(name)) continue;
      const value = object[name];
      const items: unknown[] = name === "name" && Array.isArray(value) ? value : [value];
      found.set(name, items.map((item) => jsonText(name, item)));
    }
    return this.#merge(found);
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
   * @throws {HttpError} 400 if it was given more than once.
   */
  get(name: Name): string | undefined {
    const values = this.#values?.get(name);
    if (values !== undefined && values.length > 1) {
      throw new HttpError(
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
   * The channels named, in order.
   *
   * @throws {HttpError} 400 if there are none or more than `max`, one is named twice, or one is no
   * channel name.
   */
  names(max: number): string[] {
    const names = this.#values?.get("name");
    if (names === undefined || names.length === 0) throw missing("name");
    if (names.length > max) {
      throw badParameter("name", `it is given ${names.length} times, but ${max} are allowed`);
    }
    for (const name of names) checkName("name", name);
    if (names.length > 1 && new Set(names).size < names.length) {
      const twice = names.find((name, i) => names.indexOf(name) < i)!;
      throw new HttpError(
        400,
        "duplicate_parameter",
        `Parameter "name" gives the channel ${quote(twice)} twice`,
      );
    }
    return names;
  }

  #merge(found: Map<string, string[]>): this {
    if (this.#values === undefined) this.#values = found;
    else for (const [name, values] of found) this.#values.set(name, values);
    return this;
  }
}

/** What a subscription asks for. */
export interface SubscribeRequest {
  /** The channels to join, in the order asked for; at least one. */
  readonly wishes: Wish[];
  /** How frames are encoded. */
  readonly format: Format;
  /** What the metrics call it. */
  readonly transport: "stream" | "sse" | "jsonp" | "long-poll";
  /** Whether one answer ends it: long-poll and JSONP. */
  readonly once: boolean;
  /** Messages after which it ends. */
  readonly limit?: number;
  /** Milliseconds. */
  readonly timeout?: number;
  /** A printed position for each channel, in the order asked for; empty until one is known. */
  readonly positions: Map<string, string>;
}

/**
 * Reads the parameters of a request; at once when it has no body.
 *
 * @param search The query string, without the question mark.
 * @throws {HttpError} 400 for malformed input, 413 for a body over the limit.
 */
export function readParams(
  request: Request,
  search: string,
  bodies: BodyReader,
): Params | Promise<Params> {
  const params = new Params().addForm(search);
  if (request.method !== "POST") return params;
  const type = contentType(request);
  return bodies.read(request, (text) => {
    if (type === "application/x-www-form-urlencoded") return params.addForm(text);
    if (type === "application/json") return params.addJson(text);
    return params;
  });
}

/**
 * Reads what a request to publish asks for.
 *
 * @returns At least one publication, all of them valid.
 * @throws {HttpError} 400 for malformed input, 413 for a message or body over the limit.
 */
export function readPublications(
  request: Request,
  search: string,
  limits: RequestLimits,
  bodies: BodyReader,
):
  | { params: Params; publications: Publication[] }
  | Promise<
    { params: Params; publications: Publication[] }
  > {
  const params = new Params().addForm(search);
  if (request.method !== "POST") {
    return { params, publications: publicationsOf(params, limits) };
  }
  const type = contentType(request);
  return bodies.read(request, (text) => {
    switch (type) {
      case "application/x-ndjson":
        return { params, publications: publicationsOfLines(text, limits) };
      case "application/x-www-form-urlencoded":
        params.addForm(text);
        break;
      case "application/json":
        params.addJson(text);
        break;
      case "multipart/form-data":
        throw new HttpError(
          415,
          "unsupported_type",
          "multipart/form-data is not read here: send application/x-www-form-urlencoded, " +
            "application/json, application/x-ndjson, or the data itself as text/plain",
        );
      default:
        // Without a type and without a body, the query may say it all.
        if (type !== "" || text !== "") params.set("data", text);
    }
    return { params, publications: publicationsOf(params, limits) };
  });
}

function publicationsOf(params: Params, limits: RequestLimits): Publication[] {
  const names = params.names(limits.maxChannelsPerClient);
  const data = params.get("data");
  if (data === undefined) throw missing("data");
  checkData("data", data, limits.maxMessage);
  const id = params.get("id");
  if (id !== undefined) checkName("id", id);
  return names.map((channel) => ({ channel, data, id }));
}

function publicationsOfLines(text: string, limits: RequestLimits): Publication[] {
  const publications: Publication[] = [];
  let number = 0;
  for (const line of text.split("\n")) {
    number++;
    if (line.trim() === "") continue;
    try {
      const params = new Params().addJson(line);
      publications.push(...publicationsOf(params, limits));
      if (publications.length > limits.maxBatch) throw tooMany(limits.maxBatch);
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      throw new HttpError(error.status, error.code, `Line ${number}: ${error.message}`);
    }
  }
  if (publications.length === 0) {
    throw new HttpError(400, "missing_parameter", "The body holds no line to publish");
  }
  return publications;
}

/**
 * Types the parameters of a subscription.
 *
 * @param headers For `Accept` and `Last-Event-ID`.
 * @throws {HttpError} 400 naming what is wrong.
 */
export function subscribeRequest(
  params: Params,
  headers: Headers,
  limits: RequestLimits,
): SubscribeRequest {
  const wishes = wishesOf(params, headers, limits.maxChannelsPerClient);
  const keep = params.get("keep");
  if (keep !== undefined && keep !== "0" && keep !== "1") {
    throw badParameter("keep", `expected 0 or 1, got ${quote(keep)}`);
  }
  const callback = callbackOf(params);
  const named = formatOf(params, headers);
  const once = keep === "0" || callback !== undefined;
  const positions = new Map(
    wishes.map(({ channel, cursor }) => [channel, cursor === undefined ? "" : printCursor(cursor)]),
  );
  let format = named === "sse" && wishes.length > 1
    ? sseOfMany(new Map(positions))
    : FORMATS[named];
  if (callback !== undefined) format = jsonp(callback);
  return {
    wishes,
    format,
    transport: callback !== undefined
      ? "jsonp"
      : once
      ? "long-poll"
      : named === "sse"
      ? "sse"
      : "stream",
    once,
    limit: wholeNumber(params, "limit", 1, Number.MAX_SAFE_INTEGER),
    timeout: seconds(params, "timeout", MAX_TIMEOUT),
    positions,
  };
}

/**
 * The channels and positions asked for.
 *
 * @throws {HttpError} 400 naming what is wrong.
 */
export function wishesOf(params: Params, headers: Headers, maxChannels: number): Wish[] {
  const names = params.names(maxChannels);
  const [parameter, text] = positionsOf(params, headers);
  if (text === undefined || text === "") return names.map((channel) => ({ channel }));
  let cursors: (Cursor | undefined)[];
  try {
    cursors = parseCursors(text, names.length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw badParameter(parameter, error.message);
  }
  return names.map((channel, i) => ({ channel, cursor: cursors[i] }));
}

/** A client that reconnects knows better than the address it was given at first. */
function positionsOf(params: Params, headers: Headers): [string, string | undefined] {
  const header = headers.get("last-event-id");
  if (header !== null && header !== "") return ["Last-Event-ID", header];
  const parameter = params.get("last_event_id");
  if (parameter !== undefined && parameter !== "") return ["last_event_id", parameter];
  const seq = params.get("seq");
  if (seq === "") throw badParameter("seq", "it is empty");
  return ["seq", seq];
}

const FORMATS = { river, "river.v1": riverV1, sse, raw };

function formatOf(params: Params, headers: Headers): keyof typeof FORMATS {
  const format = params.get("format");
  if (format === undefined) {
    return /text\/event-stream/i.test(headers.get("accept") ?? "") ? "sse" : "river";
  }
  if (Object.hasOwn(FORMATS, format)) return format as keyof typeof FORMATS;
  throw badParameter("format", `expected river, river.v1, sse or raw, got ${quote(format)}`);
}

const CALLBACK = /^[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*$/;

function callbackOf(params: Params): string | undefined {
  const name = params.get("callback") !== undefined ? "callback" : "jsonp";
  const callback = params.get(name);
  if (callback === undefined) return undefined;
  if (callback.length > MAX_CALLBACK) {
    throw badParameter(name, `${callback.length} characters, but ${MAX_CALLBACK} are allowed`);
  }
  if (!CALLBACK.test(callback)) {
    throw badParameter(
      name,
      `expected the name of a function, like "cb" or "app.cb", got ${quote(callback)}`,
    );
  }
  return callback;
}

/**
 * A parameter that is a whole number.
 *
 * @throws {HttpError} 400 if it is not one from `min` to `max`.
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

function seconds(params: Params, name: Name, max: number): number | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const number = /^[0-9]{1,9}(?:\.[0-9]{1,3})?$/.test(text) ? Number(text) : NaN;
  if (!(number > 0 && number <= max)) {
    throw badParameter(
      name,
      `expected seconds, more than 0 and up to ${max}, got ${quote(text)}`,
    );
  }
  return number * 1000;
}

/**
 * Holds a channel name or idempotency key to its rules: 1 to 255 bytes, no control characters.
 *
 * @throws {HttpError} 400 naming `parameter`.
 */
export function checkName(parameter: string, value: string): void {
  if (value === "") throw badParameter(parameter, "it is empty");
  // No code unit takes more than three bytes, so that few names have to be measured.
  const bytes = value.length * 3 > MAX_NAME ? utf8Length(value) : 0;
  if (bytes > MAX_NAME) {
    throw badParameter(parameter, `${bytes} bytes, but ${MAX_NAME} are allowed: ${quote(value)}`);
  }
  if (hasControl(value)) {
    throw badParameter(parameter, `control characters are not allowed: ${quote(value)}`);
  }
  checkUnicode(parameter, value);
}

/** Whether a text holds one of the 65 control characters, C0 or C1. */
function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  }
  return false;
}

/**
 * Holds a message's data to its rules.
 *
 * @throws {HttpError} 413 if it is too large, 400 if it is not Unicode.
 */
export function checkData(parameter: string, data: string, max: number): void {
  // No code unit takes more than three bytes, so that few strings have to be measured.
  if (data.length * 3 > max) {
    const bytes = utf8Length(data);
    if (bytes > max) {
      throw new HttpError(
        413,
        "message_too_large",
        `Parameter "${parameter}" has ${bytes} bytes, but ${max} are allowed (--max-message)`,
      );
    }
  }
  checkUnicode(parameter, data);
}

function checkUnicode(parameter: string, value: string): void {
  if (!value.isWellFormed()) {
    throw badParameter(parameter, "it holds half of a surrogate pair, which UTF-8 cannot carry");
  }
}

/**
 * Parses a JSON object.
 *
 * @param what Names the text in the error.
 * @throws {HttpError} 400 if it is not JSON or not an object.
 */
export function parseObject(text: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    // Some editors put a byte order mark in front; JSON has no place for it.
    value = JSON.parse(text.startsWith("\uFEFF") ? text.slice(1) : text);
  } catch (error) {
    throw new HttpError(400, "bad_json", `Cannot parse ${what} as JSON: ${flawOf(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError(400, "bad_json", `Expected ${what} to be a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** What is wrong with a text that is no JSON. The runtime's own words quote it, and it may hold a token. */
function flawOf(error: unknown): string {
  const { message } = error as Error;
  const place = / at position [0-9]+/.exec(message);
  if (place !== null) return `it is wrong${place[0]}`;
  return message.startsWith("Unexpected end") ? "it is cut short" : "it is none";
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

function tooMany(max: number): HttpError {
  return new HttpError(
    413,
    "too_many_messages",
    `One request may publish ${max} messages (--max-batch)`,
  );
}

function missing(name: Name): HttpError {
  return new HttpError(400, "missing_parameter", `Parameter "${name}" is missing`);
}

function push(map: Map<string, string[]>, name: string, value: string): void {
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

/** A parameter's name as it is meant; one that cannot be decoded is none that we know. */
function parameterName(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function decode(name: string, text: string): string {
  if (text.includes("+")) text = text.replaceAll("+", " ");
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

function contentType(request: Request): string {
  const header = request.headers.get("content-type") ?? "";
  const end = header.indexOf(";");
  return (end < 0 ? header : header.slice(0, end)).trim().toLowerCase();
}
