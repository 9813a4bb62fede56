/**
 * The transcripts in README and docs: blocks of `console`, in which a line that begins with `$ ` is a
 * command, and the lines after it are what it prints. They are run as they stand, each block in a folder of
 * its own against a server of its own.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { freePort, MAIN, RUN, serveHere } from "./support/server.ts";
import { until } from "./support/until.ts";

const ROOT = new URL("../", import.meta.url);
const PAGES = ["README.md", ...["protocol", "operate", "pages"].map((name) => `docs/${name}.md`)];

/** Stands between what two commands print. */
const MARK = "\x1e";

interface Step {
  readonly command: string;
  readonly printed: string[];
}

interface Transcript {
  readonly page: string;
  readonly line: number;
  /** The flags of its server. Undefined if it starts one itself. */
  readonly flags: string[] | undefined;
  readonly steps: Step[];
}

/**
 * The transcripts of a page. A comment in front of a block may say `river` and the flags of its server, or
 * `no river` if the block starts one.
 */
function transcriptsOf(page: string, text: string): Transcript[] {
  const blocks = text.matchAll(/(?:<!-- (no )?river(.*?) -->\n+)?```console\n([^]*?)```/g);
  return [...blocks].map(([block, none, flags = "", body]) => {
    const steps: Step[] = [];
    const lines = body.trimEnd().split("\n");
    for (let i = 0; i < lines.length; i++) {
      if (!lines[i].startsWith("$ ")) {
        steps.at(-1)!.printed.push(lines[i]);
        continue;
      }
      const command = [lines[i].slice(2)];
      while (/[\\|]$/.test(command.at(-1)!)) command.push(lines[++i]);
      steps.push({ command: command.join("\n"), printed: [] });
    }
    const line = text.slice(0, text.indexOf(block)).split("\n").length;
    return { page, line, flags: none ? undefined : flags.split(" ").filter(Boolean), steps };
  });
}

/** What a line stands for: any epoch, any time, any delay, and anything for two dots. */
function patternOf(line: string): RegExp {
  const pattern = line.replace(/[\\^$*+?.()|[\]{}]/g, "\\$&")
    .replaceAll("mi9x2k3fq7d0v", "[0-9a-z]+")
    .replace(/^retry: 1234$/, "retry: [0-9]{4}")
    .replace(/\d{4}-\d\d-\d\dT[\d:]+\\\.\d+Z/g, "[0-9T:.-]+Z")
    .replaceAll("\\.\\.", ".*");
  return new RegExp(`^${pattern}$`);
}

/** Runs the commands in one shell. Returns what each printed. */
async function run(steps: readonly Step[], port: number): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  const river = [Deno.execPath(), ...RUN, MAIN].map((word) => `'${word}'`).join(" ");
  const script = [
    "trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT",
    ...steps.map(({ command }) =>
      `${
        command.replaceAll("9271", String(port)).replaceAll("dist/river", river)
      }\nprintf '${MARK}'`
    ),
  ].join("\n");
  try {
    const { stdout } = await new Deno.Command("bash", {
      args: ["-c", script],
      cwd: folder,
      env: { RIVER_PORT: String(port), PS1: "" },
      stderr: "null",
    }).output();
    return new TextDecoder().decode(stdout).split(MARK).slice(0, -1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function check({ flags, steps }: Transcript): Promise<void> {
  await using server = flags && await serveHere(...flags);
  const port = server?.port ?? freePort();
  const printed = await run(steps, port);
  assertEquals(printed.length, steps.length);
  steps.forEach((step, i) => {
    const lines = printed[i].replaceAll(String(port), "9271").trimEnd().split("\n");
    const actual = lines.filter((line, n) => n > 0 || line !== "" || lines.length > 1);
    const fits = actual.length === step.printed.length &&
      actual.every((line, n) => patternOf(step.printed[n]).test(line));
    // Shows both where they differ.
    if (!fits) assertEquals([step.command, ...actual], [step.command, ...step.printed]);
  });
}

for (const page of PAGES) {
  for (const transcript of transcriptsOf(page, Deno.readTextFileSync(new URL(page, ROOT)))) {
    const [{ command }] = transcript.steps;
    Deno.test(`${page}:${transcript.line}: ${command.split("\n")[0]}`, () => check(transcript));
  }
}

Deno.test("README.md's first minute: what is published in one terminal comes out in the other", async () => {
  await using server = await serveHere();
  const text = Deno.readTextFileSync(new URL("README.md", ROOT));
  const [subscribe, publish, printed, late] = [...text.matchAll(/```(?:sh)?\n([^]*?)```/g)]
    .map(([, code]) => code).slice(1, 5);
  const [message, receipt] = printed.trimEnd().split("\n");
  const terminal = (command: string) =>
    new Deno.Command("bash", {
      args: ["-c", `exec ${command.replace("9271", String(server.port))}`],
      stdout: "piped",
      stderr: "null",
    });
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trimEnd();
  const subscriber = terminal(subscribe).spawn();
  await until(() => server.hub.subscribers("public-channel") === 1);
  assertMatch(decode((await terminal(publish).output()).stdout), patternOf(receipt));
  assertMatch(decode((await terminal(late).output()).stdout), patternOf(message));
  subscriber.kill();
  assertMatch(decode((await subscriber.output()).stdout), patternOf(message));
});

Deno.test("a transcript that is not true is found, and what may differ may", async () => {
  const block = (printed: string, comment = "") =>
    transcriptsOf("x.md", `${comment}\`\`\`console\n$ printf 'a\\nb\\n'\n${printed}\n\`\`\`\n`)[0];
  await check(block("a\nb"));
  await check(block("..\nb"));
  for (const wrong of ["a", "a\nc", "a\nb\nc", "b\na"]) {
    assert(await check(block(wrong)).then(() => false, () => true), wrong);
  }
  assertEquals(block("a", "<!-- river --history=1 -->\n").flags, ["--history=1"]);
  assertEquals(block("a", "<!-- no river -->\n").flags, undefined);
  for (
    const [line, text] of [
      ['{"epoch":"mi9x2k3fq7d0v"}', '{"epoch":"mi1"}'],
      ["2026-11-25T12:00:00.000Z info", "2031-01-02T03:04:05.678Z info"],
    ]
  ) {
    assert(patternOf(line).test(text));
    assert(!patternOf(line).test(`${text}.`));
  }
});
