/** What pages of other sites can do, in a real Chromium. */
import { assert, assertEquals } from "@std/assert";
import { mintToken } from "../../lib/access/tokens.ts";
import { browserTests, heardOnce, listeningPage, serveSite } from "../support/browser.ts";
import { metric, serveHere } from "../support/server.ts";

const { inBrowser, open } = browserTests();

inBrowser("a page whose origin is not allowed gets nothing and cannot publish", async () => {
  await using site = serveSite();
  await using server = await serveHere("--origin", "https://example.com");
  await using opened = await open();
  const { page } = opened;
  site.html = listeningPage(server.url);
  await page.goto(site.origin);
  await heardOnce(page, "heard.statuses.some(({ state }) => state === 'reconnecting')");
  for (const data of ["0", "1"]) server.hub.publish({ channel: "x", data });
  const outcome = (script: string) =>
    page.evaluate<string>(`${script}.then(() => "done", (error) => error.name)`);
  const subscribe = `fetch("${server.url}/subscribe?name=x&seq=0")`;
  assertEquals(await outcome(subscribe), "TypeError");
  const body = `{ method: "POST", mode: "no-cors", body: new URLSearchParams("name=x&data=evil") }`;
  await outcome(`fetch("${server.url}/publish", ${body})`);
  await outcome(`fetch("${server.url}/publish", { ...${body}, mode: "cors" })`);
  assertEquals(await outcome(`river.publish("x", "evil")`), "TypeError");
  const socket = `new Promise((resolve, reject) => Object.assign(
    new WebSocket("${server.url.replace("http", "ws")}/websocket?name=x&seq=0"),
    { onmessage: resolve, onopen: resolve, onerror: () => reject(new Error()) }))`;
  assertEquals(await outcome(socket), "Error");
  await heardOnce(
    page,
    "heard.statuses.filter(({ state }) => state === 'reconnecting').length >= 2",
  );
  const { messages, opens, statuses } = await heardOnce(page, "true");
  assertEquals([messages, opens, statuses.filter(({ state }) => state === "open")], [[], [], []]);
  assertEquals(await metric(server, "river_messages_published_total"), 2);
  assertEquals(server.hub.size, 0);
});

for (const allowed of [true, false]) {
  inBrowser(
    `scripts and images of a page ${allowed ? "that is allowed" : "that is not allowed"} ${
      allowed ? "" : "neither "
    }get messages by JSONP ${allowed ? "and" : "nor"} publish`,
    async () => {
      await using site = serveSite();
      await using server = await serveHere(
        "--origin",
        allowed ? site.origin : "https://example.com",
      );
      server.hub.publish({ channel: "x", data: "0" });
      await using opened = await open();
      site.html = `<script>var got = []; function take([, { data }]) { got.push(data); }</script>
      <img src="${server.url}/publish?name=y&data=hi">
      <script src="${server.url}/subscribe?name=x&seq=0&callback=take"></script>
      <img referrerpolicy="no-referrer" src="${server.url}/publish?name=z&data=hi">`;
      await opened.page.goto(site.origin);
      assertEquals(await opened.page.evaluate("got"), allowed ? ["0"] : []);
      assertEquals(await metric(server, "river_messages_published_total"), allowed ? 2 : 1);
      await opened.page.goto(server.url);
      await opened.page.locator("#state[data-state=open]").waitFor();
    },
  );
}

for (const policy of ["", "no-referrer"]) {
  inBrowser(
    `a form of a page that is not allowed cannot publish, referrer policy ${policy || "default"}`,
    async () => {
      await using site = serveSite();
      await using server = await serveHere("--origin", "https://example.com");
      await using opened = await open();
      site.html = `<meta name="referrer" content="${policy}">
      <form method="post" action="${server.url}/publish"><input name="name" value="x">
      <input name="data" value="hi"></form>`;
      await opened.page.goto(site.origin);
      await Promise.all([
        opened.page.waitForURL(`${server.url}/publish`),
        opened.page.evaluate("document.forms[0].submit()"),
      ]);
      assert((await opened.page.textContent("body"))!.includes("forbidden_origin"));
      assertEquals(await metric(server, "river_messages_published_total"), 0);
    },
  );
}

inBrowser("a page of another origin uses the cookie, if its origin is listed", async () => {
  const secret = "0123456789abcdef0123456789abcdef";
  await using app = await serveHere();
  const claims = { publish: ["*"], subscribe: ["*"], operate: false, expires: Infinity };
  const token = await mintToken(secret, claims);
  for (const [origin, status] of [[app.url, "200"], ["*", "TypeError"]]) {
    await using server = await serveHere("--token-secret", secret, "--origin", origin);
    await using opened = await open();
    const { page } = opened;
    const url = server.url;
    await page.context().addCookies([{ name: "river_token", value: token, url }]);
    // A page without a policy of its own.
    await page.goto(`${app.url}/healthz`);
    const seen = await page.evaluate<string>(
      `fetch("${url}/publish?name=x&data=a", { credentials: "include" })
        .then(({ status }) => String(status), ({ name }) => name)`,
    );
    assertEquals(seen, status);
    assertEquals(server.engine.usage().messages, status === "200" ? 1 : 0);
  }
});
