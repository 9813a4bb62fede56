import { assert, assertEquals } from "@std/assert";
import { ask } from "../support/http.ts";
import { spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";

/** What faketime loads into a process so that it sees another time. */
function preloaded(): string {
  const args = ["2020-01-01", "printenv", "LD_PRELOAD"];
  return new TextDecoder().decode(new Deno.Command("faketime", { args }).outputSync().stdout)
    .trim();
}

const HOUR = 3_600_000;
/** Longer than the engine's pause between two looks at what is past its time, in milliseconds. */
const SWEEP = 1500;

Deno.test("the clock is set two hours ahead and back: history and ids live as long as they should", async () => {
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, "+0");
  await using server = await spawnServer(["--history-ttl", "10s", "--id-ttl", "10s"], {
    env: {
      LD_PRELOAD: preloaded(),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    },
  });
  const wallClock = async () => {
    const { headers } = await ask(`${server.url}/healthz`);
    return Date.parse(headers.get("date")!);
  };
  const setClock = async (offset: string) => {
    await Deno.writeTextFile(file, offset);
    // Set back, the runtime goes on showing the latest time it has seen.
    await until(async () => await wallClock() > Date.now() + HOUR);
    await new Promise((resolve) => setTimeout(resolve, SWEEP));
  };
  const repeat = async () =>
    JSON.parse((await ask(`${server.url}/publish?name=x&data=a&id=i`)).text);
  const first = await repeat();
  for (const offset of ["+2h", "-2h"]) {
    await setClock(offset);
    assertEquals(await repeat(), first);
    const { history } = JSON.parse((await ask(`${server.url}/channels/x`)).text);
    assertEquals(history.messages, 1, `the clock is ${offset}`);
  }
  const gone = async () => (await ask(`${server.url}/channels/x`)).status === 404;
  await until(gone, 20_000);
  const again = await repeat();
  assertEquals(again.seq, 1);
  assert(again.epoch > first.epoch, `${again.epoch} sorts after ${first.epoch}`);
  await Deno.remove(file);
});
