/**
 * How much the tests notice: makes small edits of `lib/`, one at a time, and runs the tests against each.
 *
 *     deno task mutants [--seed N] [--count N] [--only FILE] [--id ID] [--list]
 *
 * @module
 */
import { parseArgs } from "node:util";
import listed from "./equivalents.json" with { type: "json" };
import { type Mutant, mutantsOf } from "./mutators.ts";

/** Copies of the project in which tests run at the same time. */
const WORKERS = 2;
/** What tests may take without a mutant's being blamed, in seconds beside a multiple of the usual time. */
const SLACK_S = 30;
const TIMES = 4;

/** Two files at a time: many tests wait more than they work. */
const TEST = ["test", "-A", "--no-check", "--fail-fast", "--parallel"];

/**
 * The tests that notice most of a file, by paths from lib/ and from tests/, beside those that mirror or
 * import it.
 */
const NEAREST: Record<string, string[]> = {
  "core/channel": ["core/hub"],
  "core/names": ["http/params", "server/publish"],
  "core/subscription": ["core/subscriber", "core/replay"],
  "engines/channel_log": ["engines/memory"],
  "http/app": [
    "server/codes",
    "server/publish",
    "server/operate",
    "server/shutdown",
    "server/private",
  ],
  "http/admission": ["server/limits", "server/shutdown", "server/operate"],
  "http/parameter_names": ["base/spelling"],
  "http/assets": ["server/operate"],
  "http/call": ["server/publish", "server/subscribe", "access/tokens"],
  "http/operate": ["server/operate", "access/tokens"],
  "http/publish": ["http/params", "server/publish"],
  "http/subscribe": ["http/params", "server/subscribe", "server/event_stream"],
  "http/websocket": ["server/websocket", "server/limits"],
  "http/transports/formats": ["core/message", "server/event_stream"],
  "http/transports/line_session": ["server/websocket", "server/limits", "access/tokens"],
  "http/transports/socket_session": ["server/websocket", "server/limits", "attack/faults"],
  "cli/option": ["cli/config", "cli/options"],
  "cli/descriptors": ["attack/descriptors"],
  "cli/listener": ["attack/descriptors"],
  "cli/program": ["server/operate"],
  "cli/commands/serve": ["server/shutdown", "server/operate"],
  "cli/commands/token": ["access/tokens"],
};

const ROOT = new URL("../..", import.meta.url).pathname;

interface Named extends Mutant {
  /** Stays the same when lines move. */
  readonly id: string;
}

interface Verdict {
  readonly mutant: Named;
  /** The test that noticed; undefined if none did. */
  readonly killer: string | undefined;
}

/** A mutant that no test can notice. */
interface Equivalent {
  readonly file: string;
  readonly within: string;
  readonly edit: string;
  readonly why: string;
}

const { values: options } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "100" },
    only: { type: "string", default: "" },
    id: { type: "string" },
    list: { type: "boolean", default: false },
  },
});

const started = performance.now();
const equivalents: Equivalent[] = listed;
const places = await allMutants();
const { chosen, spared } = draw(places);
if (options.list) {
  for (const mutant of chosen) console.log(titleOf(mutant));
} else {
  await using copies = await makeCopies();
  report(await judgeAll(chosen, copies.folders));
}

/** Every mutant of lib/, a list for each place. */
async function allMutants(): Promise<Named[][]> {
  const files = (await filesOf(ROOT))
    .filter((file) => /^lib\/.*\.ts$/.test(file) && !file.endsWith(".d.ts"))
    .filter((file) => file.endsWith(options.only));
  const seen = new Map<string, number>();
  const places: Named[][] = [];
  for (const file of files.sort()) {
    for (const place of mutantsOf(file, await Deno.readTextFile(ROOT + file))) {
      places.push(place.map((mutant) => {
        const key = `${file} ${mutant.within} ${mutant.edit}`;
        const times = (seen.get(key) ?? 0) + 1;
        seen.set(key, times);
        const edit = times === 1 ? mutant.edit : `${mutant.edit} #${times}`;
        return { ...mutant, edit, id: hash(`${key} ${times}`).toString(36) };
      }));
    }
  }
  return places;
}

/** Some of them: each place is as likely as any other, and in it each mutant. Known equivalents do not count. */
function draw(places: Named[][]): { chosen: Named[]; spared: number } {
  if (options.id !== undefined) {
    return { chosen: places.flat().filter(({ id }) => id === options.id), spared: 0 };
  }
  const random = generator(Number(options.seed));
  const chosen: Named[] = [];
  let spared = 0;
  const left = [...places];
  while (chosen.length < Number(options.count) && left.length > 0) {
    const [place] = left.splice(Math.floor(random() * left.length), 1);
    const mutant = place[Math.floor(random() * place.length)];
    if (equivalents.some((equivalent) => isSame(equivalent, mutant))) spared++;
    else chosen.push(mutant);
  }
  return { chosen, spared };
}

function isSame(equivalent: Equivalent, { file, within, edit }: Mutant): boolean {
  return equivalent.file === file && equivalent.within === within && equivalent.edit === edit;
}

/** Judges all, as many at a time as there are copies. */
async function judgeAll(mutants: Named[], folders: string[]): Promise<Verdict[]> {
  // For one mutant it is not worth the time to find out.
  const times = options.id === undefined
    ? await usualTimes(folders)
    : new Map((await testFiles()).map((file) => [file, 10]));
  const verdicts: Verdict[] = [];
  await inParallel(folders, mutants, async (folder, mutant) => {
    const verdict = await judge(mutant, folder, times);
    verdicts.push(verdict);
    const { killer } = verdict;
    console.log(`${killer ? "killed" : "SURVIVED"} ${titleOf(mutant)}\n    ${killer ?? ""}`);
  });
  return verdicts;
}

