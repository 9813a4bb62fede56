// @ts-check
/// <reference lib="dom" />
/*
 * A chat in one page. The part of the address after `#` is the room, and each room is a channel.
 * Typing notices have a channel of their own, so that they do not push messages out of the history.
 */
// @ts-types="../static/client.js"
import { River } from "../client.js";

const ROOMS = ["lobby", "help", "random"];
const MAX_MESSAGES = 500;
const COLOURS = 10;
/** How often "is typing" is sent, and how long it is shown, in milliseconds. */
const TYPING_EVERY_MS = 2000;
const TYPING_FOR_MS = 3500;

/** @param {string} id */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} id */
function input(id) {
  return /** @type {HTMLInputElement} */ (element(id));
}

/** The key or token that was typed into the front page, if the server asks for one. */
const token = sessionStorage.getItem("river:token") ?? undefined;
const river = new River(new URL("..", location.href), { token });
const me = Math.random().toString(36).slice(2);
/** @type {{ close(): void }[]} */
let subscriptions = [];
let room = "";
/**
 * The people who are typing, each with the timer that forgets them.
 * @type {Map<string, ReturnType<typeof setTimeout>>}
 */
const typing = new Map();
let lastTyped = 0;

// Everything that others write goes into text nodes, so nothing is parsed as HTML.

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} text
 */
function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

/** @param {string} name */
function colourOf(name) {
  let hash = 0x811c9dc5;
  for (const char of name) {
    hash = Math.imul(hash ^ /** @type {number} */ (char.codePointAt(0)), 0x01000193) >>> 0;
  }
  return `c${hash % COLOURS}`;
}

/**
 * Adds an item to the list. If the end of the list was in view, keeps it in view.
 *
 * @param {HTMLElement} item
 */
function append(item) {
  const list = element("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(item);
  while (list.children.length > MAX_MESSAGES) list.firstElementChild?.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** @param {string} text */
function showEvent(text) {
  append(make("li", "event", text));
}

/** @param {string} data */
function showMessage(data) {
  const { name, text, at } = parse(data);
  const item = make("li", `message ${colourOf(name)}`, "");
  const head = document.createElement("div");
  const time = document.createElement("time");
  const date = new Date(at);
  if (!Number.isNaN(date.getTime())) {
    time.dateTime = date.toISOString();
    time.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  }
  head.append(make("span", "name", name), time);
  const avatar = make("span", "avatar", ([...name][0] ?? "?").toUpperCase());
  avatar.ariaHidden = "true";
  item.append(avatar, head, make("div", "text", text));
  append(item);
  forget(name);
}

/**
 * Parses a message of this page. Anything else, such as a message from curl, is plain text.
 *
 * @param {string} data
 */
function parse(data) {
  try {
    const { name, text, at } = JSON.parse(data);
    if (typeof name === "string" && typeof text === "string") return { name, text, at: Number(at) };
  } catch {
    // This is not JSON: show it as plain text.
  }
  return { name: "somebody", text: data, at: NaN };
}

function showTyping() {
  const names = [...typing.keys()].slice(0, 3);
  element("typing").textContent = names.length === 0
    ? ""
    : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing…`;
}

/** @param {string} name */
function forget(name) {
  clearTimeout(typing.get(name));
  typing.delete(name);
  showTyping();
}

/** @param {string} data */
function noteTyping(data) {
  const [who, name] = data.split("\n", 2);
  if (who === me || !name) return;
  clearTimeout(typing.get(name));
  typing.set(name, setTimeout(() => forget(name), TYPING_FOR_MS));
  showTyping();
}

function enter() {
  let wanted = "";
  try {
    wanted = [...decodeURIComponent(location.hash.slice(1)).trim()].slice(0, 40).join("");
  } catch {
    // The address holds no valid name: use the lobby.
  }
  wanted ||= ROOMS[0];
  if (wanted === room) return;
  room = wanted;
  if (!ROOMS.includes(room)) ROOMS.push(room);
  document.title = `#${room} · river chat`;
  element("rooms").replaceChildren(...ROOMS.map((name) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${encodeURIComponent(name)}`;
    link.textContent = name;
    if (name === room) link.setAttribute("aria-current", "page");
    item.append(link);
    return item;
  }));
  for (const name of [...typing.keys()]) forget(name);
  element("messages").replaceChildren();
  for (const subscription of subscriptions) subscription.close();
  const channel = `chat.${room}`;
  let arrived = false;
  subscriptions = [
    river.subscribe(channel, ({ data }) => showMessage(data), {
      seq: 0,
      onOpen() {
        arrived = true;
      },
      onGap({ from, to, reason }) {
        if (reason === "restart") showEvent("The server restarted.");
        // A new visitor has missed nothing, however old the room is.
        else if (from > 1) showEvent(`Messages ${from} to ${to} are lost.`);
        else if (!arrived) showEvent("Older messages are gone.");
      },
      onError: ({ message }) => showEvent(message),
    }),
    river.subscribe(`${channel}.typing`, ({ data }) => noteTyping(data)),
  ];
}

river.addEventListener("status", (event) => {
  const { state, delay } = /** @type {CustomEvent} */ (event).detail;
  const label = element("state");
  label.dataset.state = state;
  label.textContent = state === "open"
    ? "connected"
    : state === "reconnecting"
    ? `retry in ${(delay / 1000).toFixed(1)} s`
    : state;
});

element("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = input("name").value.trim();
  const text = input("text").value.trim();
  if (name === "" || text === "") return;
  localStorage.setItem("river:name", name);
  input("text").value = "";
  lastTyped = 0;
  try {
    await river.publish(`chat.${room}`, JSON.stringify({ name, text, at: Date.now() }));
  } catch (error) {
    showEvent(`Not sent: ${/** @type {Error} */ (error).message}`);
    input("text").value = text;
  }
});

element("text").addEventListener("input", () => {
  const name = input("name").value.trim();
  if (name === "" || Date.now() - lastTyped < TYPING_EVERY_MS) return;
  lastTyped = Date.now();
  river.publish(`chat.${room}.typing`, `${me}\n${name}`).catch(() => {});
});

element("join").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = `#${encodeURIComponent(input("room").value.trim())}`;
  input("room").value = "";
  element("text").focus();
});

addEventListener("hashchange", enter);
input("name").value = localStorage.getItem("river:name") ?? "";
element(input("name").value === "" ? "name" : "text").focus();
enter();
