/**
 * The routes: a request comes in, a response goes out. All that is HTTP meets all that is not here.
 *
 * @module
 */
import { type Access, type Grant, pageOf } from "./access.ts";
import { ASSETS, serveAsset } from "./assets.ts";
import type { BodyReader } from "./body.ts";
import { MAX_TIMER_MS } from "./clock.ts";
import { quote } from "./cursor.ts";
import {
  BatchTooLargeError,
  type ChannelInfo,
  type Engine,
  EngineFullError,
  type Publication,
  type Receipt,
} from "./engine.ts";
import { HttpError, internalError, PRIVATE, RETRY_AFTER } from "./http_error.ts";
import { type Hub, ShuttingDownError, type Wish } from "./hub.ts";
import { Inboxes } from "./inbox.ts";
import type { PrometheusMetrics, Reading } from "./metrics.ts";
import {
  checkName,
  Params,
  partOf,
  readParams,
  readPublications,
  type RequestLimits,
  type SubscribeRequest,
  subscribeRequest,
  wholeNumber,
  wishesOf,
} from "./params.ts";
import { type Key, keyOf } from "./key.ts";
import { isLoopback, isProxied } from "./local.ts";
import { clientAddress, RateLimit } from "./rate_limit.ts";
import { LineSession, PlainSession, type SessionContext } from "./socket_session.ts";
import { LineSocketSink, PlainSocketSink } from "./socket_sink.ts";
import { CutError, StreamSink } from "./stream_sink.ts";
import type { Subscriber } from "./subscriber.ts";
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
  readonly limits: RequestLimits & {
    readonly maxConnections: number;
    /** Of one client address; 0: no limit. */
    readonly maxConnectionsPerClient: number;
    /** Whether that limit is not for loopback addresses. */
    readonly sparesLoopback: boolean;
    /** Messages a second and client address; 0: no limit. */
    readonly publishRate: number;
    /** Subscriptions and sockets a second and client address; 0: no limit. */
    readonly connectionRate: number;
    /** Whether `X-Forwarded-For` is the word of a proxy in front. */
    readonly trustProxy: boolean;
    /** Bytes of frames that one WebSocket may have waiting. */
    readonly maxInbox: number;
    /** 0: no end. */
    readonly clientTimeout: number;
    readonly heartbeat: number;
  };
  /** Takes errors that are nobody's fault but ours. */
  readonly report: (error: unknown) => void;
  /** Tells operators what clients do that an option may be missing for. */
  readonly warnings: Warnings;
}

/** Answers a request; at once wherever nothing has to be waited for. */
export type Handler = (request: Request, info: Connection) => Response | Promise<Response>;

/** What the runtime tells about the connection of a request. */
export type Connection = Deno.ServeHandlerInfo<Deno.NetAddr>;

/** The server, but for the listening. */
export interface App {
  /** Answers every request. */
  readonly handle: Handler;
  /** Takes what goes wrong while a response is sent. */
  fail(error: unknown): Response;
  /**
   * Refuses every request from now on. Resolves when those under way are answered and all streams and
   * sockets are closed, which is for the hub to see to.
   */
  drain(): Promise<void>;
}

/** Nobody is there to see it. */
const CLIENT_GONE = 499;
/** As `RETRY_AFTER`, for who comes while we shut down, as soon as the others: a restart takes no longer. */
const RESTART_AFTER = "1";
/** Bounds of the time that clients are told to wait before they come back; each is told another. */
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 3000;
/** Of so many requests to publish, one is looked at for signs of a proxy: all of them would cost a tenth. */
const SAMPLE = 100;
/** The longest silence that the runtime can time, in seconds. */
const MAX_IDLE_S = Math.floor(MAX_TIMER_MS / 1000);
/** Channels listed on one page, if the client does not say, and at the most. */
const PAGE = 100;
const MAX_PAGE = 1000;

const SUBPROTOCOL = "river.v1";
const EVENT_STREAM = "text/event-stream";

const STREAM_HEADERS = {
  ...PRIVATE,
  "cache-control": "no-store, no-transform",
  "x-accel-buffering": "no",
};
/**
 * Receipts of POST go without `PRIVATE`: no cache keeps an answer to POST that does not ask for it (RFC 9110,
 * 9.3.3), and a second header costs the runtime's fast path: a sixth of a publish by GET.
 */
