import { assert, assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { SOCKET_CLIENTS } from "./support/socket_clients.ts";
import { SSE_CLIENTS } from "./support/sse_clients.ts";
import { optionsPage } from "./tools/readme.ts";

const ROOT = new URL("../", import.meta.url);

Deno.test("docs/options.md lists the options that lib/cli/options.ts has; `deno task readme` writes them", () => {
  const { actual, expected } = optionsPage();
  assertEquals(actual, expected);
});

Deno.test("README.md is read in a minute, and its picture is on the first screen", async () => {
  const lines = (await textOf("README.md")).trimEnd().split("\n");
  assert(lines.length <= 130, `README.md has ${lines.length} lines`);
  assert(lines.slice(0, 15).some((line) => line.includes("<img ")), "no picture in 15 lines");
});

Deno.test("links between the pages lead to files and headings that exist", async () => {
  const pages = ["README.md", "SECURITY.md", "CHANGELOG.md", "tests/README.md"];
  if (await exists("CONTRIBUTING.md")) pages.push("CONTRIBUTING.md");
  for (const folder of ["docs", "bench"]) {
    for await (const { name } of Deno.readDir(new URL(folder, ROOT))) {
      if (name.endsWith(".md")) pages.push(`${folder}/${name}`);
    }
  }
  const broken: string[] = [];
  for (const page of pages) {
    for (const link of linksOf(await textOf(page))) {
      const [path, anchor] = link.split("#");
      const target = path === ""
        ? page
        : new URL(path, new URL(page, ROOT)).href.slice(ROOT.href.length);
      if (!await exists(target)) broken.push(`${page}: ${link}`);
      else if (anchor !== undefined && !anchorsOf(await textOf(target)).has(anchor)) {
        broken.push(`${page}: ${link}`);
      }
    }
  }
  assertEquals(broken, []);
});

Deno.test("anchorsOf() makes anchors as GitHub does", () => {
  const page = "# A, b & `c-d`!\n```sh\n# not this\n```\n## Twice\n### Twice\n#no\n";
  assertEquals([...anchorsOf(page)], ["a-b--c-d", "twice", "twice-1"]);
});

Deno.test("linksOf() finds what Markdown and HTML link to in the repository", () => {
  const page = '[a](b.md#c) ![d](e.png) <img src="f.svg"> `[no](g.md)` [no](https://h/)\n' +
    '```html\n<img src="no.png">\n```\n[i](#j) [_k_](l)';
  assertEquals(linksOf(page), ["b.md#c", "e.png", "f.svg", "#j", "l"]);
});

function textOf(page: string): Promise<string> {
  return Deno.readTextFile(new URL(page, ROOT));
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(new URL(path, ROOT)).then(() => true, () => false);
}

/** A page without its blocks of code. */
function proseOf(page: string): string {
  return page.replace(/^ *```.*?^ *```/gms, "");
}

/** The targets of a page's links and pictures, but for those with a scheme. */
function linksOf(page: string): string[] {
  const prose = proseOf(page).replace(/`[^`\n]*`/g, "");
  const links = prose.matchAll(/\]\(([^()\s]+)\)|\b(?:src|href)="([^"]+)"/g);
  return [...links].map(([, link, attribute]) => link ?? attribute)
    .filter((link) => !/^[a-z]+:/.test(link));
}

/** The anchors that GitHub gives to a page's headings. */
function anchorsOf(page: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading] of proseOf(page).matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading.toLowerCase().replace(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-");
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    anchors.add(times === 0 ? slug : `${slug}-${times}`);
  }
  return anchors;
}

Deno.test("tests/README.md names tests that are there, for all 46 rows", async () => {
  const here = new URL(".", import.meta.url);
  const rows = (await Deno.readTextFile(new URL("README.md", here)))
    .split("\n")
    .filter((line) => /^\| [0-9]/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));
  assertEquals(rows.map(([, number]) => Number(number)), rows.map((_, i) => i + 1));
  assertEquals(rows.length, 46);
  for (const [, number, , tests] of rows) {
    for (const [, file, names] of tests.matchAll(/\]\(([a-z0-9_/]+\.ts)\)([^[]*)/g)) {
      const source = (await Deno.readTextFile(new URL(file, here))).split("\n");
      for (const [, name] of names.matchAll(/`([^`]+)`/g)) {
        // What a table fills in stands in the source as an expression.
        const found = (line: string) =>
          name.split("…").reduce((at, part) => {
            const next = at < 0 ? -1 : line.indexOf(part, at);
            return next < 0 ? -1 : next + part.length;
          }, 0) >= 0;
        assert(source.some(found), `row ${number}: ${file} has no test "${name}"`);
      }
    }
  }
});

Deno.test("tests/README.md lists the clients that are tested, in the versions of deno.json", async () => {
  const page = await textOf("tests/README.md");
  const [, section] = page.split("\n## Clients\n");
  const listed = [...section.split("\n## ")[0].matchAll(/^\| (\S+) \| ([0-9]\S*) \| /gm)]
    .map(([, name, version]) => `npm:${name}@${version}`);
  const pinned = Object.values(manifest.scopes["./tests/"]);
  assertEquals(listed.filter((client) => !pinned.includes(client)), []);
  const others = ["@hotwired/turbo", "htmx.org", "htmx4", "htmx-ext-sse"] as const;
  const names = [...SSE_CLIENTS.map(({ name }) => name), ...Object.keys(SOCKET_CLIENTS), ...others];
  const versions = new Map(Object.entries(manifest.scopes["./tests/"]));
  assertEquals(names.map((name) => versions.get(name)).sort(), listed.sort());
});
