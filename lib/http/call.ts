/**
 * A request as the routes see it, what they work with, and the answers that all of them give.
 *
 * @module
 */
import type { Access, Grant } from "../access/access.ts";
import type { Engine } from "../core/engine.ts";
import type { Hub } from "../core/hub.ts";
import type { Refusal } from "../core/refusal.ts";
import type { Admission, AdmissionLimits } from "./admission.ts";
import type { BodyReader } from "./body.ts";
import { type Params, partOf, type RequestLimits } from "./params.ts";
import type { PrometheusMetrics } from "./prometheus.ts";
import type { Inboxes } from "./transports/inbox.ts";
import type { Warnings } from "./warnings.ts";

/** What the routes work with. Times are in milliseconds. */
export interface AppOptions {
  /** Publishes and subscribes. */
  readonly hub: Hub;
  /** Tells operators about channels. */
  readonly engine: Engine;
  /** Decides who may do what. */
  readonly access: Access;
  /** Reads the bodies of requests. */
  readonly bodies: BodyReader;
  /** Counts connections and refusals, and prints all counts. */
  readonly metrics: PrometheusMetrics;
  /** What clients are held to. */
  readonly limits: RequestLimits & AdmissionLimits & {
    /** Bytes of frames that one WebSocket may have waiting. */
    readonly maxInbox: number;
    readonly heartbeat: number;
  };
  /** Takes errors that are nobody's fault but ours. */
  readonly report: (error: unknown) => void;
  /** Tells operators what clients do that an option may be missing for. */
  readonly warnings: Warnings;
}

/** What the routes share. */
export interface Parts extends AppOptions {
  /** Who may come in. */
  readonly admission: Admission;
  /** What waits of all WebSockets. */
  readonly inboxes: Inboxes;
}

/** What the runtime tells about the connection of a request. */
export type Connection = Deno.ServeHandlerInfo<Deno.NetAddr>;

/** What is known of a request before it is looked into. */
export interface Call {
  /** The request. */
  readonly request: Request;
  /** Its connection. */
  readonly connection: Connection;
  /** The path of its address. */
  readonly path: string;
  /** The query string without its question mark. */
  readonly search: string;
  /** The origin of the page that asks, which is allowed; undefined if none says so. */
  readonly origin: string | undefined;
}

/** Answers one kind of request; at once wherever nothing has to be waited for. */
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
 * Receipts of POST go without `PRIVATE`: no cache keeps an answer to POST that does not ask for it (RFC 9110,
 * 9.3.3), and a second header costs the runtime's fast path: a sixth of a publish by GET.
 */
export const RECEIPT_HEADERS = { "content-type": "application/json" };
/** Headers of other answers in JSON. */
export const JSON_HEADERS: Readonly<Record<string, string>> = { ...RECEIPT_HEADERS, ...PRIVATE };

/** Bounds of the time that clients are told to wait before they come back; each is told another. */
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 3000;

/**
 * Answers with what the client may do; at once, unless its token is new here.
 *
 * @param embeddable Whether any page gains by making a browser ask for this.
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
  // Without a look at it now, the signal would not tell that the client has gone meanwhile, and a
  // socket upgraded then would never open nor close.
  const { signal } = request;
  return grant.then((grant) =>
    signal.aborted ? new Response(null, { status: CLIENT_GONE }) : answer(grant)
  );
}

/** Splits the address as it came, without the cost and the surprises of `new URL`. */
export function parseUrl(url: string): { path: string; search: string } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const question = url.indexOf("?");
  const hash = url.indexOf("#");
  const end = hash < 0 ? url.length : hash;
  const pathEnd = question < 0 || question > end ? end : question;
  // A target in absolute form may have no path: then no slash comes before the query.
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

/** The answer to a refused request: `{"error":{"code":...,"message":...}}` and a newline. */
export function refusalResponse({ status, code, message, headers }: Refusal): Response {
  return new Response(JSON.stringify({ error: { code, message } }) + "\n", {
    status,
    headers: { "content-type": "application/json", ...PRIVATE, ...headers },
  });
}

/** A delay for clients that have to come back, a different one for each so that they come apart. */
export function retryMs(): number {
  return Math.round(MIN_RETRY_MS + Math.random() * (MAX_RETRY_MS - MIN_RETRY_MS));
}
