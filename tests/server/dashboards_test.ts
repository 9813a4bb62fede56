import { assert, assertEquals } from "@std/assert";
import { ask, publish } from "../support/http.ts";
import { spawnServer } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";

const PACKAGING = new URL("../../packaging/", import.meta.url);

/** The metrics of a server with every option that adds some. */
async function metrics(): Promise<string> {
  using temp = new TempFolder();
  const folder = temp.path;
  const flags = ["--max-connections", "1000", "--data", `${folder}/river.db`];
  await using server = await spawnServer(flags);
  await publish(server, "x", "a");
  await ask(`${server.url}/publish`);
  return (await ask(`${server.url}/metrics`)).text;
}

/** Names of metrics in a query, without functions, labels and Prometheus' own. */
function metricsIn(query: string): string[] {
  return [...query.replaceAll(/\{[^}]*\}/g, "").matchAll(/\b(?:river|process)_[a-z_]+\b/g)]
    .map(([name]) => name);
}

/** Label values that a query asks for: `name{label="value"}`. */
function labelsIn(query: string): [name: string, label: string, values: string][] {
  return [...query.matchAll(/\b((?:river|process)_[a-z_]+)\{([^}]*)\}/g)].flatMap((
    [, name, labels],
  ) =>
    [...labels.matchAll(/([a-z]+)=~?"([^"]*)"/g)]
      .map(([, label, values]): [string, string, string] => [name, label, values])
  );
}

async function queries(): Promise<string[]> {
  const dashboard = JSON.parse(await Deno.readTextFile(new URL("grafana.json", PACKAGING)));
  const panels = dashboard.panels as { targets: { expr: string }[] }[];
  const rules = await Deno.readTextFile(new URL("alerts.yml", PACKAGING));
  return [
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...[...rules.matchAll(/^ +expr: (.+)$/gm)].map(([, expr]) => expr),
  ];
}

Deno.test("every query of the dashboard and the alerts names metrics and labels that exist", async () => {
  const text = await metrics();
  const all = await queries();
  assert(all.length >= 25, `only ${all.length} queries are found`);
  for (const query of all) {
    for (const name of metricsIn(query)) {
      assert(new RegExp(`^${name}[{ ]`, "m").test(text), `there is no ${name}: ${query}`);
    }
    for (const [name, label, values] of labelsIn(query)) {
      // Prometheus adds these itself, and a status appears with its first refusal.
      if (["job", "instance", "status"].includes(label)) continue;
      const sample = new RegExp(`^${name}\\{[^}]*\\b${label}="${values}"`, "m");
      assert(sample.test(text), `there is no ${name} with ${label}="${values}"`);
    }
  }
});

Deno.test("every metric is described in docs/operate.md or docs/history.md", async () => {
  const text = await metrics();
  const pages = ["operate.md", "history.md"].map((page) =>
    Deno.readTextFileSync(new URL(`../docs/${page}`, PACKAGING))
  );
  const docs = pages.join("\n");
  const families = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
  assertEquals(families.filter((name) => !docs.includes(`\`${name}\``)), []);
});
