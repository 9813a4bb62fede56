import { assertEquals, assertMatch } from "@std/assert";
import { noMetrics } from "../../lib/core/metrics.ts";
import { PrometheusMetrics, type Reading } from "../../lib/http/prometheus.ts";

/** The samples, without help and type. */
function samples(metrics: PrometheusMetrics): string[] {
  return metrics.text([]).split("\n").filter((row) => row !== "" && !row.startsWith("#"));
}

const NOTHING = `\
# HELP river_messages_delivered_total Messages handed to subscribers.
# TYPE river_messages_delivered_total counter
river_messages_delivered_total 0
# HELP river_gaps_total Gaps reported to subscribers.
# TYPE river_gaps_total counter
# HELP river_connections_total Subscribers that connected.
# TYPE river_connections_total counter
# HELP river_disconnections_total Subscribers that left or were closed.
# TYPE river_disconnections_total counter
# HELP river_refusals_total Requests and WebSocket lines that were refused.
# TYPE river_refusals_total counter
# HELP river_accept_failures_total Times that accepting failed because no file descriptor was free.
# TYPE river_accept_failures_total counter
river_accept_failures_total 0
# HELP river_subscribers Subscribers connected.
# TYPE river_subscribers gauge
`;

Deno.test("PrometheusMetrics.text() names every family before anything happened", () => {
  assertEquals(new PrometheusMetrics().text([]), NOTHING);
});

Deno.test("PrometheusMetrics.text() ends with the readings it is given", () => {
  const readings: Reading[] = [
    ["river_channels", "gauge", "Channels known.", 3],
    ["process_cpu_seconds_total", "counter", "Time used.", 1e9],
  ];
  assertEquals(
    new PrometheusMetrics().text(readings),
    NOTHING + `\
# HELP river_channels Channels known.
# TYPE river_channels gauge
river_channels 3
# HELP process_cpu_seconds_total Time used.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1000000000
`,
  );
});

Deno.test("PrometheusMetrics counts every event under its label", () => {
  const metrics = new PrometheusMetrics();
  metrics.delivered(5);
  metrics.delivered(0);
  metrics.delivered(2);
  for (const reason of ["evicted", "slow", "evicted"] as const) metrics.gap(reason);
  for (const transport of ["sse", "sse", "river.v1"]) metrics.connected(transport);
  metrics.disconnected("sse", "gone");
  for (const status of [400, 503, 400]) metrics.refused(status, "bad");
  metrics.acceptFailed();
  assertEquals(samples(metrics), [
    "river_messages_delivered_total 7",
    'river_gaps_total{reason="evicted"} 2',
    'river_gaps_total{reason="slow"} 1',
    'river_connections_total{transport="sse"} 2',
    'river_connections_total{transport="river.v1"} 1',
    'river_disconnections_total{reason="gone"} 1',
    'river_refusals_total{status="400",code="bad"} 2',
    'river_refusals_total{status="503",code="bad"} 1',
    "river_accept_failures_total 1",
    'river_subscribers{transport="sse"} 1',
    'river_subscribers{transport="river.v1"} 1',
  ]);
});

Deno.test("PrometheusMetrics shows no subscribers once all are gone, but that they came", () => {
  const metrics = new PrometheusMetrics();
  for (const reason of ["gone", "slow"]) {
    metrics.connected("stream");
    metrics.disconnected("stream", reason);
  }
  assertEquals(samples(metrics).slice(1), [
    'river_connections_total{transport="stream"} 2',
    'river_disconnections_total{reason="gone"} 1',
    'river_disconnections_total{reason="slow"} 1',
    "river_accept_failures_total 0",
    'river_subscribers{transport="stream"} 0',
  ]);
});

Deno.test("PrometheusMetrics.text() holds to the grammar of the text format", () => {
  const metrics = new PrometheusMetrics();
  metrics.connected("long-poll");
  const comment = "# (?:HELP [a-z_]+ [^\\n]+|TYPE [a-z_]+ (?:counter|gauge))";
  const sample = '[a-z_]+(?:\\{[a-z]+="[a-z0-9.-]+"\\})? [0-9]+';
  assertMatch(metrics.text([]), new RegExp(`^(?:(?:${comment}|${sample})\\n)+$`));
});

Deno.test("PrometheusMetrics of two servers do not share counts", () => {
  const [one, other] = [new PrometheusMetrics(), new PrometheusMetrics()];
  one.gap("ahead");
  assertEquals(other.text([]), NOTHING);
});

Deno.test("noMetrics takes every event that PrometheusMetrics takes", () => {
  const taken = Object.keys(noMetrics).sort();
  const counted = Object.getOwnPropertyNames(PrometheusMetrics.prototype);
  assertEquals(taken, counted.filter((name) => !["constructor", "text"].includes(name)).sort());
});
