import { assertEquals, assertMatch } from "@std/assert";
import { noMetrics } from "../../lib/core/metrics.ts";
import { PrometheusMetrics, type Reading } from "../../lib/http/prometheus.ts";

/** The samples that are not 0, without help and type. */
function samples(metrics: PrometheusMetrics): string[] {
  return metrics.text([]).split("\n")
    .filter((row) => row !== "" && !row.startsWith("#") && !row.endsWith(" 0"));
}

const NOTHING = new PrometheusMetrics().text([]);

Deno.test("PrometheusMetrics.text() names every family, and every known label, before anything happened", () => {
  const families = [...NOTHING.matchAll(/^# TYPE river_(\S+) (\S+)$/gm)];
  assertEquals(families.map(([, name, type]) => `${type} ${name}`), [
    "counter messages_delivered_total",
    "counter delivered_bytes_total",
    "counter gaps_total",
    "counter connections_total",
    "counter disconnections_total",
    "counter refusals_total",
    "counter accept_failures_total",
    "counter requests_total",
    "histogram request_seconds",
    "gauge subscribers",
  ]);
  const zeros = NOTHING.split("\n").filter((row) => row !== "" && !row.startsWith("#"));
  assertEquals(zeros.every((row) => row.endsWith(" 0")), true);
  for (
    const row of [
      'river_gaps_total{reason="restart"} 0',
      'river_connections_total{transport="river.v1"} 0',
      'river_disconnections_total{reason="slow"} 0',
      'river_subscribers{transport="sse"} 0',
    ]
  ) assertEquals(zeros.includes(row), true, row);
});

Deno.test("PrometheusMetrics.answered() counts by route and status, and how long answers took", () => {
  const metrics = new PrometheusMetrics();
  for (const ms of [0.1, 0.5, 3, 40, 20_000]) metrics.answered("publish", 200, ms);
  metrics.answered("publish", 413, 1);
  metrics.answered("pages", 304, 1);
  const rows = samples(metrics);
  assertEquals(rows.filter((row) => row.startsWith("river_requests_total")), [
    'river_requests_total{route="publish",status="200"} 5',
    'river_requests_total{route="publish",status="413"} 1',
    'river_requests_total{route="pages",status="304"} 1',
  ]);
  const publish = rows.filter((row) => /_bucket\{route="publish"/.test(row));
  const buckets = publish.map((row) => /le="([^"]+)"\} ([0-9]+)$/.exec(row)!.slice(1).join(": "));
  assertEquals(buckets, [
    "0.0005: 2",
    "0.001: 3",
    "0.0025: 3",
    "0.005: 4",
    "0.01: 4",
    "0.025: 4",
    "0.05: 5",
    "0.1: 5",
    "0.25: 5",
    "0.5: 5",
    "1: 5",
    "2.5: 5",
    "10: 5",
    "+Inf: 6",
  ]);
  assertEquals(rows.includes('river_request_seconds_count{route="publish"} 6'), true);
  const sum = rows.find((row) => row.startsWith('river_request_seconds_sum{route="publish"}'))!;
  assertEquals(Number(sum.split(" ")[1]).toFixed(4), "20.0446");
});

Deno.test("PrometheusMetrics.text() ends with the readings it is given", () => {
  const readings: Reading[] = [
    ["river_channels", "gauge", "Channels that the engine knows.", 3],
    ["process_cpu_seconds_total", "counter", "Time used.", 1e9],
  ];
  assertEquals(
    new PrometheusMetrics().text(readings),
    NOTHING + `\
# HELP river_channels Channels that the engine knows.
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
  metrics.delivered(5, 50);
  metrics.delivered(0, 0);
  metrics.delivered(2, 20);
  for (const reason of ["evicted", "slow", "evicted"] as const) metrics.gap(reason);
  for (const transport of ["sse", "sse", "river.v1"]) metrics.connected(transport);
  metrics.disconnected("sse", "gone");
  for (const status of [400, 503, 400]) metrics.refused(status, "bad");
  metrics.acceptFailed();
  assertEquals(samples(metrics), [
    "river_messages_delivered_total 7",
    "river_delivered_bytes_total 70",
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
  assertEquals(samples(metrics), [
    'river_connections_total{transport="stream"} 2',
    'river_disconnections_total{reason="gone"} 1',
    'river_disconnections_total{reason="slow"} 1',
  ]);
});

Deno.test("PrometheusMetrics.text() holds to the grammar of the text format", () => {
  const metrics = new PrometheusMetrics();
  metrics.connected("long-poll");
  metrics.answered("publish", 200, 1);
  metrics.refused(400, "bad_parameter");
  const comment = "# (?:HELP [a-z_]+ [^\\n]+|TYPE [a-z_]+ (?:counter|gauge|histogram))";
  const label = '[a-z]+="[a-zA-Z0-9_.+-]+"';
  const sample = `[a-z_]+(?:\\{${label}(?:,${label})*\\})? [0-9.]+`;
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
  assertEquals(
    taken,
    counted.filter((name) => !["constructor", "text", "answered"].includes(name)).sort(),
  );
});
