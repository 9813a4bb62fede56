/**
 * `--data-sync`, as the kernel sees it: with `full` the disk has a message before its publisher has a 200, with
 * `normal` no publish waits for the disk.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { publish } from "../support/http.ts";
import { spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { TempFolder } from "../support/temp_folder.ts";

/** Publishers at a time, each with a channel of its own, and the messages of each. */
const CHANNELS = 10;
const MESSAGES = 20;

/** How many messages were answered with 200, when, and how often the disk was waited for meanwhile. */
interface Findings {
  answered: number;
  /** Answered before the file had them. */
  unwritten: string[];
  /** Answered before the disk had them. */
  unsynced: string[];
  /** From the first answer to the last one. */
  syncs: number;
}

/** Reads the log of strace: a line when a call begins, and another when it ends if others came between. */
function read(log: string): Findings {
  const findings: Findings = { answered: 0, unwritten: [], unsynced: [], syncs: 0 };
  const [written, synced] = [new Set<string>(), new Set<string>()];
  /** Threads that wait for the disk. */
  const waiting = new Set<string>();
  let syncs = 0;
  for (const line of log.split("\n")) {
    const [thread, call = ""] = line.split(/\s+(.*)/);
    if (/^pwrite64\(\d+<[^>]*-wal>/.test(call)) {
      for (const [data] of call.matchAll(/c\d+#\d+;/g)) written.add(data);
    } else if (/^f(data)?sync\(\d+<[^>]*-wal>/.test(call)) {
      waiting.add(thread);
    } else if (/^sendto\(.*HTTP\/1\.1 200/.test(call)) {
      const [, channel, seq] = /\\"channel\\":\\"(c\d+)\\",\\"seq\\":(\d+),/.exec(call)!;
      const data = `${channel}#${seq};`;
      if (findings.answered++ === 0) syncs = 0;
      findings.syncs = syncs;
      if (!written.has(data)) findings.unwritten.push(data);
      if (!synced.has(data)) findings.unsynced.push(data);
    }
    if (
      waiting.has(thread) && /^(f(data)?sync\(|<\.\.\. f(data)?sync resumed>).*\) += 0$/.test(call)
    ) {
      waiting.delete(thread);
      syncs++;
      written.forEach((data) => synced.add(data));
    }
  }
  return findings;
}

/** Publishes to a server under strace. */
async function watch(sync: string): Promise<Findings> {
  using temp = new TempFolder();
  const folder = temp.path;
  const file = `${folder}/strace.log`;
  const under = [
    ...["strace", "-D", "-f", "-y", "-s", "4200", "-o", file],
    ...["-e", "trace=fsync,fdatasync,pwrite64,sendto", "-e", "signal=none"],
  ];
  const flags = ["--data", `${folder}/river.db`, "--data-sync", sync];
  await using server = await spawnServer(flags, { under });
  await Promise.all(Array.from({ length: CHANNELS }, async (_, i) => {
    for (let seq = 1; seq <= MESSAGES; seq++) {
      assertEquals((await publish(server, `c${i}`, `c${i}#${seq};`)).seq, seq);
    }
  }));
  const end = new RegExp(`^${server.process.pid} +\\+\\+\\+ exited with 0 \\+\\+\\+\n$`, "m");
  await server.end();
  await until(async () => end.test(await Deno.readTextFile(file)));
  return read(await Deno.readTextFile(file));
}

Deno.test("with --data-sync full the disk has a message before its 200 leaves", async () => {
  const { answered, unwritten, unsynced, syncs } = await watch("full");
  console.log(`${answered} answers, ${syncs} syncs`);
  assertEquals([answered, unwritten, unsynced], [CHANNELS * MESSAGES, [], []]);
});

Deno.test("with --data-sync normal the file has a message before its 200 leaves, and nobody waits for the disk", async () => {
  const { answered, unwritten, unsynced, syncs } = await watch("normal");
  assertEquals([answered, unwritten, syncs], [CHANNELS * MESSAGES, [], 0]);
  // So the other test can fail.
  assert(unsynced.length > 0);
});
