/**
 * Rounds of a server that is killed while it takes messages.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ask } from "./http.ts";
import { freePort, type ServerProcess, spawnServer } from "./server.ts";

/** Publishers at a time, each with a channel of its own. */
const PUBLISHERS = 20;

interface Acked {
  readonly seq: number;
  readonly epoch: string;
  readonly data: string;
}

/** Publishes one message after the other, until the server is gone. Returns what was acknowledged. */
async function publishOn(server: { url: string }, name: string, round: number): Promise<Acked[]> {
  const acked: Acked[] = [];
  for (let i = 0;; i++) {
    const data = `${round}.${i}`;
    try {
      const response = await fetch(`${server.url}/publish?name=${name}&data=${data}`);
      const { seq, epoch } = await response.json();
      if (response.status === 200) acked.push({ seq, epoch, data });
    } catch {
      return acked;
    }
  }
}

/** Checks that everything that was acknowledged is there, and that the numbers have no hole. */
async function check(server: ServerProcess, name: string, acked: readonly Acked[]): Promise<void> {
  if (acked.length === 0) return;
  const { text } = await ask(`${server.url}/subscribe?name=${name}&seq=0&keep=0`);
  const found = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(found.map(([kind]) => kind), found.map(() => "msg"), "no gap");
  const bySeq = new Map(found.map(([, { seq, data }]) => [seq, data]));
  assertEquals([...bySeq.keys()], Array.from({ length: bySeq.size }, (_, i) => i + 1));
  for (const { seq, data } of acked) assertEquals(bySeq.get(seq), data, `${name} ${seq}`);
}

/** Kills a server at random moments, so many times. Returns how many messages were acknowledged. */
export async function killRounds(path: string, rounds: number, flags: string[]): Promise<number> {
  const port = freePort();
  const start = () =>
    spawnServer(["--data", path, "--history", "1000000", "--max-memory", "1GiB", ...flags], {
      port,
    });
  const names = Array.from({ length: PUBLISHERS }, (_, i) => `channel.${i}`);
  const acked = new Map<string, Acked[]>(names.map((name) => [name, []]));
  const epochs = new Map<string, string>();
  for (let round = 0; round <= rounds; round++) {
    const server = await start();
    try {
      for (const name of names) await check(server, name, acked.get(name)!);
      if (round === rounds) break;
      const publishing = names.map((name) => publishOn(server, name, round));
      await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 300));
      await server.end("SIGKILL");
      for (const [i, more] of (await Promise.all(publishing)).entries()) {
        acked.get(names[i])!.push(...more);
        for (const { epoch } of more) {
          // A process that is killed loses nothing, so the positions go on.
          assertEquals(epoch, epochs.get(names[i]) ?? epoch);
          epochs.set(names[i], epoch);
        }
      }
    } finally {
      await server.end("SIGKILL");
    }
  }
  const count = [...acked.values()].reduce((sum, { length }) => sum + length, 0);
  assert(count > 0);
  return count;
}
