/** The front page, in a real Chromium. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { gzipSync } from "node:zlib";
import { ASSETS } from "../../lib/http/assets.ts";
import { browserTests } from "../support/browser.ts";
import { curl } from "../support/curl.ts";
import { msg } from "../support/http.ts";
import {
  ALL,
  directionOf,
  live,
  MESSAGES,
  serveGuarded,
  signIn,
  tokenFor,
} from "../support/pages.ts";
import { serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";

const { inBrowser, open } = browserTests();

inBrowser("the front page is small, asks no other host and breaks nothing", async () => {
  await using server = await serveHere();
  await using opened = await open();
  const { page, requests, problems } = opened;
  const sizes = new Map<string, Promise<number>>();
  page.on("response", (response) => {
    const size = response.body().then(({ length }) => length);
    sizes.set(new URL(response.url()).pathname, size);
  });
  const response = await page.goto(server.url);
  assertMatch(response!.headers()["content-security-policy"], /default-src 'none'/);
  await page.locator("#state[data-state=open]").waitFor();
  await page.locator("#plot canvas").waitFor();
  await page.locator("#messages").waitFor({ state: "attached" });
  for (const url of requests) assertEquals(new URL(url).host, `127.0.0.1:${server.port}`, url);
  let total = 0;
  for (const [path, size] of sizes) {
    assert(ASSETS.has(path) || path === "/metrics", path);
    // The metrics are data: they come again every few seconds.
    if (path !== "/metrics") total += await size;
  }
  assert(total > 10_000 && total < 128 * 1024, `${total} bytes`);
  const zipped = gzipSync(ASSETS.get("/client.js")!.text, { level: 9 }).length;
  assert(zipped < 12 * 1024, `${zipped} bytes`);
  assertEquals(problems, []);
});

inBrowser(
  "what is published in the front page is in its list and at a curl that listens",
  async () => {
    await using server = await serveHere();
    await using reader = curl("-N", "-d", "name=public-channel", `${server.url}/subscribe`);
    await until(() => server.hub.subscribers("public-channel") === 1);
    await using opened = await open();
    const { page } = opened;
    await page.goto(server.url);
    await page.locator("#state", { hasText: "live over websocket" }).waitFor();
    await page.fill("#text", "from the page");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#messages li", { hasText: "from the page" }).waitFor();
    assertEquals(await reader.lines.next(), msg("public-channel", 1, "from the page"));
    assertEquals(await page.inputValue("#text"), "");
  },
);

inBrowser("the copy buttons copy the command, or select it where that is not allowed", async () => {
  await using server = await serveHere();
  for (const allowed of [true, false]) {
    await using opened = await open();
    const { page, context } = opened;
    if (allowed) await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    else await page.addInitScript("navigator.clipboard.writeText = () => Promise.reject()");
    await page.goto(server.url);
    const copied = allowed ? "navigator.clipboard.readText()" : "String(getSelection())";
    for (const id of ["subscribe", "publish", "catchup", "embed"]) {
      const button = page.locator(`button[data-copy=${id}]`);
      await button.click();
      await button.getByText(allowed ? "Copied" : "Ctrl-C").waitFor();
      const command = await page.locator(`#${id}`).innerText();
      assert(command.includes(server.url), command);
      assertEquals((await page.evaluate<string>(copied)).trim(), command.trim());
    }
  }
});

inBrowser("the commands of the front page work in a terminal", async () => {
  await using server = await serveHere();
  await using opened = await open();
  const { page } = opened;
  await page.goto(server.url);
  const run = async (id: string) => {
    const command = await page.locator(`#${id}`).textContent();
    const words = command!.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ""));
    assertEquals(words.shift(), "curl");
    return curl(...words);
  };
  await page.locator("#state[data-state=open]").waitFor();
  await using subscriber = await run("subscribe");
  await until(() => server.hub.subscribers("public-channel") === 2);
  await using publisher = await run("publish");
  await publisher.output();
  const hello = msg("public-channel", 1, "hello");
  assertEquals(await subscriber.lines.next(), hello);
  await using late = await run("catchup");
  assertEquals(await late.lines.next(), hello);
});

inBrowser("the figures appear and move", async () => {
  await using server = await serveHere();
  await using opened = await open();
  const { page } = opened;
  await page.goto(server.url);
  await page.locator("#subscribers").getByText("1", { exact: true }).waitFor();
  const timer = setInterval(() => {
    for (let i = 0; i < 5; i++) server.hub.publish({ channel: "x", data: `${i}` });
  }, 20);
  try {
    await page.locator("#in").filter({ hasText: /^[1-9]/ }).waitFor();
    await page.locator("#channels").getByText("2", { exact: true }).waitFor();
    await page.locator("#transports li", { hasText: "river.v1" }).waitFor();
  } finally {
    clearInterval(timer);
  }
  assertEquals(opened.problems, []);
});

inBrowser(
  "with a publish key the page reads at once, and does all once it has the key",
  async () => {
    await using server = await serveHere("--publish-key", "schlüssel→");
    await using opened = await open();
    const { page } = opened;
    await page.goto(server.url);
    await live(page);
    await page.locator("#hidden", { hasText: "Sign in to see the figures" }).waitFor();
    assertEquals(await page.locator("#figures").isVisible(), false);
    await page.fill("#text", "without the key");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#note", { hasText: "A key or token is needed to publish" }).waitFor();
    assertEquals(await page.inputValue("#text"), "without the key");
    await page.fill("#token", "wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator("#denied", { hasText: "this is not the key bad_token" }).waitFor();
    await signIn(page, "schlüssel→");
    await page.locator("#access", { hasText: "it allows everything" }).waitFor();
    await page.locator("#figures").waitFor();
    await page.fill("#text", "with the key");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#messages li", { hasText: "with the key" }).waitFor();
  },
);

inBrowser(
  "behind a proxy an open server's front page works without figures, and asks for them once",
  async () => {
    await using server = await serveHere("--open");
    await using opened = await open();
    const { page } = opened;
    await page.setExtraHTTPHeaders({ "x-forwarded-for": "192.0.2.1" });
    let asked = 0;
    page.on("request", (request) => asked += Number(request.url().endsWith("/metrics")));
    await page.clock.install();
    await page.goto(server.url);
    await page.locator("#hidden", { hasText: "only on its own machine" }).waitFor();
    assertEquals(await page.locator("#figures").isVisible(), false);
    assertEquals(await page.locator("#access").isVisible(), false);
    await page.clock.runFor(10_000);
    await page.fill("#text", "without figures");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#messages li", { hasText: "without figures" }).waitFor();
    assertEquals(asked, 1);
  },
);

inBrowser("the last 20 messages stand in a box that does not grow, newest last", async () => {
  await using server = await serveHere();
  await using opened = await open();
  const { page } = opened;
  await page.goto(server.url);
  await page.locator("#empty", { hasText: "Nothing here yet" }).waitFor();
  const size = () => page.locator(".live").boundingBox();
  const empty = await size();
  for (let i = 1; i <= MESSAGES; i++) {
    server.hub.publish({ channel: "public-channel", data: `${i}\n${"wide".repeat(40)}` });
  }
  const seqs = async () => (await page.locator("#list .seq").allTextContents()).map(Number);
  const last20 = Array.from({ length: 20 }, (_, i) => MESSAGES - 19 + i);
  for (const arrival of ["live", "history"]) {
    await page.locator("#list .seq").getByText(String(MESSAGES)).waitFor();
    assertEquals(await seqs(), last20, arrival);
    assertEquals(await page.locator("#empty").isVisible(), false);
    assertEquals(await size(), empty, arrival);
    const [height, room, hidden] = await page.locator("#messages").evaluate((
      { scrollHeight, scrollTop, clientHeight },
    ) => [scrollHeight, clientHeight, scrollHeight - scrollTop - clientHeight]);
    assert(height > room && hidden < 2, `${height} ${room} ${hidden}`);
    await page.reload();
  }
});

inBrowser("names and messages keep their direction", async () => {
  await using server = await serveGuarded();
  await using opened = await open();
  const { page } = opened;
  await page.goto(server.url);
  await signIn(page, await tokenFor());
  const direction = (text: string) =>
    directionOf(page.locator("#list .data", { hasText: text }).last());
  assertEquals(await direction("مرحبا"), "rtl");
  assertEquals(await direction("Is the river up?"), "ltr");
});

inBrowser("a server that is about to leave keeps its figures, and they go on", async () => {
  await using server = await serveHere();
  await using opened = await open();
  const { page } = opened;
  const answer = (status: number) =>
    page.waitForResponse((response) =>
      response.url().endsWith("/metrics") && response.status() === status
    );
  await page.goto(server.url);
  await page.locator("#figures").waitFor();
  const json = { error: { code: "shutting_down", message: "The server is shutting down" } };
  await page.route("**/metrics", (route) => route.fulfill({ status: 503, json }), { times: 1 });
  await answer(503);
  await answer(200);
  assertEquals(await page.locator("#figures").isVisible(), true);
  assertEquals(await page.locator("#hidden").isVisible(), false);
});

