/**
 * Routes every request to its handler, and turns every error into a response.
 *
 * @module
 */
import { isLoopback, isProxied } from "../access/local.ts";
import { preflightHeaders } from "../access/origins.ts";
import { ShuttingDownError } from "../core/hub.ts";
import { internalError, quote, Refusal } from "../core/refusal.ts";
import { Admission } from "./admission.ts";
import { ASSETS, serveAsset } from "./assets.ts";
import {
  type AppOptions,
  type Call,
  type Connection,
  noteRefusal,
  parseUrl,
  type Parts,
  PRIVATE,
  refusalResponse,
  refusedClient,
  type Route,
} from "./call.ts";
import {
  healthz,
  isLiveness,
  listChannels,
  resetChannel,
  showChannel,
  showMetrics,
} from "./operate.ts";
import { publish } from "./publish.ts";
import { isEventSource, subscribe } from "./subscribe.ts";
import { Inboxes } from "./transports/inbox.ts";
import { CutError } from "./transports/stream_sink.ts";
import { websocket } from "./websocket.ts";

/** Answers a request. Returns a promise only if the answer is not ready at once. */
export type Handler = (request: Request, info: Connection) => Response | Promise<Response>;

/** The server without its listener. */
export interface App {
  /** Answers every request. */
  readonly handle: Handler;
  /** Takes an error that occurred while a response was being sent. */
  readonly fail: (error: unknown) => Response;
  /** Must be called after the limits have changed. */
  reload(): void;
  /** Makes `/healthz` answer 503 from now on, because the server is about to shut down. */
  leave(): void;
  /**
   * Refuses new requests from now on. Resolves when the requests before it are answered and all
   * streams and sockets are closed. The hub must close them.
   */
  drain(): Promise<void>;
}

/**
 * `Retry-After` during shutdown, in seconds: as short as the delay that connected clients are
 * given.
 */
const SHUTDOWN_RETRY_AFTER = "1";
/**
 * One publish request in this many is checked for a proxy. To check every one would cost a tenth of
 * the time of a publish.
 */
const PROXY_CHECK_INTERVAL = 100;

const ROUTES: Record<string, Record<string, Route>> = {
  "/publish": { GET: publish, POST: publish },
  "/subscribe": { GET: subscribe, POST: subscribe },
  "/websocket": { GET: websocket },
  "/channels": { GET: listChannels, HEAD: listChannels, DELETE: resetChannel },
  "/chat-demo": { GET: redirectToFolder, HEAD: redirectToFolder },
  "/healthz": { GET: healthz, HEAD: healthz },
  "/metrics": { GET: showMetrics, HEAD: showMetrics },
};
const CHANNEL_ROUTES: Record<string, Route> = {
  GET: showChannel,
  HEAD: showChannel,
  DELETE: resetChannel,
};
const ASSET_ROUTES: Record<string, Route> = { GET: asset, HEAD: asset };

/** Builds the server from its parts. */
export function createApp(options: AppOptions): App {
  const { limits } = options;
  return new Dispatcher({
    ...options,
    admission: new Admission(limits),
    inboxes: new Inboxes(limits.maxInbox),
  });
}

