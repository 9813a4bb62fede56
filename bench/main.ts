/**
 * `deno task bench NAME [--option number ...]`: runs one workload.
 *
 * @module
 */
import { ratiosOf, table } from "./goals.ts";
import { printSummary, readOptions, runCases, supervised, withPeers } from "./lib/workload.ts";
import { workloads } from "./workloads.ts";

const ROUNDS = 3;

const [name, ...args] = Deno.args;
const workload = workloads.find((workload) => workload.name === name);
if (workload === undefined) {
  console.log("deno task bench NAME [--option number ...]\n");
  for (const { name, about, options } of workloads) {
    const flags = Object.entries({ ...options, rounds: ROUNDS });
    console.log(`${name}: ${about}`);
    console.log(`  ${flags.map(([flag, value]) => `--${flag} ${value}`).join(" ")}\n`);
  }
  if (name !== undefined) Deno.exit(2);
} else {
  const { rounds, ...options } = readOptions({ ...workload.options, rounds: ROUNDS }, args);
  await supervised(async () => {
    const results = await runCases(workload.name, withPeers(workload.cases(options)), rounds);
    printSummary(results);
    const ratios = ratiosOf(results);
    if (ratios.length > 0) console.log(`\n${table(ratios)}`);
  });
}
