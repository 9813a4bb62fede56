// @ts-check
/// <reference lib="dom" />
/*
 * A chat in one page. The part of the address after `#` is the room, and each room is a channel.
 * Typing notices have a channel of their own, so that they do not push messages out of the history.
 */
// @ts-types="../static/client.js"
import { River } from "../client.js";
// @ts-types="../static/page.js"
import { element, input, make, recall, remember } from "../page.js";
// @ts-types="../static/session.js"
import * as session from "../session.js";
import { belongTogether, parse, Room } from "./rooms.js";
import { newMark } from "./sent.js";

/** @typedef {import("./rooms.js").Item} Item */

const MAX_SHOWN = 200;
const MAX_COUNT = 99;
const COLOURS = 10;
/** How often "is typing" is sent, and how long it is shown, in milliseconds. */
const TYPING_EVERY_MS = 2000;
const TYPING_FOR_MS = 3500;
/** Closer to the end than this, in pixels, the list follows new messages. */
const END_PX = 80;

const stored = () => localStorage;
const me = recall(stored, "river:me") || Math.random().toString(36).slice(2);
remember(stored, "river:me", me);

const river = new River(session.base, { token: session.token });
/** @type {Map<string, Room>} */
const rooms = new Map();
/** The room that is shown. @type {Room} */
let room;
/** @type {{ close(): void } | undefined} */
let typists;
/**
 * The people who are typing, each with the timer that forgets them.
 * @type {Map<string, ReturnType<typeof setTimeout>>}
 */
const typing = new Map();
let lastTyped = 0;

// Messages.

/** @param {string} name */
function colourOf(name) {
  let hash = 0x811c9dc5;
  for (const char of name) {
    hash = Math.imul(hash ^ /** @type {number} */ (char.codePointAt(0)), 0x01000193) >>> 0;
  }
  return `c${hash % COLOURS}`;
}

/**
 * @param {Item} item
 * @param {Item} [before] The one above it.
 */
function nodeOf(item, before) {
  const { name, text, own, at } = item;
  if (name === "") return make("li", { className: "event", dir: "auto" }, text);
  const time = make("time");
  const date = new Date(at);
  if (!Number.isNaN(date.getTime())) {
    time.dateTime = date.toISOString();
    time.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  }
  const kinds = ["message", colourOf(name)];
  if (own) kinds.push("own");
  if (belongTogether(before, item)) kinds.push("more");
  const avatar = make("span", { className: "avatar" }, [...name][0].toUpperCase());
  avatar.ariaHidden = "true";
  return make(
    "li",
    { className: kinds.join(" ") },
    avatar,
    make("div", { className: "head" }, make("bdi", { className: "name", title: name }, name), time),
    make("div", { className: "text", dir: "auto" }, text),
  );
}

/** Shows all of the room, with a line above what is unread. */
function showRoom() {
  const { items, unread } = room;
  const nodes = items.map((item, i) => nodeOf(item, items[i - 1]));
  const first = nodes.filter(({ className }) => className !== "event").at(-unread);
  element("list").replaceChildren(...nodes);
  if (unread > 0 && first !== nodes[0]) {
    first?.before(make("li", { className: "event new" }, "New"));
  }
  element("messages").scrollTop = element("messages").scrollHeight;
  showState();
}

/**
 * @param {Room} where
 * @param {Item} item
 * @param {number} [seq]
 */
function add(where, item, seq) {
  const before = where.items.at(-1);
  where.add(item, seq);
  if (item.name !== "") forget(item.name);
  if (where === room) {
    const box = element("messages");
    const atEnd = item.own || box.scrollHeight - box.scrollTop - box.clientHeight < END_PX;
    element("list").append(nodeOf(item, before));
    while (element("list").children.length > MAX_SHOWN) element("list").firstElementChild?.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
    if (!document.hidden) room.markRead();
  }
  showState();
}

/**
 * @param {Room} where
 * @param {string} text
 */
function addEvent(where, text) {
  add(where, { name: "", by: "", text, at: NaN, mark: "", own: false });
}

/** Shows which rooms are unread, and what stands in an empty one. */
function showState() {
  let unread = 0;
  for (const link of element("rooms").querySelectorAll("a")) {
    const there = /** @type {Room} */ (rooms.get(link.title));
    unread += there.unread;
    const count = /** @type {HTMLElement} */ (link.querySelector(".count"));
    count.hidden = there.unread === 0;
    count.replaceChildren(
      there.unread > MAX_COUNT ? `${MAX_COUNT}+` : String(there.unread),
      make("span", { className: "unseen" }, " unread"),
    );
  }
  document.title = `${unread > 0 ? `(${unread}) ` : ""}#${room.name} · river chat`;
  const allowed = session.allows("publish", room.channel);
  input("text").disabled = input("send").disabled = !allowed;
  input("text").placeholder = allowed ? "Message" : "You may not write here";
  const box = element("empty");
  box.hidden = room.items.length > 0 || !(room.opened || room.refusal);
  if (!box.hidden) showEmpty(box);
}