/** Routes requests and turns errors into responses. */
class Dispatcher implements App {
  readonly #parts: Parts;
  /**
   * Whether to look for a proxy in front of a server that anybody may use. The warning is given
   * once.
   */
  #warnOfProxy: boolean;
  /** Number of publish requests so far. Counted only while `#warnOfProxy` is true. */
  #publishes = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#warnOfProxy = parts.access.open && !parts.limits.trustProxy;
  }

  readonly handle: Handler = (request, connection) => {
    const started = performance.now();
    const call: Call = {
      request,
      connection,
      ...parseUrl(request.url),
      started,
      origin: undefined,
    };
    try {
      const response = this.#answer(call);
      if (!(response instanceof Promise)) return this.#finish(response, call);
      const { admission } = this.#parts;
      admission.hold();
      return response.then((response) => {
        admission.release();
        return this.#finish(response, call);
      }, (error) => {
        admission.release();
        return this.#finish(this.#errorResponse(error, call), call);
      });
    } catch (error) {
      return this.#finish(this.#errorResponse(error, call), call);
    }
  };

  #answer(call: Call): Response | Promise<Response> {
    const { access, admission } = this.#parts;
    const { request, connection, path } = call;
    checkHost(request.headers);
    if (
      this.#warnOfProxy && (path !== "/publish" || this.#publishes++ % PROXY_CHECK_INTERVAL === 0)
    ) {
      this.#lookForProxy(request, connection);
    }
    // Any page may load shared files, so its origin is not checked.
    if (!ASSETS.get(path)?.shared) call.origin = access.origins.check(request.headers);
    // Refuse after the origin check, so that an allowed page can read the refusal.
    if (admission.draining && !isServedToTheEnd(request)) throw shuttingDown();
    return this.#dispatch(call);
  }

  #lookForProxy({ headers }: Request, { remoteAddr }: Connection): void {
    // A request from another machine may have passed a proxy of the client's own.
    if (!isProxied(headers) || !isLoopback(remoteAddr.hostname)) return;
    this.#warnOfProxy = false;
    this.#parts.warnings.warn(
      "open_behind_proxy",
      "requests come through a proxy, and anybody who can reach it can publish and subscribe: " +
        "set --publish-key or --token-secret, or --open and --trust-proxy if you want that",
      {},
    );
  }

  readonly fail = (error: unknown): Response => {
    if (!(error instanceof CutError)) this.#parts.report(error);
    return refusalResponse(internalError());
  };

  reload(): void {
    this.#parts.admission.reload();
  }

  leave(): void {
    this.#parts.admission.leaving = true;
  }

  drain(): Promise<void> {
    return this.#parts.admission.drain();
  }

  #dispatch(call: Call): Response | Promise<Response> {
    const { path, request: { method } } = call;
    const methods = Object.hasOwn(ROUTES, path)
      ? ROUTES[path]
      : path.startsWith("/channels/")
      ? CHANNEL_ROUTES
      : ASSETS.has(path)
      ? ASSET_ROUTES
      : undefined;
    if (methods === undefined) {
      throw new Refusal(404, "not_found", `There is nothing at ${quote(path)}`);
    }
    if (Object.hasOwn(methods, method)) return methods[method](this.#parts, call);
    const allow = [...Object.keys(methods), "OPTIONS"].join(", ");
    if (method === "OPTIONS") return preflight(allow, call);
    throw new Refusal(
      405,
      "method_not_allowed",
      `${method} is not allowed at ${quote(path)}: use ${allow}`,
      { allow },
    );
  }

  /** Turns an error into a response. No other code does. */
  #errorResponse(error: unknown, call: Call): Response {
    const refusal = this.#toRefusal(error);
    // A probe asks whether the server is ready. To tell it that it is not is no refusal.
    if (refusal.status !== 503 || call.path !== "/healthz") {
      noteRefusal(this.#parts, refusedClient(this.#parts, call), refusal);
    }
    return refusalResponse(refusal);
  }

  /** Adds the CORS headers. Every response passes through here. */
  #finish(response: Response, { request, path, origin, started }: Call): Response {
    const { status } = response;
    this.#parts.metrics.answered(routeOf(path), status, performance.now() - started);
    if (status === 101) return response;
    if (origin !== undefined) {
      this.#parts.access.origins.expose(response.headers, request.headers, origin);
    }
    return response;
  }

  #toRefusal(error: unknown): Refusal {
    if (error instanceof Refusal) return error;
    if (error instanceof ShuttingDownError) return shuttingDown();
    this.#parts.report(error);
    return internalError();
  }
}

/** The name of a route in the metrics. There are only a few, whatever paths clients ask for. */
function routeOf(path: string): string {
  if (Object.hasOwn(ROUTES, path)) return path.slice(1);
  if (path.startsWith("/channels/")) return "channels";
  return ASSETS.has(path) ? "pages" : "other";
}

/** Whether a request is answered even during shutdown. */
function isServedToTheEnd(request: Request): boolean {
  return isEventSource(request) || isLiveness(request);
}

/** Redirects to the path with a slash at its end: the page's relative links need it. */
function redirectToFolder(_parts: Parts, { path }: Call): Response {
  const location = `${path.slice(path.lastIndexOf("/") + 1)}/`;
  return new Response(null, { status: 308, headers: { ...PRIVATE, location } });
}

function asset(_parts: Parts, { request, path }: Call): Promise<Response> {
  return serveAsset(path, request.headers)!;
}

/** The characters of a host (RFC 3986) and a port. */
const HOST = /^[\w.~!$&'()*+,;=:%[\]-]*$/;

/**
 * Refuses a malformed Host. Deno pastes it into `request.url` unchecked, so a slash in it would
 * change the path.
 */
function checkHost(headers: Headers): void {
  const host = headers.get("host");
  if (host === null || HOST.test(host)) return;
  throw new Refusal(
    400,
    "bad_host",
    `Bad header "Host": expected a host name, got ${quote(host)}`,
    {
      connection: "close",
    },
  );
}

function shuttingDown(): Refusal {
  return new Refusal(503, "shutting_down", "The server is shutting down", {
    "retry-after": SHUTDOWN_RETRY_AFTER,
    "connection": "close",
  });
}

function preflight(allow: string, { request }: Call): Response {
  const requested = request.headers.get("access-control-request-headers");
  return new Response(null, {
    status: 204,
    headers: { ...PRIVATE, allow, ...preflightHeaders(allow, requested) },
  });
}
