/**
 * The route `/websocket`.
 *
 * @module
 */
import type { Grant } from "../access/access.ts";
import { MAX_TIMER_MS } from "../base/clock.ts";
import type { Join } from "../core/hub.ts";
import { quote, Refusal } from "../core/refusal.ts";
import { type Call, granted, noteRefusal, type Parts } from "./call.ts";
import { Params } from "./params.ts";
import { checkMaySubscribe, joinsOf } from "./subscribe.ts";
import { LineSession } from "./transports/socket_commands.ts";
import { retryMs } from "./transports/retry.ts";
import { PlainSession, type SessionContext } from "./transports/socket_session.ts";
import { LineSocketSink, PlainSocketSink, RawSocketSink } from "./transports/socket_sink.ts";

const SUBPROTOCOL = "river.v1";
/** The longest idle timeout that the runtime can measure, in seconds. */
const MAX_IDLE_S = Math.floor(MAX_TIMER_MS / 1000);

/** Upgrades a request to a WebSocket, either plain or with the subprotocol `river.v1`. */
export function websocket(parts: Parts, call: Call): Response | Promise<Response> {
  const { request, search } = call;
  checkUpgrade(request.headers);
  const params = new Params().addForm(search);
  return granted(parts, request, params, (grant) => {
    // Check the credential before the parameters, so that a client without one learns that first.
    if (!grant.valid) throw grant.refusal("connect");
    params.refuseMistakes(["seq", "last_event_id", "format", "token"]);
    const protocols = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
    const lines = protocols.some((protocol) => protocol.trim() === SUBPROTOCOL);
    const Sink = lines
      ? LineSocketSink
      : params.get("format") === "raw"
      ? RawSocketSink
      : PlainSocketSink;
    return upgrade(parts, call, grant, socketJoins(parts, request, params, lines), Sink);
  });
}

/** The channels that a socket joins when it opens: one if it is plain, any number in `river.v1`. */
function socketJoins(parts: Parts, { headers }: Request, params: Params, lines: boolean): Join[] {
  if (lines && !params.has("name")) return [];
  const joins = joinsOf(params, headers, parts.limits.maxChannelsPerClient);
  if (lines || joins.length === 1) return joins;
  throw new Refusal(
    400,
    "duplicate_parameter",
    `Parameter "name" is given ${joins.length} times, but a plain WebSocket has one channel: ` +
      `use the subprotocol ${SUBPROTOCOL} for several`,
  );
}

function upgrade(
  parts: Parts,
  call: Call,
  grant: Grant,
  joins: readonly Join[],
  Sink: typeof LineSocketSink | typeof PlainSocketSink,
): Response {
  const { hub, admission, limits, inboxes, report } = parts;
  // Read these now: once the request is upgraded, it cannot be read any more.
  const client = admission.addressOf(call);
  const { path } = call;
  checkMaySubscribe(grant, joins);
  // Upgrade in the same turn as the request. If the client disconnects in between, Deno 2.9.6 leaks
  // the descriptor and fires neither open nor close.
  const onClose = admission.enter(call);
  let upgraded: Deno.WebSocketUpgrade;
  try {
    upgraded = Deno.upgradeWebSocket(call.request, {
      idleTimeout: Math.min(Math.ceil(limits.heartbeat / 1000), MAX_IDLE_S),
    });
  } catch (error) {
    onClose();
    throw error;
  }
  // Nothing below may throw. The upgrade cannot be undone, and the request's signal no longer
  // reports that the client leaves.
  const { socket, response } = upgraded;
  // Set the header here, because `Deno.upgradeWebSocket` cannot choose from a list without spaces.
  const sink = new Sink(socket, retryMs);
  const lines = sink instanceof LineSocketSink;
  if (lines) response.headers.set("sec-websocket-protocol", SUBPROTOCOL);
  const subscriber = hub.connect(sink, {
    transport: lines ? SUBPROTOCOL : "websocket",
    ...admission.lifeOf(grant),
  });
  const context: SessionContext = {
    hub,
    subscriber,
    joins,
    grant,
    limits,
    inboxes,
    publishRate: admission.publishRateAt(client),
    report,
    onRefused: (refusal) => noteRefusal(parts, { client, path }, refusal),
    onClose,
    onLost: (change) => admission.countLost(change),
  };
  const session = lines ? new LineSession(sink, context) : new PlainSession(sink, context);
  for (const event of ["open", "message", "close"]) socket.addEventListener(event, session);
  return response;
}

/** Refuses handshakes for which `Deno.upgradeWebSocket` would throw, or that it wrongly accepts. */
function checkUpgrade(headers: Headers): void {
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    // A proxy removes the headers of the connection unless it is configured to forward them.
    const reason = headers.has("sec-websocket-key")
      ? 'Header "Upgrade" is missing: a proxy in between must pass it on'
      : "Only WebSockets connect here: use ws:// or wss://";
    const asked = { upgrade: "websocket", connection: "upgrade" };
    throw new Refusal(426, "upgrade_required", reason, asked);
  }
  // Split and trim. With a pattern that also matches the spaces, the time would grow with the
  // square of their number.
  const options = (headers.get("connection") ?? "").split(",");
  if (!options.some((option) => option.trim().toLowerCase() === "upgrade")) {
    throw new Refusal(400, "bad_upgrade", 'Bad header "Connection": expected "Upgrade"');
  }
  const version = headers.get("sec-websocket-version");
  if (version !== "13") {
    throw new Refusal(
      426,
      "bad_websocket_version",
      `Bad header "Sec-WebSocket-Version": expected 13, got ${quote(version ?? "")}`,
      { "sec-websocket-version": "13" },
    );
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    throw new Refusal(
      400,
      "bad_websocket_key",
      `Bad header "Sec-WebSocket-Key": expected 16 bytes in base64, got ${quote(key)}`,
    );
  }
}
