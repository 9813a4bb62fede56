/**
 * The route `/subscribe`.
 *
 * @module
 */
import type { Grant } from "../access/access.ts";
import { type Cursor, parseCursors, parseEventIds, printCursor } from "../core/cursor.ts";
import { EngineUnavailableError } from "../core/engine.ts";
import type { Join } from "../core/hub.ts";
import type { Format } from "../core/message.ts";
import { badParameter, internalError, quote, Refusal } from "../core/refusal.ts";
import type { Subscriber } from "../core/subscriber.ts";
import { type Call, granted, parseUrl, type Parts, STREAM_HEADERS } from "./call.ts";
import { KNOWN, type ParameterName } from "./parameter_names.ts";
import { Params, readParams, type RequestLimits, wholeNumber } from "./params.ts";
import {
  acceptsEvents,
  EVENT_STREAM,
  formatName,
  FORMATS,
  jsonp,
  sseOfMany,
} from "./transports/formats.ts";
import { retryMs } from "./transports/retry.ts";
import { StreamSink } from "./transports/stream_sink.ts";

/** The longest JSONP callback, in characters. */
export const MAX_CALLBACK = 128;
/** The longest `timeout` of a subscription, in seconds. */
export const MAX_TIMEOUT = 86_400;
/** The most messages that `last` may ask for. */
export const MAX_LAST = 1_000_000;

/** The optional parameters of `/subscribe`. */
const SUBSCRIBE_PARAMETERS: readonly ParameterName[] = KNOWN.slice(
  KNOWN.indexOf("keep"),
  KNOWN.indexOf("token") + 1,
);

/** The parameters of a subscription. */
export interface SubscribeRequest {
  /** The channels to join, in the order of the request. At least one. */
  readonly joins: Join[];
  /** The encoding of messages and gaps. */
  readonly format: Format;
  /** The label under which the metrics count it. */
  readonly transport: "stream" | "sse" | "jsonp" | "long-poll";
  /** Whether it ends after one answer, as long-poll and JSONP do. */
  readonly once: boolean;
  /** Number of messages after which it ends. */
  readonly limit?: number;
  /** Time after which it ends, in milliseconds. */
  readonly timeout?: number;
  /** The printed position of each channel, in the order of the request. "" until it is known. */
  readonly positions: Map<string, string>;
}

/** Answers with a stream of messages, or only with the next messages. */
export function subscribe(parts: Parts, call: Call): Response | Promise<Response> {
  if (!isEventSource(call.request)) return open(parts, call);
  if (parts.admission.draining) return comeBack();
  try {
    const answer = open(parts, call);
    return answer instanceof Promise ? answer.catch(comeBackLater) : answer;
  } catch (error) {
    return comeBackLater(error);
  }
}

/** An `EventSource` would give up for ever on a 503. */
function comeBackLater(error: unknown): Response {
  if (error instanceof EngineUnavailableError) return comeBack();
  throw error;
}

function open(parts: Parts, call: Call): Response | Promise<Response> {
  const { access, bodies } = parts;
  if (call.origin === undefined) access.origins.checkEmbedding(call.request);
  const { request, search } = call;
  const params = new Params().addForm(search);
  if (request.method !== "POST") return openStream(parts, call, params);
  return granted(parts, request, params, async (grant) => {
    const unauthorized = grant.valid ? undefined : grant.refusal("subscribe");
    return openStream(parts, call, await readParams(request, params, bodies, unauthorized));
  });
}

function openStream(parts: Parts, call: Call, params: Params): Response | Promise<Response> {
  const { request } = call;
  // Any page can read JSONP, by loading it as a script. Browsers do not run the other formats, or
  // answers to operators, as scripts, because of `nosniff`. Only a page that sends its origin can
  // read those.
  const embeddable = request.method === "GET" && isJsonp(params);
  return granted(parts, request, params, (grant) => {
    // Check the credential before the parameters, so that a client without one learns that first.
    if (!grant.valid) throw grant.refusal("subscribe");
    checkNoBody(request);
    checkNoUpgrade(request);
    return streamTo(parts, call, grant, subscribeRequest(params, request.headers, parts.limits));
  }, embeddable);
}

