/**
 * `deno task bench:compare [--rounds 5] [--seconds 1] [--readers N] [--most CHANNELS]`: runs all
 * workloads. River, its peers and the controls take turns. Writes results.json and results.svg.
 *
 * @module
 */
import { ratiosOf, table } from "./goals.ts";
import { drawChart, isMet } from "./lib/chart.ts";
import { canPin, run } from "./lib/process.ts";
import { versions } from "./lib/servers.ts";
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

/** With these, everything takes less than ten minutes. 0 means the default of each workload. */
const DEFAULTS = { rounds: 5, seconds: 1, readers: 0, most: 0 };

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
  const ratios = ratiosOf(results);
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
