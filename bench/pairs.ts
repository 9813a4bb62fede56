/**
 * `deno task bench:pairs --old FOLDER [--new FOLDER] [--pairs 20] [WORKLOAD ...]`: compares
 * two checkouts of river by the server's processor time per message. They take turns, so that a
 * busy machine slows both alike. It fails if the whole 95 % interval of a ratio, new to old, is
 * above 1.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { median, medianInterval } from "./lib/stats.ts";
import {
  type Case,
  type CaseResult,
  format,
  runCases,
  type Sample,
  supervised,
} from "./lib/workload.ts";
import { workloads } from "./workloads.ts";

/** The workloads to measure if the command names none. */
const USUAL = ["streaming", "websocket", "publish"];

const options = parseArgs(Deno.args, { string: ["old", "new", "pairs"] });
const names = options._.length === 0 ? USUAL : options._.map(String);
const pairs = Number(options.pairs ?? 20);
const chosen = workloads.filter(({ name }) => names.includes(name));
if (options.old === undefined || !(pairs >= 6) || chosen.length !== names.length) {
  console.error(
    "Usage: deno task bench:pairs --old FOLDER [--new FOLDER] [--pairs 20] [WORKLOAD ..]",
  );
  console.error("--pairs must be at least 6: a 95 % interval needs that many.");
  Deno.exit(2);
}
const trees = { old: String(options.old), new: String(options.new ?? ".") };

await supervised(async () => {
  let worse = false;
  for (const { name, options, cases } of chosen) {
    for (const one of cases(options)) {
      const results = await runCases(name, [inBothTrees(one)], pairs);
      for (const result of results) worse = report(result) || worse;
    }
  }
  if (worse) Deno.exitCode = 1;
});

/** The contestants of a case that are river, once per checkout. */
function inBothTrees(one: Case): Case {
  const contestants = one.contestants
    .filter(({ spec }) => spec.kind === "river")
    .flatMap((contestant) =>
      Object.entries(trees).map(([age, tree]) => ({
        ...contestant,
        name: `${contestant.name}, ${age}`,
        spec: { ...contestant.spec, tree },
      }))
    );
  return { ...one, contestants };
}

/** Prints the cost of a case in both checkouts. Returns whether the new one fails. */
function report({ workload, name, units, samples }: CaseResult): boolean {
  let worse = false;
  const [rate] = Object.keys(units).filter((metric) => units[metric].endsWith("/s"));
  if (rate === undefined) return false;
  for (const [contestant, all] of samples) {
    if (!contestant.endsWith(", old")) continue;
    const before = all.map((sample) => costOf(sample, rate));
    const after = samples.get(contestant.replace(/old$/, "new"))!
      .map((sample) => costOf(sample, rate));
    const ratios = after.map((cost, i) => cost / before[i]);
    const [low, high] = medianInterval(ratios);
    worse ||= low > 1;
    console.log(
      `${low > 1 ? "WORSE" : "ok"} ${workload}, ${name}, ${contestant.replace(/, old$/, "")}: ` +
        `${format(median(before))} us per message before, ${format(median(after))} after, ` +
        `ratio ${median(ratios).toFixed(3)}, 95 % from ${low.toFixed(3)} to ${high.toFixed(3)}`,
    );
  }
  return worse;
}

/** Microseconds of the server's processor time per message. */
function costOf({ server, values }: Sample, rate: string): number {
  return 1e6 * server / values[rate];
}
