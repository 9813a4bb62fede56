/**
 * Counts events and formats the metrics for Prometheus.
 *
 * @module
 */
import { Histogram } from "../base/histogram.ts";
import { GAP_REASONS, type GapReason } from "../core/gap.ts";
import type { Metrics } from "../core/metrics.ts";
import { CLOSE_REASONS } from "../core/sink.ts";

/** A metric whose value is read at the moment when the metrics are requested. */
export type Reading = readonly [
  name: string,
  type: "counter" | "gauge",
  help: string,
  value: number,
];

/** The answers of one route. */
class Answers {
  readonly statuses = new Map<number, number>();
  readonly seconds = new Histogram();

  add(status: number, seconds: number): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    this.seconds.add(seconds);
  }
}

/** All transports. */
const TRANSPORTS = ["stream", "sse", "jsonp", "long-poll", "websocket", "river.v1"];

/** Counts events. Each label has few possible values, so it is never the name of a channel. */
export class PrometheusMetrics implements Metrics {
  #delivered = 0;
  #deliveredBytes = 0;
  #acceptFailures = 0;
  // The values of labels are shown from the start, so that a rate includes the first event.
  readonly #gaps = zeros("reason", GAP_REASONS);
  readonly #connected = zeros("transport", TRANSPORTS);
  readonly #subscribers = zeros("transport", TRANSPORTS);
  readonly #disconnected = zeros("reason", CLOSE_REASONS);
  readonly #answers = new Map<string, Answers>();
  /** A fault of the server must be seen from its first time, too: no rate sees a series begin. */
  readonly #refused = new Map([['status="500",code="internal_error"', 0]]);

  delivered(messages: number, bytes: number): void {
    this.#delivered += messages;
    this.#deliveredBytes += bytes;
  }

  /**
   * Counts a request that was answered, or whose stream began.
   *
   * @param route One of a few names.
   * @param ms How long that took, in milliseconds.
   */
  answered(route: string, status: number, ms: number): void {
    let answers = this.#answers.get(route);
    if (answers === undefined) this.#answers.set(route, answers = new Answers());
    answers.add(status, ms / 1000);
  }

  gap(reason: GapReason): void {
    add(this.#gaps, `reason="${reason}"`, 1);
  }

  connected(transport: string): void {
    add(this.#connected, `transport="${transport}"`, 1);
    add(this.#subscribers, `transport="${transport}"`, 1);
  }

  disconnected(transport: string, reason: string): void {
    add(this.#disconnected, `reason="${reason}"`, 1);
    add(this.#subscribers, `transport="${transport}"`, -1);
  }

  refused(status: number, code: string): void {
    add(this.#refused, `status="${status}",code="${code}"`, 1);
  }

  acceptFailed(): void {
    this.#acceptFailures++;
  }

  /** All metrics in the text format of Prometheus, version 0.0.4. */
  text(readings: readonly Reading[]): string {
    const counter = (name: string, help: string, values: number | Map<string, number>) =>
      family(`river_${name}`, "counter", help, values);
    return [
      counter("messages_delivered_total", "Messages handed to subscribers.", this.#delivered),
      counter(
        "delivered_bytes_total",
        "Bytes handed to subscribers, including what their formats add.",
        this.#deliveredBytes,
      ),
      counter("gaps_total", "Gaps reported to subscribers.", this.#gaps),
      counter("connections_total", "Subscribers that connected.", this.#connected),
      counter("disconnections_total", "Subscribers that left or were closed.", this.#disconnected),
      counter("refusals_total", "Requests and WebSocket lines that were refused.", this.#refused),
      counter(
        "accept_failures_total",
        "Times that river could not accept connections because no file descriptor was free.",
        this.#acceptFailures,
      ),
      counter("requests_total", "Requests answered.", this.#requests()),
      this.#durations(),
      family("river_subscribers", "gauge", "Subscribers that are connected.", this.#subscribers),
      ...readings.map((reading) => family(...reading)),
    ].join("");
  }

  #requests(): Map<string, number> {
    const requests = new Map<string, number>();
    for (const [route, { statuses }] of this.#answers) {
      for (const [status, n] of statuses) requests.set(`route="${route}",status="${status}"`, n);
    }
    return requests;
  }

  /** The durations of requests, as one histogram per route. */
  #durations(): string {
    const histograms = Array.from(
      this.#answers,
      ([route, { seconds }]) => [`route="${route}"`, seconds] as const,
    );
    return histogramText(
      "river_request_seconds",
      "Seconds until a request was answered, or its stream began.",
      histograms,
    );
  }
}

/**
 * A histogram in the text format of Prometheus.
 *
 * @param histograms Each with its labels: `route="publish"`, or none: ``.
 */
export function histogramText(
  name: string,
  help: string,
  histograms: readonly (readonly [labels: string, histogram: Histogram])[],
): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;
  for (const [labels, histogram] of histograms) {
    const buckets = histogram.cumulative();
    const before = labels === "" ? "" : `${labels},`;
    for (const [bound, count] of buckets) {
      text += `${name}_bucket{${before}le="${bound === Infinity ? "+Inf" : bound}"} ${count}\n`;
    }
    const own = labels === "" ? "" : `{${labels}}`;
    text += `${name}_sum${own} ${histogram.sum}\n${name}_count${own} ${buckets.at(-1)![1]}\n`;
  }
  return text;
}

function zeros(label: string, values: readonly string[]): Map<string, number> {
  return new Map(values.map((value) => [`${label}="${value}"`, 0]));
}

function add(map: Map<string, number>, key: string, n: number): void {
  map.set(key, (map.get(key) ?? 0) + n);
}

function family(
  name: string,
  type: "counter" | "gauge",
  help: string,
  values: number | Map<string, number>,
): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  if (typeof values === "number") return `${text}${name} ${values}\n`;
  for (const [labels, value] of values) text += `${name}{${labels}} ${value}\n`;
  return text;
}