async function testFiles(): Promise<string[]> {
  return (await filesOf(ROOT)).filter((file) =>
    /^tests\/(?!hard|tools)[\w/]+_test\.ts$/.test(file)
  );
}

/** How long each test file takes without a mutant, in seconds; fails if one fails twice. */
async function usualTimes(folders: string[]): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  await inParallel(folders, await testFiles(), async (folder, file) => {
    const began = performance.now();
    if (await failureOf(folder, [file], 600)) {
      const failure = await failureOf(folder, [file], 600);
      if (failure) throw new Error(`A test fails without a mutant: ${failure.words}`);
    }
    times.set(file, (performance.now() - began) / 1000);
  });
  return new Map([...times].sort(([, a], [, b]) => a - b));
}

async function judge(mutant: Named, folder: string, times: Map<string, number>): Promise<Verdict> {
  const original = await Deno.readTextFile(folder + mutant.file);
  await Deno.writeTextFile(folder + mutant.file, mutant.source);
  try {
    const near = await nearestTests(mutant.file, [...times.keys()]);
    const far = [...times.keys()].filter((file) => !near.includes(file));
    const killer = await killerAmong(near, folder, times) ?? await killerAmong(far, folder, times);
    return { mutant, killer };
  } finally {
    await Deno.writeTextFile(folder + mutant.file, original);
  }
}

/** The test that fails, twice in a row: one that fails now and then proves nothing. */
async function killerAmong(
  files: string[],
  folder: string,
  times: Map<string, number>,
): Promise<string | undefined> {
  const most = (files: string[]) =>
    files.reduce((sum, file) => sum + TIMES * times.get(file)!, SLACK_S);
  for (let left = files; left.length > 0;) {
    const failure = await failureOf(folder, left, most(left));
    if (failure === undefined) return undefined;
    if (!failure.file || await failureOf(folder, [failure.file], most([failure.file]))) {
      return failure.words;
    }
    left = left.filter((file) => file !== failure.file);
  }
}

/** The tests of a file, and those that import it. */
async function nearestTests(file: string, tests: string[]): Promise<string[]> {
  const name = file.slice("lib/".length, -".ts".length);
  const own = [name, ...NEAREST[name] ?? []].map((each) => `tests/${each}_test.ts`);
  const near: string[] = [];
  for (const test of tests) {
    const source = await Deno.readTextFile(ROOT + test);
    if (own.includes(test) || source.includes(`/lib/${name}.ts"`)) near.push(test);
  }
  return near;
}

/** The first test that fails; without a file if none did, but they took too long or the process died. */
async function failureOf(
  folder: string,
  files: string[],
  seconds: number,
): Promise<{ file?: string; words: string } | undefined> {
  if (files.length === 0) return undefined;
  const limit = String(Math.ceil(seconds));
  // It leads a process group, so that no server of a test outlives it.
  const process = new Deno.Command("timeout", {
    args: ["-k", "5", limit, Deno.execPath(), ...TEST, ...files],
    cwd: folder,
    env: { NO_COLOR: "1", DENO_JOBS: "2" },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = await new Response(process.stdout).text();
  const { code, success } = await process.status;
  try {
    Deno.kill(-process.pid, "SIGKILL");
  } catch {
    // Nothing is left of it.
  }
  if (success) return undefined;
  const [, words, file] = /^(.*) => \.\/(tests\/[\w/]+\.ts):/m.exec(output) ?? [];
  if (words !== undefined) return { file, words: `${file}: ${words}` };
  return { words: code === 124 || code === 137 ? `more than ${limit} s` : `exit code ${code}` };
}

/** Copies of the project as it is, until they are disposed of. */
async function makeCopies(): Promise<AsyncDisposable & { folders: string[] }> {
  const folders: string[] = [];
  const files = await filesOf(ROOT);
  for (let i = 0; i < WORKERS; i++) {
    const folder = `${await Deno.makeTempDir({ prefix: "river_mutant_" })}/`;
    folders.push(folder);
    for (const file of files) {
      await Deno.mkdir(folder + file.slice(0, file.lastIndexOf("/") + 1), { recursive: true });
      await Deno.copyFile(ROOT + file, folder + file);
    }
  }
  return {
    folders,
    async [Symbol.asyncDispose]() {
      for (const folder of folders) await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Paths of the files that git knows or would add. */
async function filesOf(folder: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("git", {
    args: ["ls-files", "--cached", "--others", "--exclude-standard"],
    cwd: folder,
  }).output();
  return new TextDecoder().decode(stdout).trim().split("\n");
}

/** Does something to every item, in each folder one at a time. */
async function inParallel<T>(
  folders: string[],
  items: T[],
  action: (folder: string, item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(folders.map(async (folder) => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      await action(folder, item);
    }
  }));
}

function report(verdicts: Verdict[]): void {
  const survivors = verdicts.filter(({ killer }) => killer === undefined);
  for (const { mutant } of survivors) console.log(`\nSURVIVED ${titleOf(mutant)}`);
  for (const equivalent of equivalents) {
    if (options.only !== "" || places.flat().some((mutant) => isSame(equivalent, mutant))) continue;
    console.log(
      `\nequivalents.json names an edit that is not a mutant any more: ${equivalent.edit}`,
    );
  }
  const minutes = Math.round((performance.now() - started) / 60_000);
  console.log(
    `\n${verdicts.length} mutants (seed ${options.seed}): ${verdicts.length - survivors.length} ` +
      `killed, ${survivors.length} survived; ${spared} equivalents passed over; ${minutes} min`,
  );
}

function titleOf({ id, file, line, within, edit }: Named): string {
  return `${id} ${file}:${line} ${within}\n    ${edit}`;
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A short name of a text (FNV-1a). */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  return value;
}
