/**
 * A request as the routes see it, the parts that they work with, and answers that all of them give.
 *
 * @module
 */
import type { Access, Grant } from "../access/access.ts";
import { pageOf } from "../access/origins.ts";
import { partOf } from "../base/text.ts";
import type { Engine } from "../core/engine.ts";
import type { Hub } from "../core/hub.ts";
import type { Refusal } from "../core/refusal.ts";
import type { Admission, AdmissionLimits } from "./admission.ts";
import type { BodyReader } from "./body.ts";
import type { Params, RequestLimits } from "./params.ts";
import type { PrometheusMetrics } from "./prometheus.ts";
import type { Inboxes } from "./transports/inbox.ts";
import type { Warnings } from "./warnings.ts";

/** The parts of a server. Times are in milliseconds. */
export interface AppOptions {
  /** Publishes and subscribes. */
  readonly hub: Hub;
  /** Tells operators about channels. */
  readonly engine: Engine;
  /** Decides who may do what. */
  readonly access: Access;
  /** Reads the bodies of requests. */
  readonly bodies: BodyReader;
  /** Counts connections and refusals, and prints all metrics. */
  readonly metrics: PrometheusMetrics;
  /** The limits of clients. */
  readonly limits: RequestLimits & AdmissionLimits & {
    /** Most bytes of frames that wait in one WebSocket's inbox. */
    readonly maxInbox: number;
    readonly heartbeat: number;
  };
  /** Takes errors that only river itself can cause. */
  readonly report: (error: unknown) => void;
  /** Tells how late the event loop was since it was asked last, in milliseconds. */
  readonly takeLag: () => number;
  /** River's version, for the metrics. */
  readonly version: string;
  /** Warns operators of requests that point to a missing option. */
  readonly warnings: Warnings;
}

/** The parts that all routes share. */
export interface Parts extends AppOptions {
  /** Counts and limits connections. */
  readonly admission: Admission;
  /** The frames that wait, of all WebSockets. */
  readonly inboxes: Inboxes;
}

/** The connection of a request, as the runtime describes it. */
export type Connection = Deno.ServeHandlerInfo<Deno.NetAddr>;

/** A request before its parameters are read. */
export interface Call {
  /** The request. */
  readonly request: Request;
  /** Its connection. */
  readonly connection: Connection;
  /** The path of its URL. */
  readonly path: string;
  /** The query string without its question mark. */
  readonly search: string;
  /** When it came, in milliseconds as `performance.now()` tells them. */
  readonly started: number;
  /** The allowed origin of the page that sent it. Undefined if no page did, and until it is checked. */
  origin: string | undefined;
}

/** Answers one kind of request. Returns a promise only if it has to wait for something. */
export type Route = (parts: Parts, call: Call) => Response | Promise<Response>;

/** nginx's code for "client closed request". Never delivered, so any status would do. */
const CLIENT_GONE = 499;

/** Headers of answers that no cache may keep, and that no browser may take for a script. */
export const PRIVATE = { "cache-control": "no-store", "x-content-type-options": "nosniff" };
/** Headers of answers that do not end by themselves. */
export const STREAM_HEADERS: Readonly<Record<string, string>> = {
  ...PRIVATE,
  "cache-control": "no-store, no-transform",
  "x-accel-buffering": "no",
};
/**
 * Receipts of POST go without `PRIVATE`. No cache keeps an answer to POST unless the answer asks
 * for it (RFC 9110, 9.3.3), and a second header costs the fast path of the runtime: a sixth of a
 * publish by GET.
 */
export const RECEIPT_HEADERS = { "content-type": "application/json" };
/** Headers of other answers in JSON. */
export const JSON_HEADERS: Readonly<Record<string, string>> = { ...RECEIPT_HEADERS, ...PRIVATE };

/**
 * Answers with the grant of the client. Returns a promise only if its token is new to this process.
 *
 * @param embeddable Whether a page would gain by making a visitor's browser send this request.
 */
export function granted(
  { access }: Parts,
  request: Request,
  params: Params,
  answer: (grant: Grant) => Response | Promise<Response>,
  embeddable = false,
): Response | Promise<Response> {
  const grant = access.grant(request.headers, params.get("token"), embeddable);
  if (!(grant instanceof Promise)) return answer(grant);
  // Read the signal now, or it would not tell that the client has left meanwhile. A socket that is
  // upgraded after that would neither open nor close.
  const { signal } = request;
  return grant.then((grant) =>
    signal.aborted ? new Response(null, { status: CLIENT_GONE }) : answer(grant)
  );
}

/** Splits the URL as it came, without the cost and the surprises of `new URL`. */
export function parseUrl(url: string): { path: string; search: string } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const question = url.indexOf("?");
  const hash = url.indexOf("#");
  const end = hash < 0 ? url.length : hash;
  const pathEnd = question < 0 || question > end ? end : question;
  // A target in absolute form may lack a path. Then no slash comes before the query.
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

/** Who was refused: what a line of the log says of it. */
export interface Refused {
  /** The address of the client. */
  readonly client: string;
  /** The path that it asked for. */
  readonly path: string;
  /** The origin of its page, if it is a page. */
  readonly origin?: string;
}

/**
 * Counts a refusal, and tells operators who was refused and why: one line of the log per second and
 * code.
 */
export function noteRefusal(
  { metrics, warnings }: Parts,
  { client, path, origin }: Refused,
  { status, code, message }: Refusal,
): void {
  metrics.refused(status, code);
  const facts: Record<string, string> = { status: String(status), client, path, reason: message };
  if (origin !== undefined) facts.origin = origin;
  warnings.warn(code, "refused", facts);
}

/** Who sent a request. */
export function refusedOf(
  { admission }: Parts,
  comer: Pick<Call, "request" | "connection">,
): Refused {
  const { headers, url } = comer.request;
  const fromPage = headers.has("origin") || headers.has("sec-fetch-site");
  return {
    client: admission.addressOf(comer),
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
