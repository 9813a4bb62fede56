/**
 * The common part of all workloads: cases in which servers compete, and rounds in which they take
 * turns.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { cleanUp, cleanUpOnSignals, cpuSeconds, pinLoad } from "./process.ts";
import { provide, type Server, type ServerSpec, start } from "./servers.ts";
import { median } from "./stats.ts";

/** The figures of one run, by metric, and how busy both sides were (1 is a whole processor). */
export interface Sample {
  /** The figures by metric. */
  readonly values: Record<string, number>;
  /** Share of a processor that the load used. */
  readonly load: number;
  /** Share of a processor that the server used. */
  readonly server: number;
}

/** A server in a case. */
export interface Contestant {
  /** Its name, which no other contestant of the case has. */
  readonly name: string;
  /** The server to start. */
  readonly spec: ServerSpec;
  /** Whether to start a new server for every run. */
  readonly fresh?: boolean;
  /** Called once, before the first run. */
  prepare?(server: Server): Promise<void>;
  /** Applies the load. Everything that it opens is closed when it resolves. */
  run(server: Server): Promise<Sample>;
}

/** Servers under the same load. */
export interface Case {
  /** A name of a few words. */
  readonly name: string;
  /** Units by metric. */
  readonly units: Record<string, string>;
  /** The servers. The others are compared to the first. */
  readonly contestants: readonly Contestant[];
}

/** The options of a workload, by name. All are numbers. */
export type Options = Record<string, number>;

/** A benchmark that can run alone. */
export interface Workload {
  /** The first argument of `deno task bench`. */
  readonly name: string;
  /** A description of one line. */
  readonly about: string;
  /** The options and their defaults. */
  readonly options: Options;
  /** The cases. */
  cases(options: Options): Case[];
}

/** All samples of a case by contestant, one per round. */
export interface CaseResult {
  /** The workload. */
  readonly workload: string;
  /** The case. */
  readonly name: string;
  /** Units by metric. */
  readonly units: Record<string, string>;
  /** The samples by contestant. */
  readonly samples: Map<string, Sample[]>;
}

/** Reads `--option number` for each option. Ends the program if one is wrong. */
export function readOptions(defaults: Options, args: string[]): Options {
  const known = Object.keys(defaults);
  const given = parseArgs(args, {
    string: known,
    unknown: (name) => wrongUsage(`Unknown option ${name}: expected --${known.join(", --")}`),
  });
  const options = { ...defaults };
  for (const name of known) {
    if (given[name] === undefined) continue;
    options[name] = Number(given[name]);
    if (!(options[name] > 0)) wrongUsage(`--${name} must be a number above 0`);
  }
  return options;
}

function wrongUsage(message: string): never {
  console.error(message);
  Deno.exit(2);
}

/** Runs an action that starts processes. Leaves no process behind, however it ends. */
export async function supervised(action: () => Promise<void>): Promise<void> {
  cleanUpOnSignals();
  pinLoad();
  try {
    await action();
  } finally {
    cleanUp();
  }
}

/**
 * Installs the servers of the cases. Reports those that cannot be installed, and leaves them out.
 */
export function withPeers(cases: Case[]): Case[] {
  const missing = new Map<string, string | undefined>();
  return cases.map((one) => ({
    ...one,
    contestants: one.contestants.filter(({ name, spec }) => {
      const key = `${spec.kind} ${spec.slowDisk}`;
      if (!missing.has(key)) {
        const what = provide(spec);
        missing.set(key, what);
        if (what !== undefined) console.log(`left out: ${name} (missing: ${what})`);
      }
      return missing.get(key) === undefined;
    }),
  }));
}

/** Runs the cases of a workload round by round. The contestants take turns. */
export async function runCases(
  workload: string,
  cases: readonly Case[],
  rounds: number,
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  const servers = new Map<string, Server>();
  const keyOf = ({ kind, flags = [], data, slowDisk, tree }: ServerSpec) =>
    [tree, kind, data, slowDisk, ...flags].join(" ");
  try {
    for (const { name, units, contestants } of cases) {
      const samples = new Map(contestants.map(({ name }) => [name, [] as Sample[]]));
      results.push({ workload, name, units, samples });
      for (const { spec, fresh, prepare } of contestants) {
        if (fresh || servers.has(keyOf(spec))) continue;
        const server = await start(spec);
        servers.set(keyOf(spec), server);
        await prepare?.(server);
      }
      for (let round = 1; round <= rounds; round++) {
        const said: string[] = [];
        // A different one goes first in every round.
        for (let turn = 0; turn < contestants.length; turn++) {
          const { name, spec, fresh, run } = contestants[(turn + round) % contestants.length];
          const server = fresh ? await start(spec) : servers.get(keyOf(spec))!;
          const sample = await run(server).catch((error) => {
            throw new Error(`${workload}, ${name}: ${error.message}`, { cause: error });
          });
          if (fresh) await server.child.stop();
          samples.get(name)!.push(sample);
          said.push(`${name} ${show(sample, units)}`);
        }
        console.log(`${workload} ${name}, round ${round}/${rounds}: ${said.join("; ")}`);
      }
    }
  } finally {
    for (const { child } of servers.values()) await child.stop();
  }
  return results;
}

/** Prints medians, and ratios of the first contestant to the others. */
export function printSummary(results: readonly CaseResult[]): void {
  for (const { workload, name, units, samples } of results) {
    console.log(`\n${workload} ${name}, medians`);
    const [first] = samples.keys();
    for (const [contestant, all] of samples) {
      const parts = Object.entries(units).map(([metric, unit]) => {
        const own = samples.get(first)!.map(({ values }) => values[metric]);
        const ratio = median(own.map((value, i) => value / all[i].values[metric]));
        const value = format(median(all.map(({ values }) => values[metric])));
        return `${value} ${unit} (${first} is ${format(ratio)}x)`;
      });
      const busy = (side: "load" | "server") =>
        `${side} ${Math.round(100 * median(all.map((sample) => sample[side])))}%`;
      console.log(`  ${contestant}: ${parts.join(", ")}; ${busy("server")}, ${busy("load")} busy`);
    }
  }
}

/** Measures how busy both sides are from now until `stop` is called. */
export function watchBusy({ child }: Server): () => Omit<Sample, "values"> {
  const { pids } = child;
  const started = performance.now();
  const before = { load: cpuSeconds([Deno.pid]), server: cpuSeconds(pids) };
  return () => {
    const seconds = (performance.now() - started) / 1000;
    return {
      load: (cpuSeconds([Deno.pid]) - before.load) / seconds,
      server: (cpuSeconds(pids) - before.server) / seconds,
    };
  };
}

/** A number as text: a whole number from 1,000 on, otherwise three significant digits. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

function show({ values, load, server }: Sample, units: Record<string, string>): string {
  const parts = Object.entries(units).map(([metric, unit]) => `${format(values[metric])} ${unit}`);
  return `${parts.join(", ")} (busy ${percent(server)}, load ${percent(load)})`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