function streamTo(
  parts: Parts,
  call: Call,
  grant: Grant,
  asked: SubscribeRequest,
): Response | Promise<Response> {
  const { hub, admission } = parts;
  const { request, connection } = call;
  checkMaySubscribe(grant, asked.joins);
  const { format, once, positions, limit, timeout } = asked;
  const end = admission.enter(call);
  const sink = new StreamSink(format, {
    once,
    positions,
    retryMs,
    onGone() {
      end();
      subscriber.close("gone");
    },
    onEnd: (unsent) => unsent === 0 ? end() : connection.completed.then(end, end),
  });
  const subscriber = hub.connect(sink, {
    transport: asked.transport,
    limit,
    ...admission.lifeOf(grant, timeout),
  });
  const subscribed = join(subscriber, () => hub.subscribe(subscriber, asked.joins));
  // To be able to answer 204, the headers must wait. An event stream never gets 204, which would
  // tell its client not to reconnect.
  const mayBeEmpty = timeout !== undefined && format.contentType !== EVENT_STREAM;
  const respond = () => {
    if (subscriber.closed === "unavailable") {
      throw new EngineUnavailableError("Cannot subscribe: the engine is not available");
    }
    if (subscriber.closed === "error") throw internalError();
    const headers = { ...STREAM_HEADERS, "river-cursor": sink.cursor };
    if (mayBeEmpty && !sink.started) return new Response(null, { status: 204, headers });
    const init = { headers: { ...headers, "content-type": format.contentType } };
    // If the client has closed its writing side (`nc -N`, `socat`), the runtime drops a stream,
    // even one that has ended. It does send bytes.
    return sink.ended
      ? new Response(sink.body).bytes().then((bytes) => new Response(bytes, init))
      : new Response(sink.body, init);
  };
  if (subscribed === undefined && !mayBeEmpty) return respond();
  // The runtime does not read the stream yet, so the stream cannot notice that the client leaves.
  request.signal.addEventListener("abort", () => subscriber.close("gone"));
  return Promise.resolve(subscribed)
    .then(() => mayBeEmpty ? sink.begun() : undefined)
    .then(respond);
}

/** Runs `action`, which joins channels. If it fails, closes the subscriber and rethrows. */
function join(
  subscriber: Subscriber,
  action: () => Promise<void> | void,
): Promise<void> | void {
  const undo = (error: unknown): never => {
    subscriber.close("error");
    throw error;
  };
  try {
    return action()?.catch(undo);
  } catch (error) {
    undo(error);
  }
}

/**
 * Checks that a client may join all of these channels.
 *
 * @throws {Refusal} 401 or 403 if it may not join one of them.
 */
export function checkMaySubscribe(grant: Grant, joins: readonly Join[]): void {
  const forbidden = joins.find(({ channel }) => !grant.maySubscribe(channel));
  if (forbidden !== undefined) throw grant.refusal("subscribe", forbidden.channel);
}

/**
 * Refuses a GET request with a body, which we would not read. During an endless answer, the runtime
 * would keep the whole body in memory.
 */
function checkNoBody({ method, headers }: Request): void {
  if (method !== "GET") return;
  if ((headers.get("content-length") ?? "0") === "0" && !headers.has("transfer-encoding")) return;
  throw new Refusal(
    400,
    "unexpected_body",
    "A GET request to this path must not have a body: use POST",
    {
      connection: "close",
    },
  );
}

/** Refuses a WebSocket handshake, even if a proxy has removed its header `Upgrade`. */
function checkNoUpgrade({ headers }: Request): void {
  if (!headers.has("sec-websocket-key")) return;
  throw new Refusal(400, "bad_upgrade", "This is a WebSocket handshake: connect to /websocket");
}

/**
 * Whether an `EventSource`, or a library like it, sent the request. An `EventSource` never
 * reconnects after a refusal, and htmx 4 shows the refusal in the page. Some libraries send no
 * `Accept`, so they need `format`.
 */
export function isEventSource({ method, headers, url }: Request): boolean {
  if (method !== "GET") return false;
  const { path, search } = parseUrl(url);
  if (path !== "/subscribe") return false;
  return acceptsEvents(headers) || /(?:^|&)format=sse(?:\.v1)?(?:&|$)/.test(search);
}

