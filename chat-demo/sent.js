// @ts-check
/*
 * The messages that this browser sent, by the mark in each. Nothing in a message proves who sent it:
 * everybody can copy a mark that they have seen. So a mark counts for one message alone, the first
 * that arrives with it.
 */
// @ts-types="../static/page.js"
import { recall, remember } from "../page.js";

/** How many marks are kept: as many as a room shows messages. */
const MAX_SENT = 200;
const SENT = "river:sent";

/** What was stored or read last. */
let stored = "";
/**
 * Where the message of each mark is: its channel, and its position there once it has arrived.
 * @type {Map<string, string>}
 */
let places = new Map();

/** Takes over what other tabs have stored: they send too. */
function load() {
  const found = recall(() => localStorage, SENT);
  if (found === "" || found === stored) return;
  stored = found;
  try {
    places = new Map(Object.entries(JSON.parse(found)));
  } catch {
    // It is damaged. The next message replaces it.
  }
}

/**
 * @param {string} mark
 * @param {string} place
 */
function save(mark, place) {
  places.set(mark, place);
  places = new Map([...places].slice(-MAX_SENT));
  stored = JSON.stringify(Object.fromEntries(places));
  remember(() => localStorage, SENT, stored);
}

/**
 * A mark for a message that is about to be sent. Nobody can guess it.
 *
 * @param {string} channel
 */
export function newMark(channel) {
  const mark = crypto.getRandomValues(new Uint32Array(4)).join("-");
  load();
  save(mark, channel);
  return mark;
}

/**
 * Whether this browser sent the message at this position.
 *
 * @param {string} mark
 * @param {string} channel
 * @param {string} position
 */
export function isSent(mark, channel, position) {
  load();
  const place = `${channel} ${position}`;
  if (places.get(mark) === channel) save(mark, place);
  return places.get(mark) === place;
}
