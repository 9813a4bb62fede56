/** The chat, in a real Chromium. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { browserTests, type TestPage } from "../support/browser.ts";
import { ask, publish } from "../support/http.ts";
import {
  directionOf,
  live,
  publishByCurl,
  say,
  serveGuarded,
  shown,
  signIn,
  tokenFor,
} from "../support/pages.ts";
import { serveHere } from "../support/server.ts";
import { until } from "../support/until.ts";

/** What nobody may run, `a` being there to be called, and no longer than a name may be. */
const ATTACKS = ["<img src=x onerror=a()>", "<script>a()</script>"];

const { inBrowser, open } = browserTests();

/** Opens the chat and waits until it is connected. */
async function openChat(
  { url }: { url: string },
  { room = "", name = "" }: { room?: string; name?: string } = {},
): Promise<TestPage> {
  const opened = await open();
  await opened.page.addInitScript("globalThis.a = () => alert('it ran')");
  await opened.page.goto(`${url}/chat-demo/${room && `#${encodeURIComponent(room)}`}`);
  await live(opened.page);
  if (name !== "") await opened.page.fill("#name", name);
  return opened;
}

/** Nothing ran, nothing was refused, nothing is there that is not text. */
async function assertOnlyText({ page, problems, dialogs }: TestPage): Promise<void> {
  assertEquals([problems, dialogs], [[], []]);
  const places = ["#messages", "#rooms", "#typing"].flatMap((place) =>
    ["img", "script"].map((tag) => `${place} ${tag}`)
  );
  assertEquals(await page.locator(places.join()).count(), 0);
}

inBrowser(
  "two pages talk: messages, who is typing, rooms, and the history on arrival",
  async () => {
    await using server = await serveHere();
    await using ada = await openChat(server, { name: "Ada" });
    await using bob = await openChat(server, { name: "Bob" });
    await say(ada.page, "hello");
    await shown(bob.page, "Ada", "hello");
    await say(bob.page, "hi");
    await shown(ada.page, "Bob", "hi");
    await ada.page.locator("#text").pressSequentially("wai");
    await bob.page.locator("#typing").getByText("Ada is typing…").waitFor();
    assertEquals(await ada.page.locator("#typing").textContent(), "");
    await say(ada.page, "waited");
    await shown(bob.page, "Ada", "waited");
    await bob.page.locator("#typing:empty").waitFor({ state: "attached" });
    await bob.page.getByRole("link", { name: "help" }).click();
    await bob.page.locator("#empty", { hasText: "in #help" }).waitFor();
    assertEquals(await bob.page.locator(".message").count(), 0);
    await say(bob.page, "anyone?");
    await shown(bob.page, "Bob", "anyone?");
    await bob.page.fill("#room", "tea");
    await bob.page.press("#room", "Enter");
    await until(() => server.hub.subscribers("chat.tea") === 1);
    await bob.page.locator("#rooms [aria-current=page]").getByText("tea").waitFor();
    await say(ada.page, "still in the lobby");
    await using eve = await openChat(server);
    await shown(eve.page, "Ada", "still in the lobby");
    assertEquals(await eve.page.locator(".message .text").allTextContents(), [
      "hello",
      "hi",
      "waited",
      "still in the lobby",
    ]);
    assertEquals(await eve.page.locator(".event").count(), 0);
    await using late = await openChat(server, { room: "help" });
    await shown(late.page, "Bob", "anyone?");
    for (const { problems } of [ada, bob, eve, late]) assertEquals(problems, []);
  },
);

/** Whether each message is one's own, and whether it continues the one above. */
function kinds({ page }: Pick<TestPage, "page">): Promise<string[]> {
  return page.locator(".message").evaluateAll((items) =>
    items.map(({ classList }) => ["own", "more"].filter((kind) => classList.contains(kind)).join())
  );
}

for (const attack of ATTACKS) {
  inBrowser(`${attack} is text as a message, a name and a room`, async () => {
    await using server = await serveHere();
    await using ada = await openChat(server, { room: attack, name: attack });
    await using bob = await openChat(server, { room: attack, name: "Bob" });
    await bob.page.locator("#rooms [aria-current=page]").getByText(attack, { exact: true })
      .waitFor();
    await until(() => server.hub.subscribers(`chat.${attack}.typing`) === 2);
    await ada.page.locator("#text").pressSequentially("a");
    await bob.page.locator("#typing").getByText(`${attack} is typing…`).waitFor();
    await assertOnlyText(bob);
    await say(ada.page, attack);
    for (const { page } of [ada, bob]) await shown(page, attack, attack);
    await publishByCurl(server, `chat.${attack}`, attack);
    for (const { page } of [ada, bob]) await shown(page, "somebody", attack);
    await publishByCurl(server, `chat.${attack}`, JSON.stringify({ name: 1, text: { a: 1 } }));
    await shown(bob.page, "somebody", '{"name":1,"text":{"a":1}}');
    for (const chat of [ada, bob]) await assertOnlyText(chat);
    await using home = await open();
    await home.page.goto(server.url);
    await home.page.locator("#state[data-state=open]").waitFor();
    await publishByCurl(server, "public-channel", attack);
    await home.page.locator("#messages li").getByText(attack).waitFor();
    assertEquals(await home.page.locator("#messages img, #messages script").count(), 0);
    assertEquals([home.problems, home.dialogs], [[], []]);
  });
}

inBrowser("one author's messages stand together, and one's own apart", async () => {
  await using server = await serveHere();
  await using ada = await openChat(server, { name: "Ada" });
  await using bob = await openChat(server, { name: "Bob" });
  for (
    const [{ page }, name, text] of [[ada, "Ada", "1"], [ada, "Ada", "2"], [
      bob,
      "Bob",
      "3",
    ]] as const
  ) {
    await say(page, text);
    await shown(ada.page, name, text);
    await shown(bob.page, name, text);
  }
  // Others may have the same name.
  await using other = await openChat(server, { name: "Bob" });
  await say(other.page, "4");
  await shown(ada.page, "Bob", "4");
  assertEquals(await kinds(ada), ["own", "own,more", "", ""]);
  await shown(bob.page, "Bob", "4");
  assertEquals(await kinds(bob), ["", "more", "own", ""]);
  await bob.page.reload();
  await shown(bob.page, "Bob", "4");
  assertEquals(await kinds(bob), ["", "more", "own", ""]);
});

inBrowser("a message is not one's own because it claims to be", async () => {
  await using server = await serveHere();
  await using ada = await openChat(server, { name: "Ada" });
  await say(ada.page, "I agree");
  await shown(ada.page, "Ada", "I agree");
  const { text } = await ask(`${server.url}/subscribe?name=chat.lobby&seq=0&keep=0&format=raw`);
  const forged = text.trim().replace("I agree", "I disagree");
  await publish(server, "chat.lobby", forged);
  await publish(server, "chat.help", forged);
  await shown(ada.page, "Ada", "I disagree");
  assertEquals(await kinds(ada), ["own", ""]);
  await ada.page.getByRole("link", { name: "help" }).getByText("1 unread").waitFor();
  // Other tabs of the same browser agree.
  const tab = await ada.context.newPage();
  await tab.goto(`${server.url}/chat-demo/`);
  await shown(tab, "Ada", "I disagree");
  assertEquals(await kinds({ page: tab }), ["own", ""]);
  await say(ada.page, "Still");
  await shown(tab, "Ada", "Still");
  assertEquals(await kinds({ page: tab }), ["own", "", "own"]);
});

inBrowser(
  "rooms with unread messages are marked until they are seen, over one connection",
  async () => {
    await using server = await serveHere();
    await using ada = await openChat(server, { name: "Ada", room: "tea" });
    const { page } = ada;
    await until(() => server.hub.subscribers("chat.help") === 1);
    assertEquals(server.hub.size, 1);
    await page.getByText("Nobody has said anything in #tea").waitFor();
    const link = page.getByRole("link", { name: "help" });
    for (const text of ["one", "two"]) await publish(server, "chat.help", text);
    await link.getByText("2 unread").waitFor();
    assertEquals(await page.title(), "(2) #tea · river chat");
    await link.click();
    await shown(page, "somebody", "two");
    assertEquals(await link.innerText(), "help");
    assertEquals(await page.title(), "#help · river chat");
    await page.getByRole("link", { name: "tea" }).click();
    await publish(server, "chat.help", "three");
    await link.getByText("1 unread").waitFor();
    // What was read stays read. What was not, does not.
    await page.reload();
    await link.getByText("1 unread").waitFor();
    await link.click();
    await page.locator(".new + .message .text", { hasText: "three" }).waitFor();
    assertEquals(ada.problems, []);
  },
);

for (const room of ["__proto__", "constructor"]) {
  inBrowser(`a room named ${room} is a room as any other`, async () => {
    await using server = await serveHere();
    await using ada = await openChat(server, { room, name: "Ada" });
    const { page } = ada;
    await say(page, "hello");
    await shown(page, "Ada", "hello");
    await page.getByRole("link", { name: "lobby" }).click();
    await publish(server, `chat.${room}`, "back");
    const link = page.getByRole("link", { name: room });
    await link.getByText("1 unread").waitFor();
    await link.click();
    await shown(page, "somebody", "back");
    await page.getByRole("link", { name: "lobby" }).click();
    await publish(server, `chat.${room}`, "again");
    await link.getByText("1 unread").waitFor();
    await link.click();
    await page.locator(".new + .message .text", { hasText: "again" }).waitFor();
    const read = await page.evaluate<string>("localStorage['river:read']");
    assertMatch(read, new RegExp(`"${room}":"[0-9a-z]+-3"`));
    assertEquals(ada.problems, []);
  });
}

for (
  const damaged of [
    '{"lobby":5,"help":null}',
    '"text"',
    "[[5]]",
    '{"lobby":',
  ]
) {
  inBrowser(`the chat works if its storage holds ${damaged}`, async () => {
    await using server = await serveHere();
    await using opened = await open();
    const { page } = opened;
    await page.addInitScript(`
      if (!sessionStorage.damaged) {
        for (const key of ["me", "name", "read", "sent"]) {
          localStorage.setItem("river:" + key, ${JSON.stringify(damaged)});
        }
        sessionStorage.damaged = "yes";
      }`);
    await publish(server, "chat.lobby", "before");
    await page.goto(`${server.url}/chat-demo/`);
    await shown(page, "somebody", "before");
    await page.fill("#name", "Ada");
    await say(page, "hello");
    await shown(page, "Ada", "hello");
    await publish(server, "chat.help", "elsewhere");
    const link = page.getByRole("link", { name: "help" });
    await link.getByText("1 unread").waitFor();
    await link.click();
    // What it stores replaces what was damaged.
    await page.reload();
    await shown(page, "somebody", "elsewhere");
    await live(page);
    assertEquals(await page.title(), "#help · river chat");
    assertEquals(opened.problems, []);
  });
}

inBrowser(
  "a chat whose token is for some rooms shows those, and says why not the others",
  async () => {
    await using server = await serveGuarded();
    await using opened = await open();
    const { page } = opened;
    await page.goto(`${server.url}/chat-demo/`);
    await page.locator("#token").waitFor();
    const subscribe = ["chat.lobby", "chat.help*"];
    await signIn(
      page,
      await tokenFor({ publish: ["chat.help*"], subscribe, operate: false, expires: Infinity }),
    );
    await page.locator(".message").first().waitFor();
    assertEquals(await page.locator("#text").isDisabled(), true);
    await page.getByRole("link", { name: "random" }).click();
    await page.locator("#empty", { hasText: 'does not allow you to subscribe to "chat.random"' })
      .waitFor();
    await page.getByRole("link", { name: "help" }).click();
    await page.fill("#name", "Ada");
    await say(page, "let in");
    await shown(page, "Ada", "let in");
  },
);

inBrowser(
  "names and messages from right to left do not mix with what stands beside them",
  async () => {
    await using server = await serveHere();
    await using ada = await openChat(server, { name: "ليلى" });
    const { page } = ada;
    await say(page, "مرحبا (1)");
    await shown(page, "ليلى", "مرحبا (1)");
    const direction = (selector: string) => directionOf(page.locator(selector).last());
    assertEquals(await page.locator(".name").evaluate(({ tagName }) => tagName), "BDI");
    assertEquals(await direction(".text"), "rtl");
    assertEquals(await direction(".head"), "ltr");
    assertEquals(await direction("#text"), "ltr");
    await page.fill("#text", "مرحبا");
    assertEquals(await direction("#text"), "rtl");
  },
);

inBrowser("on a phone everything is in reach, and long words break", async () => {
  await using server = await serveGuarded();
  await using opened = await open({ viewport: { width: 390, height: 844 } });
  const { page } = opened;
  await page.goto(`${server.url}/chat-demo/#${"long-room-".repeat(4)}`);
  await signIn(page, await tokenFor());
  for (const path of ["/chat-demo/#lobby", "/"]) {
    await page.goto(server.url + path);
    await page.locator("#list li").nth(10).waitFor();
    assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 390, path);
    for (const button of await page.locator("button:visible").all()) {
      const { x, width } = (await button.boundingBox())!;
      assert(x >= 0 && x + width <= 390, `${path} ${await button.innerText()}: ${x} ${width}`);
    }
  }
  // With its keyboard open.
  await page.setViewportSize({ width: 390, height: 420 });
  await page.goto(`${server.url}/chat-demo/#${"long-room-".repeat(4)}`);
  await page.locator("#empty code").waitFor();
  for (const end of [0, 9999]) {
    await page.locator("#empty").evaluate((box, end) => box.scrollTop = end, end);
    const log = (await page.locator(".log").boundingBox())!;
    const part = page.locator(end === 0 ? "#empty b" : "#empty code");
    const { y, height } = (await part.boundingBox())!;
    if (end === 0) assert(y >= log.y, `the title begins above its place: ${y}, ${log.y}`);
    else assert(y + height <= log.y + log.height, `the command ends below its place: ${y}`);
  }
  // With its line break, without which a shell would not take it.
  assertMatch(await page.locator("#empty code").innerText(), /\\\n/);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(server.url);
  await page.locator("#list li").nth(10).waitFor();
  const top = async (id: string) => (await page.locator(id).boundingBox())!.y;
  assert(await top("#live") < await top("#try"), "the live channel comes first");
  assert(await top("#live") < 844);
});

inBrowser("the field that is to be filled in first has the focus", async () => {
  for (
    const [start, name, field] of [
      [serveHere, "", "name"],
      [serveHere, "Ada", "text"],
      [serveGuarded, "Ada", "token"],
    ] as const
  ) {
    await using server = await start();
    await using opened = await open();
    await opened.page.addInitScript(`localStorage.setItem("river:name", "${name}")`);
    await opened.page.goto(`${server.url}/chat-demo/`);
    await opened.page.locator(`#${field}:focus`).waitFor();
  }
});
