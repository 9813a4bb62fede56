/**
 * `/websocket`.
 *
 * @module
 */
import type { Grant } from "../access/access.ts";
import { MAX_TIMER_MS } from "../base/clock.ts";
import type { Join } from "../core/hub.ts";
import { quote, Refusal } from "../core/refusal.ts";
import { type Call, granted, type Parts, retryMs } from "./call.ts";
import { Params } from "./params.ts";
import { checkMaySubscribe, joinsOf } from "./subscribe.ts";
import { LineSession } from "./transports/line_session.ts";
import { PlainSession, type SessionContext } from "./transports/socket_session.ts";
import { LineSocketSink, PlainSocketSink } from "./transports/socket_sink.ts";

const SUBPROTOCOL = "river.v1";
/** The longest silence that the runtime can time, in seconds. */
const MAX_IDLE_S = Math.floor(MAX_TIMER_MS / 1000);

/** Upgrades a request to a WebSocket: plain, or `river.v1`. */
export function websocket(parts: Parts, call: Call): Response | Promise<Response> {
  const { request, search } = call;
  checkUpgrade(request.headers);
  const params = new Params().addForm(search);
  params.refuseMistakes(["seq", "last_event_id", "token"]);
  const protocols = request.headers.get("sec-websocket-protocol")?.split(",") ?? [];
  const lines = protocols.some((protocol) => protocol.trim() === SUBPROTOCOL);
  const named = !lines || params.has("name");
  const joins = named ? joinsOf(params, request.headers, parts.limits.maxChannelsPerClient) : [];
  if (!lines && joins.length > 1) {
    throw new Refusal(
      400,
      "duplicate_parameter",
      `Parameter "name" is given ${joins.length} times, but a plain WebSocket has one channel: ` +
        `use the subprotocol ${SUBPROTOCOL}`,
    );
  }
  return granted(parts, request, params, (grant) => upgrade(parts, call, grant, joins, lines));
}

function upgrade(
  parts: Parts,
  call: Call,
  grant: Grant,
  joins: readonly Join[],
  lines: boolean,
): Response {
  const { hub, admission, limits, inboxes, report } = parts;
  if (!grant.known) throw grant.refusal("connect");
  checkMaySubscribe(grant, joins);
  const pace = admission.paceOf(call);
  // Without a turn of the event loop in between: a client that leaves meanwhile leaves a socket that
  // never opens nor closes, and a file descriptor (Deno 2.9.6).
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
  // From here on nothing may throw: the upgrade cannot be taken back, and tells of the client no more.
  const { socket, response } = upgraded;
  // The runtime's own choice fails on a list without spaces.
  if (lines) response.headers.set("sec-websocket-protocol", SUBPROTOCOL);
  const sink = lines ? new LineSocketSink(socket, retryMs) : new PlainSocketSink(socket, retryMs);
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
    pace,
    report,
    onClose,
    onLost: (change) => admission.lose(change),
  };
  const session = sink instanceof LineSocketSink
    ? new LineSession(sink, context)
    : new PlainSession(sink, context);
  for (const event of ["open", "message", "close"]) socket.addEventListener(event, session);
  return response;
}

/** Refuses what `Deno.upgradeWebSocket` would choke on, or let pass though it should not. */
function checkUpgrade(headers: Headers): void {
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw new Refusal(426, "upgrade_required", "This is a WebSocket: connect with ws://", {
      upgrade: "websocket",
      connection: "upgrade",
    });
  }
  // A pattern that takes the blanks as well would look at many of them many times.
  const options = (headers.get("connection") ?? "").split(",");
  if (!options.some((option) => option.trim().toLowerCase() === "upgrade")) {
    throw new Refusal(400, "bad_upgrade", 'The header "Connection" must hold "Upgrade"');
  }
  const version = headers.get("sec-websocket-version");
  if (version !== "13") {
    throw new Refusal(
      426,
      "bad_websocket_version",
      `WebSocket version ${quote(version ?? "")} is not spoken here: use 13`,
      { "sec-websocket-version": "13" },
    );
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    throw new Refusal(
      400,
      "bad_websocket_key",
      `The header "Sec-WebSocket-Key" must be 16 bytes in base64, got ${quote(key)}`,
    );
  }
}
