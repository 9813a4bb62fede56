/**
 * What all routes share: the request, the parts of the server, and common answers.
 *
 * @module
 */
import type { Access, Grant } from "../access/access.ts";
import { pageOf } from "../access/origins.ts";
import { partOf } from "../base/text.ts";
import type { Engine } from "../core/engine.ts";
import type { Hub } from "../core/hub.ts";
import type { Refusal } from "../core/refusal.ts";
import type { Admission, AdmissionLimits, Incoming } from "./admission.ts";
import type { BodyReader } from "./body.ts";
import type { Params, RequestLimits } from "./params.ts";
import type { PrometheusMetrics } from "./prometheus.ts";
import type { Inboxes } from "./transports/inbox.ts";
import type { Warnings } from "./warnings.ts";

/** The parts of a server. Times are in milliseconds. */
export interface AppOptions {
  /** Publishes and subscribes. */
  readonly hub: Hub;
  /** Lists and resets channels for operators. */
  readonly engine: Engine;
  /** Decides who may do what. */
  readonly access: Access;
  /** Reads the bodies of requests. */
  readonly bodies: BodyReader;
  /** Counts connections and refusals, and formats all metrics. */
  readonly metrics: PrometheusMetrics;
  /** The limits of requests and clients. */
  readonly limits: RequestLimits & AdmissionLimits & {
    /** The most bytes of frames that may wait in one WebSocket's inbox. */
    readonly maxInbox: number;
    /** Silence after which a heartbeat is sent. */
    readonly heartbeat: number;
  };
  /** Takes errors that only river itself can cause. */
  readonly report: (error: unknown) => void;
  /** Returns how late the event loop was since the last call, in milliseconds. */
  readonly takeLag: () => number;
  /** The version of river, for the metrics. */
  readonly version: string;
  /** Warns operators of refusals, and of requests that point to a missing option. */
  readonly warnings: Warnings;
}

/** The parts that all routes share. */
export interface Parts extends AppOptions {
  /** Counts and limits connections. */
  readonly admission: Admission;
  /** The waiting frames of all WebSockets. */
  readonly inboxes: Inboxes;
}

/** The connection of a request, as the runtime describes it. */
export type Connection = Deno.ServeHandlerInfo<Deno.NetAddr>;

/** A request before its parameters are read. */
export interface Call {
  /** The request. */
  readonly request: Request;
  /** The connection that it came over. */
  readonly connection: Connection;
  /** The path of its URL. */
  readonly path: string;
  /** The query string without its question mark. */
  readonly search: string;
  /** When it arrived, in milliseconds of `performance.now()`. */
  readonly started: number;
  /** The allowed origin of the page that sent it. Undefined if no page did, or before the check. */
  origin: string | undefined;
}

/** Answers one kind of request. Returns a promise only if the answer is not ready at once. */
export type Route = (parts: Parts, call: Call) => Response | Promise<Response>;

/** nginx's code for "client closed request". Never delivered, so any status would do. */
const CLIENT_GONE = 499;

/** Headers that forbid caching, and forbid browsers to run the answer as a script. */
export const PRIVATE = { "cache-control": "no-store", "x-content-type-options": "nosniff" };
/** Headers of answers that stay open. Proxies must neither buffer nor transform them. */
export const STREAM_HEADERS: Readonly<Record<string, string>> = {
  ...PRIVATE,
  "cache-control": "no-store, no-transform",
  "x-accel-buffering": "no",
};
/**
 * Headers of receipts for POST, without `PRIVATE`. No cache keeps an answer to POST unless the
 * answer asks for it (RFC 9110, 9.3.3). With a second header, the response misses the runtime's
 * fast path, which costs a sixth of the time of a publish by GET.
 */
export const RECEIPT_HEADERS = { "content-type": "application/json" };
/** Headers of all other answers in JSON. */
export const JSON_HEADERS: Readonly<Record<string, string>> = { ...RECEIPT_HEADERS, ...PRIVATE };

/**
 * Gets the grant of the client, then calls `answer` with it. Returns a promise only if `answer`
 * does, or if this process has not verified the client's token yet.
 *
 * @param embeddable See `Access.grant`.
 */
export function granted(
  { access }: Parts,
  request: Request,
  params: Params,
  answer: (grant: Grant) => Response | Promise<Response>,
  embeddable = false,
): Response | Promise<Response> {
  const grant = access.grant(request.headers, params.token, embeddable);
  if (!(grant instanceof Promise)) return answer(grant);
  // Read the signal now, or it would not notice that the client leaves in the meantime. A socket
  // that is upgraded after that would neither open nor close.
  const { signal } = request;
  return grant.then((grant) =>
    signal.aborted ? new Response(null, { status: CLIENT_GONE }) : answer(grant)
  );
}

/** Splits the URL as the client sent it. `new URL` is slower, and it normalizes the path. */
export function parseUrl(url: string): { path: string; search: string } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const question = url.indexOf("?");
  const hash = url.indexOf("#");
  const end = hash < 0 ? url.length : hash;
  const pathEnd = question < 0 || question > end ? end : question;
  // A request target in absolute form may have no path. Then no slash comes before the query.
  const path = start < 0 || start > pathEnd ? "/" : url.slice(start, pathEnd);
  return { path, search: partOf(url, pathEnd + 1, end) };
}

/** An answer in JSON. */
export function json(
  value: object,
  headers: Readonly<Record<string, string>> = JSON_HEADERS,
): Response {
  return new Response(JSON.stringify(value) + "\n", { headers });
}

/** A client that was refused, as the log describes it. */
export interface RefusedClient {
  /** The address of the client. */
  readonly client: string;
  /** The path of its request. */
  readonly path: string;
  /** The origin of the page that sent the request. Undefined if no page did. */
  readonly origin?: string;
}

/**
 * Counts a refusal, and logs which client was refused and why. The log gets at most one line per
 * second and code.
 */
export function noteRefusal(
  { metrics, warnings }: Parts,
  { client, path, origin }: RefusedClient,
  { status, code, message }: Refusal,
): void {
  metrics.refused(status, code);
  const facts: Record<string, string> = { status: String(status), client, path, reason: message };
  if (origin !== undefined) facts.origin = origin;
  warnings.warn(code, "refused", facts);
}

/** The client that sent a request, as the log describes it. */
export function refusedClient(
  { admission }: Parts,
  incoming: Incoming,
): RefusedClient {
  const { headers, url } = incoming.request;
  const fromPage = headers.has("origin") || headers.has("sec-fetch-site");
  return {
    client: admission.addressOf(incoming),
    path: parseUrl(url).path,
    origin: fromPage ? pageOf(headers) : undefined,
  };
}

/** The answer to a refused request: `{"error":{"code":...,"message":...}}` and a newline. */
export function refusalResponse({ status, code, message, headers }: Refusal): Response {
  return new Response(JSON.stringify({ error: { code, message } }) + "\n", {
    status,
    headers: { "content-type": "application/json", ...PRIVATE, ...headers },
  });
}