/** @param {HTMLElement} box */
function showEmpty(box) {
  const { name, channel, refusal } = room;
  if (refusal !== "") return box.replaceChildren(...session.refused(`#${name}`, refusal));
  const data = `-d "name=${session.quoted(channel)}&data=hello"`;
  box.replaceChildren(
    make("b", {}, "Nobody has said anything in ", make("bdi", {}, `#${name}`)),
    "Be the first, or write from a terminal:",
    make("code", {}, `curl ${session.header()}${data} ${session.base}publish`),
  );
}

// Typing.

function showTyping() {
  const names = [...typing.keys()].slice(0, 3);
  element("typing").replaceChildren(
    ...names.flatMap((name, i) => [i > 0 ? ", " : "", make("bdi", {}, name)]),
    names.length === 0 ? "" : ` ${names.length === 1 ? "is" : "are"} typing…`,
  );
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

// Rooms.

/** @param {string} name */
function join(name) {
  const room = new Room(name);
  rooms.set(name, room);
  river.subscribe(room.channel, ({ seq, data }) => add(room, parse(data), seq), {
    seq: 0,
    onOpen({ cursor }) {
      room.moveTo(cursor);
      room.opened = true;
      room.refusal = "";
      showState();
    },
    onGap({ from, to, epoch, reason }) {
      if (reason === "restart") addEvent(room, "The server restarted.");
      // A new visitor has missed nothing, however old the room is.
      else if (from > 1) addEvent(room, `Messages ${from} to ${to} are lost.`);
      room.moveTo(`${epoch}-${to}`);
    },
    onError({ message }) {
      room.refusal = message;
      showState();
    },
  });
  const link = make(
    "a",
    { href: `#${encodeURIComponent(name)}`, title: name },
    make("bdi", {}, name),
    make("span", { className: "count", hidden: true }),
  );
  element("rooms").append(make("li", {}, link));
  return room;
}

/** The room that the address names. */
function wanted() {
  try {
    const name = decodeURIComponent(location.hash.slice(1)).trim();
    return [...name].slice(0, 40).join("") || "lobby";
  } catch {
    // The address holds no valid name.
    return "lobby";
  }
}

function enter() {
  const name = wanted();
  if (name === room?.name) return;
  room = rooms.get(name) ?? join(name);
  for (const link of element("rooms").querySelectorAll("a")) {
    if (link.title === name) {
      link.ariaCurrent = "page";
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.ariaCurrent = null;
  }
  element("title").replaceChildren("Messages in ", make("bdi", {}, `#${name}`));
  element("note").textContent = "";
  for (const name of [...typing.keys()]) forget(name);
  typists?.close();
  const channel = `${room.channel}.typing`;
  typists = session.allows("subscribe", channel)
    ? river.subscribe(channel, ({ data }) => noteTyping(data))
    : undefined;
  showRoom();
  room.markRead();
  showState();
}

river.addEventListener("status", (event) => {
  const { state, delay, reason } = /** @type {CustomEvent} */ (event).detail;
  const label = element("state");
  label.dataset.state = state;
  label.textContent = state === "open"
    ? "connected"
    : state === "reconnecting"
    ? `retry in ${(delay / 1000).toFixed(1)} s`
    : state;
  if (state !== "closed") return;
  if (element("empty").hidden) element("note").textContent = `Disconnected: ${reason}.`;
  // The token may have expired. The server says it in its own words.
  session.check();
});

element("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = input("name").value.trim();
  const text = input("text").value.trim();
  if (name === "" || text === "") return;
  remember(stored, "river:name", name);
  input("text").value = "";
  element("note").textContent = "";
  lastTyped = 0;
  try {
    const { channel } = room;
    const mark = newMark(channel);
    await river.publish(channel, JSON.stringify({ name, text, at: Date.now(), by: me, mark }));
  } catch (error) {
    element("note").textContent = `Not sent: ${/** @type {Error} */ (error).message}`;
    input("text").value ||= text;
  }
});

element("text").addEventListener("input", () => {
  const name = input("name").value.trim();
  if (name === "" || Date.now() - lastTyped < TYPING_EVERY_MS) return;
  lastTyped = Date.now();
  const channel = `${room.channel}.typing`;
  if (session.allows("publish", channel)) river.publish(channel, `${me}\n${name}`).catch(() => {});
});

element("join").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = `#${encodeURIComponent(input("room").value.trim())}`;
  input("room").value = "";
  element("text").focus();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  room.markRead();
  showState();
});
document.addEventListener("access", () => room && showState());
addEventListener("hashchange", enter);
for (const name of ["lobby", "help", "random"]) join(name);
enter();
input("name").value = recall(stored, "river:name");
session.check().then(() => {
  if (document.activeElement !== document.body) return;
  const token = document.getElementById("token");
  (token ?? element(input("name").value === "" ? "name" : "text")).focus();
});
