/**
 * The metrics, in the text format of Prometheus.
 *
 * @module
 */
import type { GapReason } from "../core/message.ts";
import type { Metrics } from "../core/metrics.ts";

/** A value that is read when the metrics are requested: name, type, help text, value. */
export type Reading = readonly [
  name: string,
  type: "counter" | "gauge",
  help: string,
  value: number,
];

/** Counts events and prints them. A label has few values, and never the name of a channel. */
export class PrometheusMetrics implements Metrics {
  #delivered = 0;
  #acceptFailures = 0;
  readonly #gaps = new Map<string, number>();
  readonly #connected = new Map<string, number>();
  readonly #subscribers = new Map<string, number>();
  readonly #disconnected = new Map<string, number>();
  readonly #refused = new Map<string, number>();

  delivered(messages: number): void {
    this.#delivered += messages;
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

  /** Everything in the Prometheus text format, version 0.0.4. */
  text(readings: readonly Reading[]): string {
    const counter = (name: string, help: string, values: number | Map<string, number>) =>
      family(`river_${name}`, "counter", help, values);
    return [
      counter("messages_delivered_total", "Messages handed to subscribers.", this.#delivered),
      counter("gaps_total", "Gaps reported to subscribers.", this.#gaps),
      counter("connections_total", "Subscribers that connected.", this.#connected),
      counter("disconnections_total", "Subscribers that left or were closed.", this.#disconnected),
      counter("refusals_total", "Requests and WebSocket lines that were refused.", this.#refused),
      counter(
        "accept_failures_total",
        "Times that accepting failed because no file descriptor was free.",
        this.#acceptFailures,
      ),
      family("river_subscribers", "gauge", "Subscribers connected.", this.#subscribers),
      ...readings.map((reading) => family(...reading)),
    ].join("");
  }
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
