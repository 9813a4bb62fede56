/** Both pages, in a real Chromium. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import axe from "axe-core";
import type { Page } from "playwright-core";
import { browserTests } from "../support/browser.ts";
import { live, say, serveGuarded, shown, signIn, tokenFor } from "../support/pages.ts";
import { Proxy } from "../support/proxies.ts";
import { serveHere } from "../support/server.ts";

const { inBrowser, open } = browserTests();

/** Every rule of axe but the strictest level, at which contrasts must be so strong that they tire. */
const RULES = axe.getRules().filter(({ tags }) => !tags.includes("wcag2aaa"))
  .map(({ ruleId }) => ruleId);

const PAGES = { "the front page": "/", "the chat": "/chat-demo/" };

for (const [name, path] of Object.entries(PAGES)) {
  for (const width of [390, 1280]) {
    for (const colorScheme of ["light", "dark"] as const) {
      inBrowser(`axe finds nothing in ${name}, ${colorScheme}, ${width} pixels wide`, async () => {
        await using server = await serveGuarded();
        await using opened = await open({ colorScheme, viewport: { width, height: 844 } });
        const { page } = opened;
        await page.goto(server.url + path);
        await page.locator("#state[data-state=closed]").waitFor();
        await page.fill("#token", "wrong");
        await page.getByRole("button", { name: "Sign in" }).click();
        await page.locator("#denied", { hasText: "bad_token" }).waitFor();
        assertEquals(await faults(page), [], "with an error");
        await signIn(page, await tokenFor());
        await page.locator("#list li").nth(10).waitFor();
        assertEquals(await faults(page), [], "in use");
        if (path === "/") {
          await page.getByRole("link", { name: "Channels" }).click();
          await page.locator("#answer").waitFor();
          assertEquals(await faults(page), [], "with a dialog");
        }
        await using empty = await serveHere();
        await page.goto(empty.url + path);
        await page.locator("#empty").waitFor();
        await appearAgain(page, "empty");
        assertEquals(await faults(page), [], "empty");
      });
    }
  }
}

/** Makes an element appear again, and stops its animations in the middle. */
async function appearAgain(page: Page, id: string): Promise<void> {
  await page.evaluate(`(() => {
    const element = document.getElementById("${id}");
    element.hidden = true;
    element.getBoundingClientRect();
    element.hidden = false;
    for (const animation of element.getAnimations()) {
      const { delay, duration } = animation.effect.getComputedTiming();
      animation.pause();
      animation.currentTime = delay + duration / 4;
    }
  })()`);
}

for (const width of [390, 1280]) {
  for (const colorScheme of ["light", "dark"] as const) {
    const what = `${colorScheme}, ${width} pixels wide`;
    inBrowser(`no page scrolls beyond its content when it is busy, ${what}`, async () => {
      await using server = await serveGuarded();
      await using opened = await open({ colorScheme, viewport: { width, height: 844 } });
      const { page } = opened;
      await page.goto(`${server.url}/chat-demo/`);
      await signIn(page, await tokenFor());
      await page.fill("#name", "ليلى".repeat(6));
      for (const text of ["مرحبا", "x".repeat(300), "hello"]) await say(page, text);
      await page.locator(".own.more").nth(1).waitFor();
      assertEquals(await farthest(page), { x: 0, y: 0 }, "the chat");
      await page.goto(server.url);
      await page.locator("#list li").nth(10).waitFor();
      await page.locator("#plot canvas").waitFor();
      const end = await page.evaluate<number>(
        `document.querySelector(".page").getBoundingClientRect().bottom - innerHeight`,
      );
      const { x, y } = await farthest(page);
      assertEquals(x, 0, "the front page");
      assert(y <= Math.max(0, end) + 1, `the front page scrolls to ${y}, but ends at ${end}`);
    });
  }
}

/** Where the page itself is once it is scrolled as far as it can be. */
function farthest(page: Page): Promise<{ x: number; y: number }> {
  return page.evaluate(`(() => {
    scrollTo(99999, 99999);
    const [x, y] = [scrollX, scrollY];
    scrollTo(0, 0);
    return { x, y };
  })()`);
}

interface Fault {
  readonly id: string;
  readonly nodes: { html: string; failureSummary: string }[];
}

/** What axe finds, in words. */
async function faults(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate<{ violations: Fault[] }>(
    `axe.run({ runOnly: ${JSON.stringify(RULES)} })`,
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`)
  );
}

inBrowser("the front page, the chat and the client work under a path", async () => {
  await using server = await serveHere();
  await using proxy = new Proxy(server, { prefix: "/some/prefix/" });
  const url = `${proxy.url}/some/prefix`;
  await using home = await open();
  await home.page.goto(`${url}/`);
  await home.page.locator("#state[data-state=open]").waitFor();
  await home.page.fill("#text", "under a path");
  await home.page.getByRole("button", { name: "Publish" }).click();
  await home.page.locator("#messages li", { hasText: "under a path" }).waitFor();
  await home.page.locator("#plot canvas").waitFor();
  assertMatch((await home.page.locator("#subscribe").textContent())!, /\/some\/prefix\/subscribe/);
  for (const address of [".", "../prefix", "/some/prefix", url]) {
    const seq = await home.page.evaluate<number>(`import("${url}/client.js").then(({ River }) =>
      new Promise((resolve) => {
        const river = new River(${JSON.stringify(address)});
        river.subscribe("public-channel", ({ seq }) => (river.close(), resolve(seq)), { seq: 0 });
      }))`);
    assertEquals(seq, 1, address);
  }
  await home.page.getByRole("link", { name: "Chat demo" }).click();
  await home.page.locator("#say").waitFor();
  await home.page.goto(`${url}/chat-demo`);
  assertEquals(home.page.url(), `${url}/chat-demo/`);
  await home.page.locator("#state[data-state=open]").waitFor();
  await home.page.fill("#name", "Ada");
  await using bob = await open();
  await bob.page.goto(`${url}/chat-demo/`);
  await live(bob.page);
  await say(home.page, "hello");
  await shown(bob.page, "Ada", "hello");
  for (const { requests, problems } of [home, bob]) {
    for (const request of requests) {
      assert(
        request.includes(`${proxy.port}/some/prefix/`) || request === `${url}/chat-demo`,
        request,
      );
    }
    assertEquals(problems, []);
  }
});
