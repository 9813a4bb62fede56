/**
 * The alert rules and the dashboard, as Prometheus itself reads them.
 *
 * @module
 */
import { assertEquals } from "@std/assert";

const PACKAGING = new URL("../../packaging/", import.meta.url);
const ALERTS = new URL("alerts.yml", PACKAGING).pathname;

/** Runs promtool on a file with this text. Fails with what it says. */
async function promtool(args: string[], text: string): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".yml" });
  try {
    await Deno.writeTextFile(path, text);
    const { code, stdout, stderr } = await new Deno.Command("promtool", { args: [...args, path] })
      .output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assertEquals(code, 0, decode(stdout) + decode(stderr));
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("Prometheus takes the alert rules", async () => {
  await promtool(["check", "rules"], await Deno.readTextFile(ALERTS));
});

Deno.test("Prometheus takes every query of the dashboard", async () => {
  const { panels } = JSON.parse(await Deno.readTextFile(new URL("grafana.json", PACKAGING)));
  const queries = (panels as { targets?: { expr: string }[] }[])
    .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr.replaceAll("$instance", ".*")));
  const rules = queries.map((expr, i) =>
    `      - { record: "q:${i}", expr: ${JSON.stringify(expr)} }`
  );
  await promtool(["check", "rules"], `groups:\n  - name: q\n    rules:\n${rules.join("\n")}\n`);
});

/** Series of a river, and what is said of it after 30 minutes. */
const CASES: [alert: string, fires: boolean, ...series: [name: string, values: string][]][] = [
  ["RiverDown", true, ["up", "0x30"]],
  ["RiverDown", false, ["up", "1x30"]],
  ...([[125, true], [100, false]] as const).map(([mib, fires]): typeof CASES[number] => [
    "RiverHistoryFull",
    fires,
    ["river_history_memory_bytes", `${mib * 2 ** 20}x30`],
    ['river_limit{option="max-memory"}', `${128 * 2 ** 20}x30`],
  ]),
  ...([[950, true], [500, false]] as const).map(([count, fires]): typeof CASES[number] => [
    "RiverConnectionsFull",
    fires,
    ["river_connections", `${count}x30`],
    ['river_limit{option="max-connections"}', "1000x30"],
  ]),
  ["RiverStorageFails", true, ["river_storage_failures_total", "0x25 1x5"]],
  ["RiverStorageFails", false, ["river_storage_failures_total", "1x30"]],
  ["RiverErrors", true, [
    'river_refusals_total{status="500",code="internal_error"}',
    "0x25 1x5",
  ]],
  ["RiverErrors", false, ['river_refusals_total{status="500",code="internal_error"}', "0x30"]],
];

/** A series with the labels that Prometheus adds. */
function labelled(name: string): string {
  const labels = 'job="river",instance="a"';
  return name.includes("{") ? name.replace("{", `{${labels},`) : `${name}{${labels}}`;
}

for (const [alert, fires, ...series] of CASES) {
  const shown = series.map(([name, values]) => `${name} ${values}`).join(", ");
  Deno.test(`${alert} ${fires ? "fires" : "does not fire"} at ${shown}`, async () => {
    const query = `count(ALERTS{alertname="${alert}",alertstate="firing"})`;
    await promtool(
      ["test", "rules"],
      JSON.stringify({
        rule_files: [ALERTS],
        tests: [{
          interval: "1m",
          input_series: series.map(([name, values]) => ({ series: labelled(name), values })),
          promql_expr_test: [{
            expr: query,
            eval_time: "30m",
            exp_samples: fires ? [{ labels: "{}", value: 1 }] : [],
          }],
        }],
      }),
    );
  });
}