/** An event stream that only tells the client when to reconnect. */
function comeBack(): Response {
  return new Response(`retry: ${retryMs()}\n\n`, {
    headers: { ...STREAM_HEADERS, "content-type": EVENT_STREAM, connection: "close" },
  });
}

/**
 * Reads the parameters of a subscription.
 *
 * @param headers The headers of the request. `Accept` and `Last-Event-ID` count.
 * @throws {Refusal} 400 if a parameter is missing or wrong.
 */
export function subscribeRequest(
  params: Params,
  headers: Headers,
  limits: RequestLimits,
): SubscribeRequest {
  params.refuseMistakes(SUBSCRIBE_PARAMETERS);
  const joins = joinsOf(params, headers, limits.maxChannelsPerClient);
  const keep = params.get("keep");
  if (keep !== undefined && keep !== "0" && keep !== "1") {
    throw badParameter("keep", `expected 0 or 1, got ${quote(keep)}`);
  }
  const callback = callbackOf(params);
  const named = formatName(params.get("format"), headers);
  const once = keep === "0" || callback !== undefined;
  const positions = new Map(
    joins.map(({ channel, cursor }) => [channel, cursor === undefined ? "" : printCursor(cursor)]),
  );
  const eventStream = named === "sse" || named === "sse.v1";
  let format: Format = FORMATS[named];
  if (eventStream && joins.length > 1) {
    format = sseOfMany(new Map(positions), named === "sse.v1");
  }
  if (callback !== undefined) format = jsonp(callback);
  return {
    joins,
    format,
    transport: callback !== undefined
      ? "jsonp"
      : once
      ? "long-poll"
      : eventStream
      ? "sse"
      : "stream",
    once,
    limit: wholeNumber(params, "limit", 1, Number.MAX_SAFE_INTEGER),
    timeout: seconds(params, "timeout", MAX_TIMEOUT),
    positions,
  };
}

/**
 * The channels that a request names, and where to start in each.
 *
 * @throws {Refusal} 400 if a parameter is missing or wrong.
 */
export function joinsOf(params: Params, headers: Headers, maxChannels: number): Join[] {
  const names = params.names(maxChannels);
  const cursors = cursorsOf(params, headers, names.length);
  const last = wholeNumber(params, "last", 1, MAX_LAST);
  return names.map((channel, i) => {
    const cursor = cursors?.[i];
    if (cursor !== undefined) return { channel, cursor };
    return last === undefined ? { channel } : { channel, last };
  });
}

/** A position per channel. An item is undefined if its channel has no position. */
function cursorsOf(
  params: Params,
  headers: Headers,
  count: number,
): (Cursor | undefined)[] | undefined {
  // When a client reconnects, its event id is newer than the position in its URL.
  const id = headers.get("last-event-id") || params.last("lastEventId") ||
    params.get("last_event_id");
  if (id) return parseEventIds(id, count);
  const seq = params.get("seq");
  if (seq === undefined) return undefined;
  if (seq === "") throw badParameter("seq", "it is empty");
  try {
    return parseCursors(seq, count);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw badParameter("seq", error.message);
  }
}

const CALLBACK = /^[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*$/;

function isJsonp(params: Params): boolean {
  return params.has("callback") || params.has("jsonp");
}

function callbackOf(params: Params): string | undefined {
  const name = params.get("callback") !== undefined ? "callback" : "jsonp";
  const callback = params.get(name);
  if (callback === undefined) return undefined;
  if (callback.length > MAX_CALLBACK) {
    throw badParameter(
      name,
      `it has ${callback.length} characters, but at most ${MAX_CALLBACK} are allowed`,
    );
  }
  if (!CALLBACK.test(callback)) {
    throw badParameter(
      name,
      `expected the name of a function, like "cb" or "app.cb", got ${quote(callback)}`,
    );
  }
  return callback;
}

function seconds(params: Params, name: ParameterName, max: number): number | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const number = /^[0-9]{1,9}(?:\.[0-9]{1,3})?$/.test(text) ? Number(text) : NaN;
  if (!(number > 0 && number <= max)) {
    throw badParameter(
      name,
      `expected a number of seconds, more than 0 and at most ${max}, got ${quote(text)}`,
    );
  }
  return number * 1000;
}
