/**
 * The routes for operators: `/channels`, `/healthz` and `/metrics`.
 *
 * @module
 */
import process from "node:process";
import type { ChannelInfo, Usage } from "../core/engine.ts";
import { checkName } from "../core/names.ts";
import { quote, Refusal, RETRY_AFTER } from "../core/refusal.ts";
import { type Call, granted, json, parseUrl, type Parts, PRIVATE } from "./call.ts";
import { Params, wholeNumber } from "./params.ts";
import { histogramText, type Reading } from "./prometheus.ts";

const CHANNELS = "/channels";

/** Channels per page: the default, and the most that a client may ask for. */
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** Lists channels, one page at a time. With the parameter `name`, shows one channel. */
export function listChannels(parts: Parts, call: Call): Response | Promise<Response> {
  return operate(parts, call, async (params) => {
    if (params.has("name")) return await showOne(parts, checkedName(params.get("name")!));
    params.refuseMistakes(["prefix", "limit", "after", "token"]);
    const limit = wholeNumber(params, "limit", 1, MAX_PAGE) ?? DEFAULT_PAGE;
    const after = params.get("after");
    try {
      const { channels, next } = await parts.engine.list(params.get("prefix") ?? "", limit, after);
      return json({ channels, next });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new Refusal(400, "bad_parameter", `Bad parameter "after": ${error.message}`);
    }
  });
}

/** Shows one channel. */
export function showChannel(parts: Parts, call: Call): Response | Promise<Response> {
  return operate(parts, call, () => showOne(parts, channelOf(call.path)));
}

async function showOne(parts: Parts, name: string): Promise<Response> {
  return describe(name, await parts.engine.info(name));
}

/**
 * Forgets the messages of a channel. The path names the channel, or the parameter `name` does: a
 * client that follows the URL Standard cannot send the path of a channel `.` or `..`.
 */
export function resetChannel(parts: Parts, call: Call): Response | Promise<Response> {
  return operate(parts, call, async (params) => {
    const name = call.path === CHANNELS ? nameIn(params) : channelOf(call.path);
    return describe(name, await parts.engine.reset(name));
  });
}

function describe(name: string, info: ChannelInfo | undefined): Response {
  if (info === undefined) throw unknownChannel(name);
  return json(info);
}

/**
 * Reports whether the server can do its work: 503 while its engine is not ready, or while the
 * server is about to shut down. With the parameter `live`, it is 200 as long as the process lives.
 *
 * @throws {Refusal} 503 with the engine's reason, or `shutting_down`, as its code.
 */
export function healthz({ engine, admission }: Parts, { request }: Call): Response {
  if (isLiveness(request)) return json({ status: "ok" });
  if (admission.leaving) {
    throw new Refusal(503, "shutting_down", "The server is about to shut down");
  }
  const unready = engine.ready();
  if (unready === undefined) return json({ status: "ok" });
  const { reason, since } = unready;
  // Even if an engine does not know since when it is not ready, the client must get the reason.
  const date = new Date(since);
  const state = isNaN(date.getTime())
    ? "is not ready"
    : `has not been ready since ${date.toISOString()}`;
  throw new Refusal(503, reason, `The engine ${state}: ${reason}`, {
    "retry-after": RETRY_AFTER,
  });
}

/** Whether a request asks only whether the process lives. It is answered even during shutdown. */
export function isLiveness({ url }: Request): boolean {
  const { path, search } = parseUrl(url);
  return path === "/healthz" && /(?:^|&)live(?:[=&]|$)/.test(search);
}

/** Shows the metrics in the text format of Prometheus. */
export function showMetrics(parts: Parts, call: Call): Response | Promise<Response> {
  return operate(parts, call, () => {
    const usage = parts.engine.usage();
    return usage instanceof Promise
      ? usage.then((usage) => metricsText(parts, usage))
      : metricsText(parts, usage);
  });
}

