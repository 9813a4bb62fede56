/**
 * `deno task bench:compare [--rounds 5] [--seconds 1] [--readers N] [--most CHANNELS]`: runs all
 * workloads. River, its peers and the controls take turns. Writes results.json and results.svg.
 *
 * @module
 */
import { drawChart, goalText, isMet, type Ratio } from "./lib/chart.ts";
import { canPin, run } from "./lib/process.ts";
import { NAMES, versions } from "./lib/servers.ts";
import { median } from "./lib/stats.ts";
import {
  type CaseResult,
  format,
  type Options,
  readOptions,
  runCases,
  supervised,
  withPeers,
} from "./lib/workload.ts";
import { workloads } from "./workloads.ts";

/** A goal for the ratio of two contestants in a case. */
interface Goal {
  readonly name: string;
  readonly workload: string;
  readonly case: string;
  readonly metric: string;
  readonly of: string;
  readonly to: string;
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
  all: [name: string, of: string, to: string, goal: Ratio["goal"]][],
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
];

/** With these, everything takes less than ten minutes. 0 means the default of each workload. */
const DEFAULTS = { rounds: 5, seconds: 1, readers: 0, most: 0 };

/** One ratio per round, of two runs in that round. */
function ratioOf(goal: Goal, results: readonly CaseResult[]): Ratio | undefined {
  const found = results.find(({ workload, name }) =>
    workload === goal.workload && name === goal.case
  );
  const [of, to] = [found?.samples.get(goal.of), found?.samples.get(goal.to)];
  if (of === undefined || to === undefined) return undefined;
  const ratios = of.map(({ values }, i) => values[goal.metric] / to[i].values[goal.metric]);
  return {
    name: goal.name,
    median: median(ratios),
    min: Math.min(...ratios),
    max: Math.max(...ratios),
    goal: goal.goal,
  };
}

function machine(): Record<string, string | number> {
  const read = (path: string, pattern: RegExp) => {
    try {
      return pattern.exec(Deno.readTextFileSync(path))?.[1] ?? "unknown";
    } catch {
      return "unknown";
    }
  };
  return {
    processor: read("/proc/cpuinfo", /^model name\s*: (.*)$/m),
    processors: navigator.hardwareConcurrency,
    memory: `${Math.round(Deno.systemMemoryInfo().total / 2 ** 30)} GiB`,
    kernel: Deno.osRelease(),
    system: read("/etc/os-release", /^PRETTY_NAME="(.*)"$/m),
    pinned: canPin() ? "servers to processor 0, load to processor 1" : "no",
  };
}

function table(ratios: readonly Ratio[]): string {
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

function summary({ workload, name, units, samples }: CaseResult) {
  const contestants = [...samples].map(([contestant, all]) => {
    const metrics = Object.entries(units).map(([metric, unit]) => {
      const values = all.map(({ values }) => values[metric]);
      return [metric, { unit, median: median(values), values }];
    });
    const busy = (side: "load" | "server") => median(all.map((sample) => sample[side]));
    return [contestant, {
      ...Object.fromEntries(metrics),
      busy: { server: busy("server"), load: busy("load") },
    }];
  });
  return { workload, case: name, contestants: Object.fromEntries(contestants) };
}

/** The throughputs that something other than the server may have limited. */
function doubts(results: readonly CaseResult[]): string[] {
  return results.filter(({ units }) => Object.values(units).some((unit) => unit.endsWith("/s")))
    .flatMap(({ workload, name, samples }) =>
      [...samples].flatMap(([contestant, all]) => {
        const [server, load] = [median(all.map((s) => s.server)), median(all.map((s) => s.load))];
        const what = `${workload} ${name}, ${contestant}`;
        if (load > 0.9 && load > server) return [`${what}: the load was busier than the server`];
        if (server < 0.85 && load < 0.85) return [`${what}: neither server nor load was busy`];
        return [];
      })
    );
}

async function compare({ rounds, ...given }: Options): Promise<void> {
  const started = Date.now();
  const overrides = Object.entries(given).filter(([, value]) => value > 0);
  const results: CaseResult[] = [];
  const settings: Record<string, Options> = {};
  for (const { name, options, cases } of workloads) {
    const known = overrides.filter(([option]) => option in options);
    const own = { ...options, ...Object.fromEntries(known) };
    settings[name] = own;
    results.push(...await runCases(name, withPeers(cases(own)), rounds));
  }
  const ratios = GOALS.map((goal) => ratioOf(goal, results)).filter((ratio) => ratio !== undefined);
  const [about, taking] = [machine(), versions()];
  const seconds = Math.round((Date.now() - started) / 1000);
  const report = {
    date: new Date(started).toISOString(),
    seconds,
    rounds,
    machine: about,
    versions: taking,
    settings,
    ratios: ratios.map((ratio) => ({ ...ratio, met: isMet(ratio) })),
    results: results.map(summary),
  };
  const words = (object: Record<string, string | number>) =>
    Object.entries(object).map(([key, value]) => `${key} ${value}`).join(", ");
  const svg = drawChart("river compared with its peers and the bare runtime", ratios, [
    `${rounds} rounds, ${
      report.date.slice(0, 10)
    }; ${about.processor}, ${about.processors} processors, ${about.memory}, ${about.system}`,
    words(taking),
  ]);
  const at = (file: string) => new URL(file, import.meta.url);
  await Deno.writeTextFile(at("results.json"), JSON.stringify(report, undefined, 2) + "\n");
  await Deno.writeTextFile(at("results.svg"), svg);
  run(Deno.execPath(), ["fmt", "--quiet", at("results.json").pathname, at("results.svg").pathname]);
  console.log(`\n${table(ratios)}\n\n${words(about)}\n${words(taking)}`);
  for (const doubt of doubts(results)) console.log(`in doubt: ${doubt}`);
  console.log(`\n${format(seconds)} s; wrote bench/results.json and bench/results.svg`);
}

if (import.meta.main) {
  await supervised(() => compare(readOptions(DEFAULTS, Deno.args)));
}
