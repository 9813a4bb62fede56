/**
 * Pictures of the front page and the chat, dark and light, desktop and phone, in `dist/screenshots`:
 * `deno task screenshots`.
 *
 * @module
 */
import { startBrowser } from "../support/browser.ts";
import { publish } from "../support/http.ts";
import { serveHere } from "../support/server.ts";

const FOLDER = new URL("../../dist/screenshots/", import.meta.url);
const SIZES = { desktop: { width: 1200, height: 860 }, phone: { width: 390, height: 844 } };

await Deno.mkdir(FOLDER, { recursive: true });
await using server = await serveHere();
await using browser = await startBrowser();

const talk = [
  ["Ada", "Is the river up?"],
  ["Grace", "It is. Two publishers and forty readers since this morning."],
  ["Ada", "And when the server restarts?"],
  ["Linus", "The page resumes from where it was."],
  ["Linus", "Try it: `kill -TERM`, start it again."],
  ["ليلى", "وصل كل شيء، شكرا!"],
  ["Grace", "<img src=x onerror=alert(1)> stays text, by the way"],
];
let at = Date.now() - 290_000;
/** The messages that are shown as one's own, by their marks. */
const sent: Record<string, string> = {};
for (const [name, text] of talk) {
  const message = { name, text, at: at += 41_000, by: name, mark: `${at}` };
  if (name === "Grace") sent[message.mark] = "chat.lobby";
  await publish(server, "chat.lobby", JSON.stringify(message));
}
for (const text of ["a question", "and another"]) await publish(server, "chat.help", text);
for (
  const text of [
    "hello-world-of-comet",
    "42 °C",
    '{"price": 99.5}',
    "hello from the page",
    "and from curl",
  ]
) {
  await publish(server, "public-channel", text);
}

/** Something for the plot to show. */
let busy = true;
const traffic = (async () => {
  for (let i = 0; busy; i++) {
    const messages = 6 + Math.round(5 * Math.sin(i / 6) + 3 * Math.random());
    for (let n = 0; n < messages; n++) await publish(server, "sensors", String(n));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
})();
const readers = await Promise.all(
  Array.from(
    { length: 12 },
    (_, i) => fetch(`${server.url}/subscribe?name=sensors&format=${i % 3 ? "river" : "sse"}`),
  ),
);

for (const colorScheme of ["light", "dark"] as const) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    const page = await browser.newPage({ colorScheme, viewport });
    await page.addInitScript(
      `localStorage.setItem("river:name", "Grace");
      localStorage.setItem("river:sent", ${JSON.stringify(JSON.stringify(sent))});`,
    );
    await page.goto(`${server.url}/`);
    await page.locator("#state[data-state=open]").waitFor();
    // The plot needs some points.
    await page.waitForTimeout(20_000);
    await page.screenshot({
      path: new URL(`home-${colorScheme}-${size}.png`, FOLDER).pathname,
      fullPage: true,
    });
    await page.goto(`${server.url}/chat-demo/`);
    await page.locator("#state[data-state=open]").waitFor();
    await page.locator(".message").nth(6).waitFor();
    await publish(server, "chat.lobby.typing", "other\nLinus");
    await page.locator("#typing:not(:empty)").waitFor();
    await page.screenshot({ path: new URL(`chat-${colorScheme}-${size}.png`, FOLDER).pathname });
    await page.close();
  }
}
busy = false;
await traffic;
for (const reader of readers) await reader.body?.cancel();
