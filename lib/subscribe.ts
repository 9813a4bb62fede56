/**
 * `/subscribe`.
 *
 * @module
 */
import type { Grant } from "./access.ts";
import { type Call, granted, parseUrl, type Parts, retryMs, STREAM_HEADERS } from "./call.ts";
import { HttpError, internalError } from "./http_error.ts";
import type { Wish } from "./hub.ts";
import { Params, readParams, type SubscribeRequest, subscribeRequest } from "./params.ts";
import { StreamSink } from "./stream_sink.ts";
import type { Subscriber } from "./subscriber.ts";

const EVENT_STREAM = "text/event-stream";

/** Answers with a stream of messages, or with some of them. */
export function subscribe(parts: Parts, call: Call): Response | Promise<Response> {
  const { access, admission, bodies } = parts;
  if (admission.draining) return comeBack();
  checkNoBody(call.request);
  if (call.origin === undefined) access.checkEmbedding(call.request);
  const { request, search } = call;
  const params = new Params().addForm(search);
  if (request.method !== "POST") return openStream(parts, call, params);
  return granted(parts, request, params, async (grant) => {
    const stranger = grant.known ? undefined : grant.refusal("subscribe");
    return openStream(parts, call, await readParams(request, params, bodies, stranger));
  });
}

function openStream(parts: Parts, call: Call, params: Params): Response | Promise<Response> {
  const { request } = call;
  const asked = subscribeRequest(params, request.headers, parts.limits);
  // Scripts of other pages can read JSONP. No page can read the other formats, nor what operators are
  // shown, without telling its origin: `nosniff` keeps them from being taken for scripts.
  const embeddable = request.method === "GET" && asked.transport === "jsonp";
  return granted(
    parts,
    request,
    params,
    (grant) => streamTo(parts, call, grant, asked),
    embeddable,
  );
}

function streamTo(
  parts: Parts,
  call: Call,
  grant: Grant,
  asked: SubscribeRequest,
): Response | Promise<Response> {
  const { hub, admission } = parts;
  const { request, connection } = call;
  checkMaySubscribe(grant, asked.wishes);
  admission.checkRoom(call);
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

/**
 * Makes sure that a client may join all of these channels.
 *
 * @throws {HttpError} If it may not.
 */
export function checkMaySubscribe(grant: Grant, wishes: readonly Wish[]): void {
  if (!wishes.every(({ channel }) => grant.maySubscribe(channel))) throw grant.refusal("subscribe");
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

/** Whether an `EventSource` asks, which gives up for good when it is refused. */
export function isEventSource({ method, headers, url }: Request): boolean {
  return method === "GET" && headers.get("accept") === EVENT_STREAM &&
    parseUrl(url).path === "/subscribe";
}

/** An event stream that only says when to come back. */
function comeBack(): Response {
  return new Response(`retry: ${retryMs()}\n\n`, {
    headers: { ...STREAM_HEADERS, "content-type": EVENT_STREAM, connection: "close" },
  });
}
