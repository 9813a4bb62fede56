/**
 * The goals of all workloads.
 *
 * @module
 */
import { DURABLE } from "./durable.ts";
import { goalText, isMet, type Ratio } from "./lib/chart.ts";
import { NAMES } from "./lib/servers.ts";
import { median } from "./lib/stats.ts";
import type { CaseResult } from "./lib/workload.ts";

/** A goal for the ratio of two contestants in a case, or of one to a number. */
interface Goal {
  readonly name: string;
  readonly workload: string;
  readonly case: string;
  readonly metric: string;
  readonly of: string;
  readonly to: string | number;
  readonly goal: Ratio["goal"];
}

const { river, bare, nchan, ws } = NAMES;
const LINES = `${river}, river.v1`;
const PLAIN = `${river}, plain`;
const BARE_LINES = `${bare}, many lines per frame`;
const BARE_PLAIN = `${bare}, plain`;

function goals(
  workload: string,
  metric: string,
  all: [name: string, of: string, to: string | number, goal: Ratio["goal"]][],
): (caseName: string) => Goal[] {
  return (caseName) =>
    all.map(([name, of, to, goal]) => ({ name, workload, case: caseName, metric, of, to, goal }));
}

const GOALS: Goal[] = [
  ...["HTTP stream", "SSE"].flatMap((name) =>
    goals("streaming", "deliveries", [
      [`${name} vs nchan`, river, nchan, { atLeast: 3 }],
      [`${name} vs bare Deno`, river, bare, { atLeast: 0.85 }],
    ])(name)
  ),
  ...goals("streaming", "deliveries", [
    ["WebSocket river.v1 vs nchan", LINES, nchan, { atLeast: 3 }],
    ["WebSocket river.v1 vs bare Deno", LINES, BARE_LINES, { atLeast: 0.85 }],
    ["WebSocket plain vs nchan", PLAIN, nchan, { atLeast: 1 }],
    ["WebSocket plain vs ws on Node", PLAIN, ws, { atLeast: 1 }],
    ["WebSocket plain vs bare Deno", PLAIN, BARE_PLAIN, { atLeast: 0.85 }],
  ])("WebSocket"),
  ...goals("websocket", "deliveries", [
    ["Publish and read back, river.v1 vs ws on Node", LINES, ws, { atLeast: 3 }],
    ["Publish and read back, river.v1 vs bare Deno", LINES, BARE_LINES, { atLeast: 0.85 }],
    ["Publish and read back, plain vs bare Deno", PLAIN, BARE_PLAIN, { atLeast: 0.85 }],
  ])("read back"),
  ...["HTTP stream", "SSE"].flatMap((name) =>
    goals("catchup", "replayed", [
      [`Replay, ${name} vs nchan`, river, nchan, { atLeast: 1 }],
    ])(name)
  ),
  ...["HTTP stream", "SSE", "WebSocket"].flatMap((name) =>
    goals("latency", "p99", [
      [`Latency p99, ${name} vs nchan (less is better)`, river, nchan, { atMost: 1 }],
    ])(name)
  ),
  ...["GET", "POST"].flatMap((name) =>
    goals("publish", "requests", [
      [`Publish, ${name} vs bare Deno`, river, bare, { atLeast: 0.7 }],
    ])(name)
  ),
  ...["HTTP stream", "SSE", "WebSocket, plain", "WebSocket, river.v1"].flatMap((name) =>
    goals("idle", "memory", [
      [`Idle memory, ${name} vs bare Deno (less is better)`, river, bare, { atMost: 1.15 }],
    ])(name)
  ),
  ...goals("channels", "request", [
    [
      "Publish request, 1,000,000 channels vs 1 (less is better)",
      "1,000,000 channels",
      "1 channel",
      { atMost: 1.3 },
    ],
  ])("random"),
  ...goals("durable", "requests", [
    ["Publish with --data, 200 connections, vs memory", DURABLE.normal, DURABLE.memory, {
      atLeast: 0.5,
    }],
  ])("HTTP, 200 connections"),
  ...goals("durable", "messages", [
    ["NDJSON with --data vs 80,000 messages/s", DURABLE.normal, 80_000, { atLeast: 1 }],
  ])("NDJSON"),
  ...goals("durable", "seconds", [
    ["Restore of 1,000,000 messages vs 3 s (less is better)", DURABLE.stopped, 3, { atMost: 1 }],
  ])("restore"),
];

/** One ratio per round, of two runs in that round or of one to a number. */
function ratioOf(goal: Goal, results: readonly CaseResult[]): Ratio | undefined {
  const found = results.find(({ workload, name }) =>
    workload === goal.workload && name === goal.case
  );
  const valuesOf = (contestant: string) =>
    found?.samples.get(contestant)?.map(({ values }) => values[goal.metric]);
  const of = valuesOf(goal.of);
  const to = typeof goal.to === "number" ? of?.map(() => Number(goal.to)) : valuesOf(goal.to);
  if (of === undefined || to === undefined) return undefined;
  const ratios = of.map((value, i) => value / to[i]);
  return {
    name: goal.name,
    median: median(ratios),
    min: Math.min(...ratios),
    max: Math.max(...ratios),
    goal: goal.goal,
  };
}

/** The ratios of all goals whose contestants took part. */
export function ratiosOf(results: readonly CaseResult[]): Ratio[] {
  return GOALS.map((goal) => ratioOf(goal, results)).filter((ratio) => ratio !== undefined);
}

/** Ratios and goals as text. */
export function table(ratios: readonly Ratio[]): string {
  const rows = ratios.map((ratio) => [
    ratio.name,
    ratio.median.toFixed(2),
    `${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}`,
    goalText(ratio),
    isMet(ratio) ? "met" : "missed",
  ]);
  const all = [["ratio", "median", "rounds", "goal", ""], ...rows];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  return all.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd()
  )
    .join("\n");
}