function metricsText(parts: Parts, usage: Usage): Response {
  const { metrics } = parts;
  const readings = [...engineReadings(usage), ...hubReadings(parts), ...processReadings(parts)];
  const text = metrics.text(readings) + storageText(usage) + limitsText(parts);
  return new Response(text, {
    headers: { ...PRIVATE, "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}

/** What the engine did and holds. What it does not know is left out. */
function engineReadings(usage: Usage): Reading[] {
  const { published, publishedBytes, channels, onlyWatched, messages, bytes, held } = usage;
  const { rows, bytes: fileBytes, unwritten, failures, lastCommit } = usage.storage ?? {};
  const readings: [...Parameters<typeof known>][] = [
    ["river_messages_published_total", "counter", "Messages numbered and stored.", published],
    [
      "river_published_bytes_total",
      "counter",
      "Bytes of data in the messages numbered and stored.",
      publishedBytes,
    ],
    ["river_channels", "gauge", "Channels that the engine knows.", channels],
    [
      "river_channels_only_watched",
      "gauge",
      "Channels that keep no messages, are only watched, and do not count against --max-channels.",
      onlyWatched,
    ],
    ["river_history_messages", "gauge", "Messages kept in history.", messages],
    ["river_history_bytes", "gauge", "Bytes of data kept in history.", bytes],
    [
      "river_history_memory_bytes",
      "gauge",
      "Bytes of memory that count against --max-memory.",
      held,
    ],
    ["river_storage_messages", "gauge", "Messages in the file of --data.", rows],
    ["river_storage_bytes", "gauge", "Size of the file of --data in bytes.", fileBytes],
    [
      "river_storage_unwritten_bytes",
      "gauge",
      "Bytes of messages that wait to be written to the file of --data.",
      unwritten,
    ],
    ["river_storage_failures_total", "counter", "Times that the disk of --data failed.", failures],
    [
      "river_storage_last_commit_seconds",
      "gauge",
      "When something was last written to the file of --data, in seconds since 1970.",
      lastCommit === undefined ? undefined : lastCommit / 1000,
    ],
  ];
  return readings.flatMap((reading) => known(...reading));
}

/** How long the engine's transactions took, if it has any. */
function storageText({ storage }: Usage): string {
  if (storage === undefined) return "";
  return histogramText(
    "river_storage_commit_seconds",
    "Seconds that a transaction of --data took. Publishers wait for it.",
    [["", storage.commitSeconds]],
  );
}

/** A reading, if there is a value. */
function known(
  name: string,
  type: Reading[1],
  help: string,
  value: number | undefined,
): Reading[] {
  return value === undefined ? [] : [[name, type, help, value]];
}

/** What connections and subscribers take. */
function hubReadings({ hub, admission, inboxes }: Parts): Reading[] {
  const { connections, lost } = admission;
  return [
    ["river_connections", "gauge", "Connections that a subscriber holds or held.", connections],
    [
      "river_connections_stuck",
      "gauge",
      "Connections whose subscriber has ended but whose client has not closed.",
      Math.max(0, connections - lost - hub.size),
    ],
    [
      "river_connections_lost",
      "gauge",
      "Connections leaked by the runtime. Only a restart frees them.",
      lost,
    ],
    [
      "river_inbox_bytes",
      "gauge",
      "Bytes of WebSocket frames that wait to be carried out, plus 1 KiB per frame.",
      inboxes.bytes,
    ],
    ["river_unsent_bytes", "gauge", "Bytes that wait to be sent to subscribers.", hub.unsent],
  ];
}

/** The resources that the process uses. Prometheus' own clients use the names `process_..` too. */
function processReadings({ takeLag }: Parts): Reading[] {
  const { rss, heapUsed } = Deno.memoryUsage();
  const { user, system } = process.cpuUsage();
  const started = performance.timeOrigin / 1000;
  return [
    ["process_resident_memory_bytes", "gauge", "Resident memory of the process in bytes.", rss],
    ["process_heap_bytes", "gauge", "Bytes in use on the runtime's heap.", heapUsed],
    [
      "process_cpu_seconds_total",
      "counter",
      "Processor time that the process has used, in seconds.",
      (user + system) / 1e6,
    ],
    [
      "process_start_time_seconds",
      "gauge",
      "When the process started, in seconds since 1970.",
      started,
    ],
    [
      "river_event_loop_lag_seconds",
      "gauge",
      "The longest time that the event loop was blocked since the last reading, in seconds.",
      takeLag() / 1000,
    ],
  ];
}

/** The version, and the limits in force. Operators can compare usage with the limits. */
function limitsText({ version, limits, admission }: Parts): string {
  const shown = { ...limits, maxConnectionsPerClient: admission.maxPerClient };
  const rows = Object.entries(shown)
    .filter((row): row is [string, number] => typeof row[1] === "number" && row[1] < Infinity)
    .map(([key, value]) => {
      const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      return `river_limit{option="${name}"} ${value}\n`;
    });
  return "# HELP river_limit The limits in force: bytes, milliseconds or numbers of things.\n" +
    `# TYPE river_limit gauge\n${rows.join("")}` +
    "# HELP river_build_info The version of river and of its runtime.\n" +
    "# TYPE river_build_info gauge\n" +
    `river_build_info{version="${version}",deno="${Deno.version.deno}"} 1\n`;
}

/** Calls `answer` if the client is an operator, and refuses everybody else. */
function operate(
  parts: Parts,
  { request, connection, search }: Call,
  answer: (params: Params) => Response | Promise<Response>,
): Response | Promise<Response> {
  const params = new Params().addForm(search);
  return granted(parts, request, params, (grant) => {
    parts.access.checkOperator(grant, request, connection.remoteAddr.hostname);
    return answer(params.check());
  });
}

function nameIn(params: Params): string {
  const name = params.get("name");
  if (name === undefined) throw params.missing("name");
  return checkedName(name);
}

function checkedName(name: string): string {
  checkName("name", name);
  return name;
}

function channelOf(path: string): string {
  const text = path.slice(CHANNELS.length + 1);
  let name: string;
  try {
    name = decodeURIComponent(text);
  } catch {
    throw new Refusal(400, "bad_encoding", `Cannot decode the channel name ${quote(text)}`);
  }
  return checkedName(name);
}

function unknownChannel(name: string): Refusal {
  return new Refusal(404, "unknown_channel", `There is no channel ${quote(name)}`);
}
