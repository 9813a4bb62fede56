// @ts-check
/// <reference lib="dom" />
/*
 * The front page: a live channel, and commands with this server's address. The figures are in
 * figures.js.
 */
import { River, version } from "./client.js";
import { showFigures } from "./figures.js";
import { element, input, make } from "./page.js";
import * as session from "./session.js";

const { base } = session;

const CHANNEL = session.channelToTry("public-channel");
const MAX_MESSAGES = 20;
/** How often the figures are read, in milliseconds. */
const PERIOD_MS = 2000;

// Commands.

function showCommands() {
  const channel = session.quoted(CHANNEL);
  const header = session.header();
  // A script ends at the first "</script", even within a string.
  const name = JSON.stringify(CHANNEL).replaceAll("<", "\\u003c");
  const token = header && `, {
    token: "a token, not the key",
  }`;
  const commands = {
    subscribe: `curl -N ${header}-d "name=${channel}" ${base}subscribe`,
    publish: `curl ${header}-d "name=${channel}&data=hello" ${base}publish`,
    catchup: `curl -N ${header}"${base}subscribe?name=${channel}&seq=0"`,
    embed: `<script type="module">
import { River } from
  "${base}client.js";
const river =
  new River("${base}"${token});
river.subscribe(${name},
  ({ data }) => alert(data));
</script>`,
  };
  for (const [id, command] of Object.entries(commands)) element(id).textContent = command;
  element("export").hidden = header === "";
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const code = element(/** @type {string} */ (button.getAttribute("data-copy")));
    try {
      await navigator.clipboard.writeText(code.textContent ?? "");
      button.textContent = "Copied";
    } catch {
      // The browser forbids copying. Select the text, so that Ctrl-C copies it.
      getSelection()?.selectAllChildren(code);
      button.textContent = "Ctrl-C";
    }
    setTimeout(() => button.textContent = "Copy", 1500);
  });
}
element("version").textContent = `push server ${version}`;
element("channel").textContent = CHANNEL;
document.addEventListener("access", showCommands);
showCommands();

// The live channel.

const river = new River(base, { token: session.token });

/**
 * @param {string} text
 * @param {number} [seq]
 */
function show(text, seq) {
  const box = element("messages");
  const list = element("list");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const body = make("span", { className: "data", dir: "auto" }, text);
  list.append(
    seq === undefined
      ? make("li", { className: "event" }, body)
      : make("li", {}, make("span", { className: "seq" }, `${seq} `), body),
  );
  while (list.children.length > MAX_MESSAGES) list.firstElementChild?.remove();
  element("empty").hidden = true;
  if (atEnd) box.scrollTop = box.scrollHeight;
}

/**
 * @param {string} text
 * @param {boolean} [wrong]
 */
function note(text, wrong = false) {
  element("note").textContent = text;
  element("note").classList.toggle("error", wrong);
}

river.addEventListener("status", (event) => {
  const { state, transport, delay, reason } = /** @type {CustomEvent} */ (event).detail;
  const label = element("state");
  label.dataset.state = state;
  if (state === "open") label.textContent = `live over ${transport}`;
  else if (state === "reconnecting") label.textContent = `retry in ${(delay / 1000).toFixed(1)} s`;
  else label.textContent = state;
  if (state !== "closed") return;
  if (element("empty").hidden) note(`Disconnected: ${reason}.`, true);
  // The token may have expired. The server says it in its own words.
  refresh();
});
river.subscribe(CHANNEL, ({ seq, data }) => show(data, seq), {
  seq: 0,
  onOpen: () => element("empty").hidden = element("list").children.length > 0,
  onGap({ from, to, reason }) {
    if (reason === "restart") show("The server restarted");
    // A new visitor has missed nothing.
    else if (from > 1) show(`Missed ${from} to ${to} (${reason})`);
  },
  onError({ message }) {
    element("empty").replaceChildren(...session.refused(CHANNEL, message));
    element("empty").hidden = element("list").children.length > 0;
  },
});
element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { value } = input("text");
  input("text").value = "";
  try {
    await river.publish(CHANNEL, value);
    note("Published: it is here and in every terminal that subscribes.");
  } catch (error) {
    note(`Not published: ${/** @type {Error} */ (error).message}`, true);
    input("text").value ||= value;
  }
});

// Figures.

async function refresh() {
  if (document.hidden) return;
  const { metrics, refusal } = await session.check();
  if (metrics !== undefined) showFigures(metrics);
  if (metrics === undefined && refusal === undefined) return;
  element("figures").hidden = metrics === undefined;
  element("hidden").hidden = metrics !== undefined;
  for (const link of document.querySelectorAll(".operate")) {
    /** @type {HTMLElement} */ (link).hidden = metrics === undefined;
  }
  if (refusal === undefined) return;
  // It will not change its mind. A server without a key shows its figures only on its own machine.
  clearInterval(refreshing);
  element("hidden").textContent = refusal.code === "local_only"
    ? "Without a key, this server shows its figures only on its own machine, at its localhost address."
    : refusal.code === "forbidden"
    ? session.sentence(refusal.message)
    : "Sign in to see the figures.";
}

// A link cannot show the token, so the page asks and shows the answer.
for (const link of document.querySelectorAll(".operate")) {
  for (const type of ["click", "auxclick"]) {
    link.addEventListener(type, async (event) => {
      if (session.token === undefined || /** @type {MouseEvent} */ (event).button > 1) return;
      event.preventDefault();
      const path = link.getAttribute("href") ?? "";
      const text = await session.ask(path).then((response) => response.text(), String);
      element("path").textContent = `/${path}`;
      element("answer").textContent = path === "channels" ? indented(text) : text;
      /** @type {HTMLDialogElement} */ (element("peek")).showModal();
    });
  }
}
element("close").addEventListener("click", () => {
  /** @type {HTMLDialogElement} */ (element("peek")).close();
});

/** @param {string} json */
function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), undefined, 2);
  } catch {
    return json;
  }
}

document.addEventListener("visibilitychange", refresh);
const refreshing = setInterval(refresh, PERIOD_MS);
refresh();
