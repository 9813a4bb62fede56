// @ts-check
/*
 * The rooms of the chat, apart from how they look. Each room is a channel, and one connection
 * carries all of them, so that a room with unread messages can be marked.
 */
// @ts-types="../static/page.js"
import { recall, remember } from "../page.js";
import { isSent } from "./sent.js";

/** Messages that a room keeps in this page. */
const MAX_ITEMS = 200;
/** Messages of one author belong together if they are not further apart, in milliseconds. */
const TOGETHER_MS = 300_000;
const READ = "river:read";

/**
 * A message, or with an empty `name` a notice. `by` tells people of the same name apart. Like the
 * name, it proves nothing: this chat knows nobody. `mark` is unique. `own`: this browser sent it.
 * @typedef {{ name: string, by: string, text: string, at: number, mark: string, own: boolean }} Item
 */

/** The position up to which each room was read, by room. */
const read = readPositions();

/** @returns {Map<string, string>} What is stored. Anything but text is left out. */
function readPositions() {
  try {
    const stored = Object.entries(JSON.parse(recall(() => localStorage, READ)));
    return new Map(stored.filter(([, position]) => typeof position === "string"));
  } catch {
    return new Map();
  }
}

export class Room {
  /** @type {Item[]} */ items = [];
  /** How many of the last messages are unread. */
  unread = 0;
  /** Whether all of the history that the server keeps has been asked for. */
  opened = false;
  /** Why the server lets nobody in, in its words. */
  refusal = "";
  /** The position of the last message. */
  #epoch = "";
  #seq = 0;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.channel = `chat.${name}`;
  }

  /** @param {string} position */
  moveTo(position) {
    const [epoch, seq] = position.split("-");
    this.#epoch = epoch;
    this.#seq = Number(seq);
  }

  /**
   * @param {Item} item
   * @param {number} [seq] The number of a message.
   */
  add(item, seq) {
    this.items.push(item);
    if (this.items.length > MAX_ITEMS) this.items.shift();
    if (seq === undefined) return;
    this.#seq = seq;
    item.own = isSent(item.mark, this.channel, `${this.#epoch}-${seq}`);
    const [epoch, last] = (read.get(this.name) ?? "").split("-");
    if (item.own) this.unread = 0;
    else if (epoch !== this.#epoch || seq > Number(last)) this.unread++;
  }

  /** Everything up to here is read, in other tabs and after a reload too. */
  markRead() {
    this.unread = 0;
    if (this.#epoch === "") return;
    const position = `${this.#epoch}-${this.#seq}`;
    if (read.get(this.name) === position) return;
    read.set(this.name, position);
    remember(() => localStorage, READ, JSON.stringify(Object.fromEntries(read)));
  }
}

/**
 * Whether two messages are shown as one group.
 *
 * @param {Item | undefined} before
 * @param {Item} item
 */
export function belongTogether(before, item) {
  return before !== undefined && before.name !== "" && before.name === item.name &&
    before.by === item.by && before.own === item.own && !(item.at - before.at > TOGETHER_MS);
}

/**
 * Parses a message of this page. Anything else, such as a message from curl, is plain text.
 *
 * @param {string} data
 * @returns {Item}
 */
export function parse(data) {
  try {
    const { name, text, at, by, mark } = JSON.parse(data);
    if (typeof name === "string" && name !== "" && typeof text === "string") {
      return { name, text, at: Number(at), by: String(by), mark: String(mark), own: false };
    }
  } catch {
    // This is not JSON: show it as plain text.
  }
  return { name: "somebody", text: data, at: NaN, by: "", mark: "", own: false };
}
