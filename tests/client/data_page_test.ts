/**
 * Pages and curl over the end of a server with `--data`: no gap, and nothing is lost.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { browserTests, heardOnce, listeningPage, serveSite } from "../support/browser.ts";
import { Curl } from "../support/curl.ts";
import { msg } from "../support/http.ts";
import { publishByCurl } from "../support/pages.ts";
import { freePort, spawnServer } from "../support/server.ts";
import { TempFolder } from "../support/temp_folder.ts";

/** How long clients may take to be back after a restart, in milliseconds. */
const BACK_MS = 5000;

const { inBrowser, open } = browserTests();

/** A page that listens with `client.js` and with the browser's own `EventSource`. */
function pageFor(url: string): string {
  return listeningPage(url) + `<script type="module">
    globalThis.events = [];
    const source = new EventSource("${url}/subscribe?name=x");
    for (const type of ["message", "gap"]) {
      source.addEventListener(type, ({ data }) => events.push(type + " " + data));
    }
    source.onopen = () => events.open = true;
  </script>`;
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  inBrowser(
    `after ${signal} and a restart a page and curl go on without a gap, within five seconds`,
    async () => {
      using temp = new TempFolder();
      const folder = temp.path;
      await using site = serveSite();
      const flags = ["--data", `${folder}/river.db`, "--origin", site.origin];
      const port = freePort();
      await using first = await spawnServer(flags, { port });
      await using opened = await open();
      site.html = pageFor(first.url);
      await opened.page.goto(site.origin);
      await heardOnce(opened.page, "heard.opens.length > 0 && globalThis.events?.open");
      await publishByCurl(first, "x", "before");
      await heardOnce(opened.page, "heard.messages.length === 1 && events.length === 1");
      await publishByCurl(first, "y", "seen by nobody");
      await first.end(signal);

      await using second = await spawnServer(flags, { port });
      const restarted = performance.now();
      await publishByCurl(second, "x", "after");
      const heard = await heardOnce(
        opened.page,
        "heard.messages.length === 2 && events.length === 2",
      );
      const ms = performance.now() - restarted;
      assertEquals(heard.messages.map(({ seq, data }) => `${seq} ${data}`), [
        "1 before",
        "2 after",
      ]);
      assertEquals(heard.gaps, []);
      assertEquals(await opened.page.evaluate("events.filter(() => true)"), [
        "message before",
        "message after",
      ]);
      assert(ms < BACK_MS, `${ms} ms`);
      const { cursor } = heard.opens[0];
      await using curl = new Curl(["-N", `${second.url}/subscribe?name=x&seq=${cursor}`]);
      assertEquals(await curl.lines.next(), msg("x", 1, "before"));
      assertEquals(await curl.lines.next(), msg("x", 2, "after"));
    },
  );
}