inBrowser("a language that no browser should have does not break the plot", async () => {
  await using server = await serveHere();
  await using opened = await open();
  const { page } = opened;
  await page.addInitScript(
    "Object.defineProperty(Navigator.prototype, 'language', { get: () => 'en-US@posix' })",
  );
  await page.goto(server.url);
  await page.locator("#plot canvas").waitFor();
  assertEquals(opened.problems, []);
});

inBrowser("with tokens one sign-in does for both pages, and lasts as long as the tab", async () => {
  await using server = await serveGuarded();
  await using opened = await open();
  const { page } = opened;
  await page.goto(server.url);
  await page.locator("#empty", { hasText: "You cannot read public-channel" }).waitFor();
  await signIn(page, await tokenFor());
  await page.locator("#figures").waitFor();
  await live(page);
  await page.fill("#text", "with a token");
  await page.getByRole("button", { name: "Publish" }).click();
  await page.locator("#messages li", { hasText: "with a token" }).waitFor();
  await page.getByRole("link", { name: "Chat demo" }).click();
  await page.locator(".message").first().waitFor();
  await page.locator("#access", { hasText: "Your token allows you to publish to *" }).waitFor();
  assertEquals(await page.context().cookies(), []);
  assertEquals(
    await page.evaluate("Object.keys(localStorage).some((key) => /token/.test(key))"),
    false,
  );
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#token").waitFor();
  await page.goto(server.url);
  await page.locator("#token").waitFor();
  await using other = await open();
  await other.page.goto(`${server.url}/chat-demo/`);
  await signIn(other.page, await tokenFor());
  await other.page.locator(".message").first().waitFor();
});

