// @ts-check
/*
 * The rooms of the chat, apart from how they look. Each room is a channel, and one connection
 * carries all of them, so that a room with unread messages can be marked.
 */
// @ts-types="../static/page.js"
import { recall, remember } from "../page.js";

/** Messages that a room keeps in this page. */
const MAX_ITEMS = 200;
/** Messages of one author belong together if they are not further apart, in milliseconds. */
const TOGETHER_MS = 300_000;
const READ = "river:read";

/**
 * A message, or with an empty `by` and `name` a notice. `by` marks who wrote it. Like the name, it proves
 * nothing: this chat knows nobody.
 * @typedef {{ name: string, by: string, text: string, at: number }} Item
 */

/** The position up to which each room was read, by room. @type {Record<string, string>} */
const read = readMarks();

/** @returns {Record<string, string>} */
function readMarks() {
  try {
    return Object.assign({}, JSON.parse(recall(() => localStorage, READ)));
  } catch {
    return {};
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
   * @param {{ seq?: number, own?: boolean }} [where] `seq` of a message. `own`: it needs no reading.
   */
  add(item, { seq, own = false } = {}) {
    this.items.push(item);
    if (this.items.length > MAX_ITEMS) this.items.shift();
    if (seq === undefined) return;
    this.#seq = seq;
    const [epoch, last] = (read[this.name] ?? "").split("-");
    if (own) this.unread = 0;
    else if (epoch !== this.#epoch || seq > Number(last)) this.unread++;
  }

  /** Everything up to here is read, in other tabs and after a reload too. */
  markRead() {
    this.unread = 0;
    if (this.#epoch === "") return;
    const position = `${this.#epoch}-${this.#seq}`;
    if (read[this.name] === position) return;
    read[this.name] = position;
    remember(() => localStorage, READ, JSON.stringify(read));
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
    before.by === item.by && !(item.at - before.at > TOGETHER_MS);
}

/**
 * Parses a message of this page. Anything else, such as a message from curl, is plain text.
 *
 * @param {string} data
 * @returns {Item}
 */
export function parse(data) {
  try {
    const { name, text, at, by } = JSON.parse(data);
    if (typeof name === "string" && name !== "" && typeof text === "string") {
      return { name, text, at: Number(at), by: typeof by === "string" ? by : "" };
    }
  } catch {
    // This is not JSON: show it as plain text.
  }
  return { name: "somebody", text: data, at: NaN, by: "" };
}