const RECEIPT_HEADERS = { "content-type": "application/json" };
const JSON_HEADERS = { ...RECEIPT_HEADERS, ...PRIVATE };

/** What is known of a request before it is looked into. */
interface Call {
  readonly request: Request;
  readonly connection: Connection;
  readonly path: string;
  /** The query string without its question mark. */
  readonly search: string;
  /** The origin of the page that asks, which is allowed; undefined if none says so. */
  readonly origin: string | undefined;
}

type Route = (call: Call) => Response | Promise<Response>;

/** Builds the server from its parts. */
export function createApp(options: AppOptions): App {
  const { hub, engine, access, bodies, metrics, limits, report, warnings } = options;
  const publishLimit = new RateLimit(limits.publishRate);
  const connectionLimit = new RateLimit(limits.connectionRate);
  const inboxes = new Inboxes(limits.maxInbox);
  /** Requests that have to wait for something. */
  let busy = 0;
  /**
   * Connections that are, or were, a subscriber's: a client that takes nothing may hold on to one long
   * after its subscriber was cut.
   */
  let connections = 0;
  /** Connections of these that the runtime has lost: their sockets never opened. */
  let lost = 0;
  /** Connections by client address, if there is a limit for one. */
  const clients = new Map<Key, number>();
  let drained: PromiseWithResolvers<void> | undefined;
  /** Whether it has to be said yet that a proxy is in front of a server that is open to everybody. */
  let unaware = access.open && !limits.trustProxy;
  /** Requests to publish that came while that was so. */
  let publishes = 0;

  const routes: Record<string, Record<string, Route>> = {
    "/publish": { GET: publish, POST: publish },
    "/subscribe": { GET: subscribe, POST: subscribe },
    "/websocket": { GET: websocket },
    "/channels": { GET: listChannels },
    "/chat-demo": { GET: toFolder },
    "/healthz": { GET: healthz, HEAD: healthz },
    "/metrics": { GET: showMetrics, HEAD: showMetrics },
  };
  const channelRoutes: Record<string, Route> = { GET: showChannel, DELETE: resetChannel };
  const assetRoutes: Record<string, Route> = { GET: asset, HEAD: asset };

  return { handle, fail, drain };

  function handle(request: Request, connection: Connection): Response | Promise<Response> {
    let origin: string | undefined;
    try {
      if (drained !== undefined && !isEventSource(request)) throw shuttingDown();
      checkHost(request.headers);
      const { path, search } = parseUrl(request.url);
      if (unaware && (path !== "/publish" || publishes++ % SAMPLE === 0)) {
        lookForProxy(request, connection);
      }
      // What every page may load says nothing about the page that loads it.
      if (!ASSETS.get(path)?.shared) origin = access.checkOrigin(request.headers);
      const response = dispatch({ request, connection, path, search, origin });
      if (!(response instanceof Promise)) return finish(response, request, origin);
      busy++;
      return response.then((response) => {
        release();
        return finish(response, request, origin);
      }, (error) => {
        release();
        return refuse(error, request, origin);
      });
    } catch (error) {
      return refuse(error, request, origin);
    }
  }

  function lookForProxy({ headers }: Request, { remoteAddr }: Connection): void {
    // A client elsewhere may have a proxy of its own.
    if (!isProxied(headers) || !isLoopback(remoteAddr.hostname)) return;
    unaware = false;
    warnings.warn(
      "open_behind_proxy",
      "requests come through a proxy, and whoever reaches it may publish and subscribe: set " +
        "--publish-key or --token-secret, or --open and --trust-proxy if that is what you want",
      {},
    );
  }

  function fail(error: unknown): Response {
    if (!(error instanceof CutError)) report(error);
    return internalError().toResponse();
  }

  function drain(): Promise<void> {
    drained ??= Promise.withResolvers();
    checkDrained();
    return drained.promise;
  }

  function release(): void {
    busy--;
    checkDrained();
  }

  /** Counts a connection; what it returns is to be called once, when that has ended. */
  function enter(call: Call): () => void {
    connections++;
    const client = countedClient(call);
    if (client === undefined) return leave;
    clients.set(client, (clients.get(client) ?? 0) + 1);
    return () => {
      const others = clients.get(client)! - 1;
      if (others > 0) clients.set(client, others);
      else clients.delete(client);
      leave();
    };
  }

  function leave(): void {
    connections--;
    checkDrained();
  }

  /** A socket did not open for so long that it never will; or, with -1, has ended all the same. */
  function lose(change: 1 | -1): void {
    lost += change;
  }

  function checkDrained(): void {
    if (busy === 0 && connections === 0) drained?.resolve();
  }

  function dispatch(call: Call): Response | Promise<Response> {
    const { path, request: { method } } = call;
    const methods = Object.hasOwn(routes, path)
      ? routes[path]
      : path.startsWith("/channels/")
      ? channelRoutes
      : ASSETS.has(path)
      ? assetRoutes
      : undefined;
    if (methods === undefined) {
      throw new HttpError(404, "not_found", `There is nothing at ${quote(path)}`);
    }
    if (Object.hasOwn(methods, method)) return methods[method](call);
    const allow = [...Object.keys(methods), "OPTIONS"].join(", ");
    if (method === "OPTIONS") return preflight(allow);
    throw new HttpError(
      405,
      "method_not_allowed",
      `${method} is not allowed at ${quote(path)}: use ${allow}`,
      { allow },
    );
  }

  /** The one place where an error becomes a response. */
  function refuse(error: unknown, request: Request, origin: string | undefined): Response {
    const refusal = toHttpError(error);
    metrics.refused(refusal.status);
    if (refusal.code === "forbidden_origin") warnOfOrigin(request);
    return finish(refusal.toResponse(), request, origin);
  }

  function warnOfOrigin({ headers, url }: Request): void {
    warnings.warn(
      "forbidden_origin",
      "a page of another origin was refused; --origin allows one",
      { origin: pageOf(headers), path: parseUrl(url).path },
    );
  }

  /** The one place through which every response leaves. */
  function finish(response: Response, request: Request, origin: string | undefined): Response {
    if (response.status === 101) return response;
    if (origin !== undefined) withCors(response, request, origin);
    return response;
  }

  /** Lets the page that asked read the response. */
  function withCors({ headers }: Response, request: Request, origin: string): void {
    headers.set("access-control-allow-origin", origin);
    headers.append("vary", "Origin");
    headers.set("access-control-expose-headers", "River-Cursor, Retry-After, WWW-Authenticate");
    // A page that is let in as everybody is must not read with its visitor's cookie.
    if (access.trusts(origin, request.headers)) {
      headers.set("access-control-allow-credentials", "true");
    }
  }

  function toHttpError(error: unknown): HttpError {
    if (error instanceof HttpError) return error;
    if (error instanceof ShuttingDownError) return shuttingDown();
    if (error instanceof EngineFullError) {
      return new HttpError(503, "too_many_channels", `${error.message} (--max-channels)`, {
        "retry-after": RETRY_AFTER,
      });
    }
    if (error instanceof BatchTooLargeError) {
      return new HttpError(413, "batch_too_large", `${error.message} (--max-memory)`);
    }
    report(error);
    return internalError();
  }

  function publish(call: Call): Response | Promise<Response> {
    const { request, search, origin } = call;
    if (origin === undefined) access.checkEmbedding(request);
    const address = publishLimit.enabled ? addressOf(call) : "";
    checkPublishRate(address);
    const params = new Params().addForm(search);
    const token = params.get("token");
    // Before the body is read, so that strangers cannot make us read much of it.
    return granted(request, params, (grant) => {
      const stranger = grant.trusted ? undefined : grant.refusal("publish");
      const read = readPublications(request, params, limits, bodies, stranger);
      if (!(read instanceof Promise)) return publishAll(grant, read);
      return read.then((publications) =>
        params.get("token") === token && grant.expires > Date.now()
          ? publishAll(grant, publications)
          : granted(request, params, (grant) => publishAll(grant, publications))
      );
    }, request.method === "GET");

    function publishAll(grant: Grant, publications: readonly Publication[]) {
      if (!publications.every(({ channel }) => grant.mayPublish(channel))) {
        throw grant.refusal("publish");
      }
      // Others may have come while the body was read.
      checkPublishRate(address);
      publishLimit.spend(address, publications.length);
      const published = publications.length === 1
        ? hub.publish(publications[0])
        : hub.publishAll(publications);
      const receipt = (value: Receipt | readonly Receipt[]) =>
        json(value, request.method === "POST" ? RECEIPT_HEADERS : JSON_HEADERS);
      return published instanceof Promise ? published.then(receipt) : receipt(published);
    }
  }

  function checkPublishRate(address: string): void {
    checkRate(publishLimit, address, "messages a second (--publish-rate)");
  }

  function subscribe(call: Call): Response | Promise<Response> {
    if (drained !== undefined) return comeBack();
    checkNoBody(call.request);
    if (call.origin === undefined) access.checkEmbedding(call.request);
    const { request, search } = call;
    const params = new Params().addForm(search);
    if (request.method !== "POST") return openStream(call, params);
    return granted(request, params, async (grant) => {
      const stranger = grant.known ? undefined : grant.refusal("subscribe");
      return openStream(call, await readParams(request, params, bodies, stranger));
    });
  }

  function openStream(call: Call, params: Params): Response | Promise<Response> {
    const { request } = call;
    const asked = subscribeRequest(params, request.headers, limits);
    // Scripts of other pages can read JSONP. No page can read the other formats, nor what operators are
    // shown, without telling its origin: `nosniff` keeps them from being taken for scripts.
    const embeddable = request.method === "GET" && asked.transport === "jsonp";
    return granted(request, params, (grant) => streamTo(call, grant, asked), embeddable);
  }

  function streamTo(
    call: Call,
    grant: Grant,
    asked: SubscribeRequest,
  ): Response | Promise<Response> {
    const { request, connection } = call;
    checkMaySubscribe(grant, asked.wishes);
    checkRoom(call);
    const { format, once, positions, limit, timeout } = asked;
    const end = enter(call);
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
      ...lifeOf(grant, timeout),
    });
    const subscribed = join(subscriber, () => hub.subscribe(subscriber, asked.wishes));
    // The status can say that nothing came only if it has not been sent before. An event stream
    // says so by ending: 204 would tell its client never to come back.
    const mayBeEmpty = timeout !== undefined && !format.contentType.includes("event-stream");
    const respond = () => {
      if (subscriber.closed === "error") throw internalError();
      const headers = { ...STREAM_HEADERS, "river-cursor": sink.cursor };
      return mayBeEmpty && !sink.started
        ? new Response(null, { status: 204, headers })
        : new Response(sink.body, { headers: { ...headers, "content-type": format.contentType } });
    };
    if (subscribed === undefined && !mayBeEmpty) return respond();
    // The stream is not being read yet, so it cannot tell that the client went away.
    request.signal.addEventListener("abort", () => subscriber.close("gone"));
    return Promise.resolve(subscribed)
      .then(() => mayBeEmpty ? sink.begun() : undefined)
      .then(respond);
  }

  function websocket(call: Call): Response | Promise<Response> {
    const { request, search } = call;
    checkUpgrade(request.headers);
    const params = new Params().addForm(search);
    params.refuseMistakes(["seq", "last_event_id", "token"]);
    const protocols = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
    const lines = protocols.some((protocol) => protocol.trim() === SUBPROTOCOL);
    const named = !lines || params.has("name");
    const wishes = named ? wishesOf(params, request.headers, limits.maxChannelsPerClient) : [];
    if (!lines && wishes.length > 1) {
      throw new HttpError(
        400,
        "duplicate_parameter",
        `Parameter "name" is given ${wishes.length} times, but a plain WebSocket has one channel: ` +
          `use the subprotocol ${SUBPROTOCOL}`,
      );
    }
    return granted(request, params, (grant) => upgrade(call, grant, wishes, lines));
  }

  function upgrade(call: Call, grant: Grant, wishes: readonly Wish[], lines: boolean): Response {
    if (!grant.known) throw grant.refusal("connect");
    checkMaySubscribe(grant, wishes);
    checkRoom(call);
    const pace = publishLimit.enabled
      ? { limit: publishLimit, address: addressOf(call) }
      : undefined;
    // Without a turn of the event loop in between: a client that leaves meanwhile leaves a socket that
    // never opens nor closes, and a file descriptor (Deno 2.9.6).
    const onClose = enter(call);
    let upgraded: Deno.WebSocketUpgrade;
    try {
      upgraded = Deno.upgradeWebSocket(call.request, {
        idleTimeout: Math.min(Math.ceil(limits.heartbeat / 1000), MAX_IDLE_S),
      });
    } catch (error) {
      onClose();
      throw error;
    }
    // From here on nothing may throw: the upgrade cannot be taken back, and tells of the client no more.
    const { socket, response } = upgraded;
    // The runtime's own choice fails on a list without spaces.
    if (lines) response.headers.set("sec-websocket-protocol", SUBPROTOCOL);
    const sink = lines ? new LineSocketSink(socket, retryMs) : new PlainSocketSink(socket, retryMs);
    const subscriber = hub.connect(sink, {
      transport: lines ? SUBPROTOCOL : "websocket",
      ...lifeOf(grant),
    });
    const context: SessionContext = {
      hub,
      subscriber,
      wishes,
      grant,
      limits,
      inboxes,
      pace,
      report,
      onClose,
      onLost: lose,
    };
    const session = sink instanceof LineSocketSink
      ? new LineSession(sink, context)
      : new PlainSession(sink, context);
    for (const event of ["open", "message", "close"]) socket.addEventListener(event, session);
    return response;
  }

  /** How long a subscriber may live, in milliseconds, if it asked for `timeout`; what ends it then. */
  function lifeOf(
    { expires }: Grant,
    timeout = Infinity,
  ): { lifetime: number; lastly: "expired" | "timeout" } {
    const most = Math.min(timeout, limits.clientTimeout || Infinity);
    const granted = expires - Date.now();
    return granted < most
      ? { lifetime: Math.max(0, granted), lastly: "expired" }
      : { lifetime: most, lastly: "timeout" };
  }

  /** Closes a subscriber whose joining fails, and lets the failure go on. */
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

  function listChannels(call: Call): Response | Promise<Response> {
    return operate(call, async (params) => {
      params.refuseMistakes(["prefix", "limit", "after", "token"]);
      const limit = wholeNumber(params, "limit", 1, MAX_PAGE) ?? PAGE;
      const after = params.get("after");
      try {
        const { channels, next } = await engine.list(params.get("prefix") ?? "", limit, after);
        return json({ channels: channels.map(withSubscribers), next });
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw new HttpError(400, "bad_parameter", `Bad parameter "after": ${error.message}`);
      }
    });
  }

  function showChannel(call: Call): Response | Promise<Response> {
    return operate(call, async () => {
      const name = channelOf(call.path);
      return describe(name, await engine.info(name));
    });
  }

  function resetChannel(call: Call): Response | Promise<Response> {
    return operate(call, async () => {
      const name = channelOf(call.path);
      return describe(name, await engine.reset(name));
    });
  }

  function describe(name: string, info: ChannelInfo | undefined): Response {
    if (info === undefined) throw unknownChannel(name);
    return json(withSubscribers(info));
  }

  function withSubscribers<T extends { channel: string; seq: number; epoch: string }>(info: T) {
    const { channel, seq, epoch, ...rest } = info;
    return { channel, seq, epoch, subscribers: hub.subscribers(channel), ...rest };
  }

  function healthz(): Response {
    return json({ status: "ok" });
  }

  function showMetrics(call: Call): Response | Promise<Response> {
    return operate(call, metricsText);
  }

  function metricsText(): Response {
    const { published, channels, onlyWatched, messages, bytes, held } = engine.usage();
    const { rss } = Deno.memoryUsage();
    const readings: Reading[] = [
      ["river_messages_published_total", "counter", "Messages numbered and stored.", published],
      ["river_connections", "gauge", "Connections that subscribers hold.", connections],
      [
        "river_connections_stuck",
        "gauge",
        "Of these, whose subscriber has ended, but whose client takes no end.",
        Math.max(0, connections - lost - hub.size),
      ],
      [
        "river_connections_lost",
        "gauge",
        "Of these, which the runtime has lost: what they hold comes back with a restart.",
        lost,
      ],
      [
        "river_inbox_bytes",
        "gauge",
        "Bytes that WebSockets sent and that wait to be carried out, 1 KiB per frame included.",
        inboxes.bytes,
      ],
      ["river_unsent_bytes", "gauge", "Bytes that subscribers have not taken yet.", hub.unsent],
      ["river_channels", "gauge", "Channels known.", channels],
      [
        "river_channels_only_watched",
        "gauge",
        "Of these, which hold nothing and do not count against --max-channels.",
        onlyWatched,
      ],
      ["river_history_messages", "gauge", "Messages kept.", messages],
      ["river_history_bytes", "gauge", "Bytes of data kept.", bytes],
      ["river_history_memory_bytes", "gauge", "Memory that counts against --max-memory.", held],
      ["process_resident_memory_bytes", "gauge", "Resident memory.", rss],
    ];
    return new Response(metrics.text(readings), {
      headers: { ...PRIVATE, "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    });
  }

  /** A page's relative addresses hold only under the path that ends with a slash. */
  function toFolder({ path }: Call): Response {
    const location = `${path.slice(path.lastIndexOf("/") + 1)}/`;
    return new Response(null, { status: 308, headers: { ...PRIVATE, location } });
  }

  function asset({ request, path }: Call): Promise<Response> {
    return serveAsset(path, request.headers)!;
  }

  /**
   * Answers with what the client may do; at once, unless its token is new here.
   *
   * @param embeddable Whether any page gains by making a browser ask for this.
   */
  function granted(
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

  /** Answers operators, and nobody else. */
  function operate(
    { request, connection, search }: Call,
    answer: (params: Params) => Response | Promise<Response>,
  ): Response | Promise<Response> {
    const params = new Params().addForm(search);
    return granted(request, params, (grant) => {
      access.checkOperator(grant, request, connection.remoteAddr.hostname);
      return answer(params);
    });
  }

  /** Makes sure that another subscriber may come. */
  function checkRoom(call: Call): void {
    if (connectionLimit.enabled) {
      const address = addressOf(call);
      checkRate(connectionLimit, address, "subscriptions a second (--connection-rate)");
      connectionLimit.spend(address, 1);
    }
    const counted = countedClient(call);
    const most = limits.maxConnectionsPerClient;
    if (counted !== undefined && (clients.get(counted) ?? 0) >= most) {
      throw new HttpError(
        429,
        "too_many_connections",
        `One client address is allowed ${most} subscribers (--max-connections-per-client)` +
          (limits.trustProxy ? "" : "; behind a proxy, --trust-proxy tells clients apart"),
        { "retry-after": RETRY_AFTER },
      );
    }
    if (connections < limits.maxConnections) return;
    throw new HttpError(
      503,
      "too_many_connections",
      `${limits.maxConnections} subscribers are connected, the most allowed (--max-connections)`,
      { "retry-after": RETRY_AFTER },
    );
  }

  /** The client whose subscribers are counted; undefined if they are not. */
  function countedClient(call: Call): Key | undefined {
    if (limits.maxConnectionsPerClient === 0) return undefined;
    if (limits.sparesLoopback && isLoopback(call.connection.remoteAddr.hostname)) return undefined;
    return keyOf(addressOf(call));
  }

  function addressOf({ request, connection }: Call): string {
    const forwarded = limits.trustProxy ? request.headers.get("x-forwarded-for") : null;
    return clientAddress(connection.remoteAddr.hostname, forwarded);
  }
}

function checkRate(limit: RateLimit, address: string, what: string): void {
  const wait = limit.wait(address);
  if (wait === 0) return;
  throw new HttpError(
    429,
    "too_many_requests",
    `One client address is allowed ${limit.perSecond} ${what}`,
    { "retry-after": String(Math.ceil(wait / 1000)) },
  );
}

function checkMaySubscribe(grant: Grant, wishes: readonly Wish[]): void {
  if (!wishes.every(({ channel }) => grant.maySubscribe(channel))) throw grant.refusal("subscribe");
}

/** A host as RFC 3986 has it, and a port. */
const HOST = /^[\w.~!$&'()*+,;=:%[\]-]*$/;

/**
 * Refuses a host that is none: the runtime builds the address with it as it came, so that a slash in it
 * would make another path.
 */
function checkHost(headers: Headers): void {
  const host = headers.get("host");
  if (host === null || HOST.test(host)) return;
  throw new HttpError(400, "bad_host", `The header "Host" is no host: ${quote(host)}`, {
    connection: "close",
  });
}

/**
 * Refuses a body where none is read. Beside an answer that does not end, the runtime would keep all
 * of it in memory.
 */
function checkNoBody({ method, headers }: Request): void {
  if (method !== "GET") return;
  if ((headers.get("content-length") ?? "0") === "0" && !headers.has("transfer-encoding")) return;
  throw new HttpError(400, "unexpected_body", "GET takes no body here: use POST", {
    connection: "close",
  });
}

/** Refuses what `Deno.upgradeWebSocket` would choke on, or let pass though it should not. */
function checkUpgrade(headers: Headers): void {
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw new HttpError(426, "upgrade_required", "This is a WebSocket: connect with ws://", {
      upgrade: "websocket",
      connection: "upgrade",
    });
  }
  // A pattern that takes the blanks as well would look at many of them many times.
  const options = (headers.get("connection") ?? "").split(",");
  if (!options.some((option) => option.trim().toLowerCase() === "upgrade")) {
    throw new HttpError(400, "bad_upgrade", 'The header "Connection" must hold "Upgrade"');
  }
  const version = headers.get("sec-websocket-version");
  if (version !== "13") {
    throw new HttpError(
      426,
      "bad_websocket_version",
      `WebSocket version ${quote(version ?? "")} is not spoken here: use 13`,
      { "sec-websocket-version": "13" },
    );
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    throw new HttpError(
      400,
      "bad_websocket_key",
      `The header "Sec-WebSocket-Key" must be 16 bytes in base64, got ${quote(key)}`,
    );
  }
}

function shuttingDown(): HttpError {
  return new HttpError(503, "shutting_down", "The server is shutting down", {
    "retry-after": RESTART_AFTER,
    "connection": "close",
  });
}

/** Whether an `EventSource` asks, which gives up for good when it is refused. */
function isEventSource({ method, headers, url }: Request): boolean {
  return method === "GET" && headers.get("accept") === EVENT_STREAM &&
    parseUrl(url).path === "/subscribe";
}

/** An event stream that only says when to come back. */
function comeBack(): Response {
  return new Response(`retry: ${retryMs()}\n\n`, {
    headers: { ...STREAM_HEADERS, "content-type": EVENT_STREAM, connection: "close" },
  });
}

/** Splits the address as it came, without the cost and the surprises of `new URL`. */
function parseUrl(url: string): { path: string; search: string } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const question = url.indexOf("?");
  const hash = url.indexOf("#");
  const end = hash < 0 ? url.length : hash;
  const pathEnd = question < 0 || question > end ? end : question;
  // A target in absolute form may have no path: then no slash comes before the query.
  const path = start < 0 || start > pathEnd ? "/" : url.slice(start, pathEnd);
  return { path, search: partOf(url, pathEnd + 1, end) };
}

function channelOf(path: string): string {
  const text = path.slice("/channels/".length);
  let name: string;
  try {
    name = decodeURIComponent(text);
  } catch {
    throw new HttpError(400, "bad_encoding", `Cannot decode the channel name ${quote(text)}`);
  }
  checkName("name", name);
  return name;
}

function unknownChannel(name: string): HttpError {
  return new HttpError(404, "unknown_channel", `There is no channel ${quote(name)}`);
}

function json(value: object, headers: Record<string, string> = JSON_HEADERS): Response {
  return new Response(JSON.stringify(value) + "\n", { headers });
}

function preflight(allow: string): Response {
  return new Response(null, {
    status: 204,
    headers: {
      ...PRIVATE,
      allow,
      "access-control-allow-methods": allow,
      "access-control-allow-headers": "Authorization, Content-Type, Last-Event-ID",
      "access-control-max-age": "600",
    },
  });
}

/** A delay for clients that have to come back, a different one for each so that they come apart. */
function retryMs(): number {
  return Math.round(MIN_RETRY_MS + Math.random() * (MAX_RETRY_MS - MIN_RETRY_MS));
}