inBrowser(
  "a token is refused in the server's words, and one that expires is asked for anew",
  async () => {
    await using server = await serveGuarded();
    await using opened = await open();
    const { page } = opened;
    await page.goto(server.url);
    const expired = await tokenFor({ ...ALL, expires: Date.now() - 60_000 });
    for (
      const [token, words] of [
        ["nonsense", "this is not a token bad_token"],
        [expired, "the token has expired token_expired"],
      ]
    ) {
      await page.fill("#token", token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.locator("#denied", { hasText: words }).waitFor();
    }
    // Tokens are good for five seconds more than they say.
    await signIn(page, await tokenFor({ ...ALL, expires: Date.now() - 2000 }));
    await page.locator("#denied", { hasText: "the token has expired token_expired" }).waitFor();
    assertEquals(await page.locator("#state").textContent(), "closed");
  },
);

inBrowser(
  "a token for other channels: the page tries one of them, and says what it may not",
  async () => {
    await using server = await serveGuarded(false);
    await using opened = await open();
    const { page } = opened;
    await page.goto(server.url);
    const expires = Date.now() + 3_600_000;
    const claims = { publish: ["it's.*"], subscribe: ["news", "it's.*"], operate: false, expires };
    const token = await tokenFor(claims);
    await signIn(page, token);
    assertMatch(
      await page.locator("#access").innerText(),
      /publish to it's\.\*, subscribe to news, it's\.\*, until /,
    );
    await page.locator("#hidden", { hasText: "does not allow you to see" }).waitFor();
    await page.getByRole("link", { name: "Metrics" }).waitFor({ state: "hidden" });
    await live(page);
    assertEquals(await page.locator("#channel").textContent(), "it's.demo");
    const run = async (id: string) => {
      const command = new Deno.Command("bash", {
        args: ["-c", (await page.locator(`#${id}`).textContent())!.replace("-N", "-m 1")],
        env: { TOKEN: token },
      });
      return new TextDecoder().decode((await command.output()).stdout);
    };
    assertMatch(await run("publish"), /"channel":"it's\.demo","seq":1/);
    await page.locator("#list", { hasText: "hello" }).waitFor();
    assertEquals(await run("catchup"), `${msg("it's.demo", 1, "hello")}\n`);
    const embed = (await page.locator("#embed").textContent())!;
    assert(!embed.includes(token) && embed.includes("token:"), embed);
  },
);

inBrowser("the links to metrics and channels show them, with a token too", async () => {
  await using server = await serveGuarded();
  await using opened = await open();
  const { page } = opened;
  await page.goto(server.url);
  await page.getByRole("link", { name: "Metrics" }).waitFor({ state: "hidden" });
  await signIn(page, await tokenFor());
  for (
    const [name, words, button] of [
      ["Metrics", "river_messages_published_total", "left"],
      ["Channels", '"channel": "chat.lobby"', "middle"],
    ] as const
  ) {
    await page.getByRole("link", { name }).click({ button });
    await page.locator("#answer", { hasText: words }).waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#answer").waitFor({ state: "hidden" });
  }
  assertEquals(page.context().pages().length, 1);
});

inBrowser("the sample for pages says that another origin needs --origin", async () => {
  await using server = await serveHere();
  await using opened = await open();
  await opened.page.goto(server.url);
  await opened.page.getByText("For a page on another origin, start river with --origin").waitFor();
});
