/**
 * A river whose pages are in use, as tests and pictures show them.
 *
 * @module
 */
import type { Locator, Page } from "playwright-core";
import { mintToken } from "../../lib/access/tokens.ts";
import { curl } from "./curl.ts";
import { serveHere } from "./server.ts";

/** Long enough, and with what confuses. */
const LONG = "Wolfeschlegelsteinhausenbergerdorff-of-Hubert-Blaine-".repeat(3);
const TALK: readonly (readonly [name: string, text: string])[] = [
  ["Ada", "Is the river up?"],
  ["Ada", "I ask because my page has just said that it comes back in 1.2 s."],
  ["Grace", "It is. Two publishers and forty readers since this morning."],
  ["ليلى", "مرحبا، هل يصل كل شيء؟ (100%)"],
  ["ليلى", "https://example.com/ هنا"],
  ["Ada", "And when the server restarts?"],
  ["Linus", "The page resumes from where it was. Try it: `kill -TERM`, start it again."],
  [LONG, "x".repeat(120)],
  ["Grace", "<img src=x onerror=alert(1)> stays text, by the way"],
  ["Linus", "two\nlines"],
];
/** How many messages each channel gets. */
export const MESSAGES = 40;

const SECRET = "0123456789abcdef0123456789abcdef";
/** What a token allows in `serveUsed`. */
export const ALL = { publish: ["*"], subscribe: ["*"], operate: true, expires: Infinity };

/** A token for servers that `serveUsed` starts. */
export function tokenFor(claims: Parameters<typeof mintToken>[1] = ALL): Promise<string> {
  return mintToken(SECRET, claims);
}

/** A server that asks for a token. With `used`, both pages have much to show. */
export async function serveGuarded(used = true, ...flags: string[]) {
  const server = await serveHere("--token-secret", SECRET, ...flags);
  const start = Date.now() - MESSAGES * 60_000;
  for (let i = 0; used && i < MESSAGES; i++) {
    const [name, text] = TALK[i % TALK.length];
    const at = start + i * 60_000;
    server.hub.publish({
      channel: "chat.lobby",
      data: JSON.stringify({ name, text, at, by: name }),
    });
    server.hub.publish({ channel: "public-channel", data: text });
    if (i % 13 === 0) server.hub.publish({ channel: "chat.help", data: text });
  }
  return server;
}

/** Types a message into the chat and sends it. */
export async function say(page: Page, text: string): Promise<void> {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

/** Waits for the last message in a chat. Its name is there, if only for screen readers. */
export async function shown(page: Page, name: string, text: string): Promise<void> {
  const item = page.locator(".message").last();
  await item.locator(".name").getByText(name, { exact: true }).waitFor({
    state: "attached",
  });
  await item.locator(".text").getByText(text, { exact: true }).waitFor();
}

/** Waits until the page is connected. */
export async function live(page: Page): Promise<void> {
  await page.locator("#state[data-state=open]").waitFor();
}

/** Signs in on the front page or in the chat, and waits until the page is loaded again. */
export async function signIn(page: Page, credential: string): Promise<void> {
  await page.fill("#token", credential);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Publishes with curl, as a stranger. */
export async function publishByCurl(
  server: { url: string },
  name: string,
  data: string,
): Promise<void> {
  const fields = [`name=${name}`, `data=${data}`].flatMap((field) => ["--data-urlencode", field]);
  await using publisher = curl(...fields, `${server.url}/publish`);
  await publisher.output();
}

/** Whether the text of an element runs `ltr` or `rtl`. */
export function directionOf(element: Locator): Promise<string> {
  return element.evaluate((node) => Reflect.get(globalThis, "getComputedStyle")(node).direction);
}
