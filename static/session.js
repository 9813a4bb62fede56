// @ts-check
/// <reference lib="dom" />
/*
 * The sign-in that the front page and the chat share.
 *
 * The key or token stays in the session storage: in this tab, until it is closed. A cookie would
 * leave with every request to this host, to other ports too, and with those that other pages cause.
 */
import { element, make, recall, remember } from "./page.js";

/** The address of the server. */
export const base = new URL(".", import.meta.url);

const KEY = `river:token:${base}`;
/** How many patterns of a token are shown. */
const MAX_SHOWN = 4;

/**
 * What a token allows, as it says itself. Undefined for a key.
 * @typedef {{ publish: string[], subscribe: string[], operate: boolean, expires: number }} Rights
 */

/** The key or token of this tab. */
export const token = recall(() => sessionStorage, KEY) || undefined;
const rights = token === undefined ? undefined : rightsOf(token);
/** Whether the server asks for a key or token, as far as we know. */
let needed = token !== undefined;

/**
 * Reads what a token says. Only the server knows whether that is true.
 *
 * @param {string} text
 * @returns {Rights | undefined}
 */
function rightsOf(text) {
  try {
    const base64 = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const { river, exp = Infinity } = JSON.parse(new TextDecoder().decode(bytes));
    const { publish = [], subscribe = [], operate = false } = river;
    const patterns = [publish, subscribe].flat();
    const listed = Array.isArray(publish) && Array.isArray(subscribe);
    if (!listed || patterns.some((pattern) => typeof pattern !== "string")) return undefined;
    return { publish, subscribe, operate, expires: exp * 1000 };
  } catch {
    return undefined;
  }
}

/**
 * Whether the token allows this. A key allows everything.
 *
 * @param {"publish" | "subscribe"} action
 * @param {string} channel
 */
export function allows(action, channel) {
  return rights === undefined ||
    rights[action].some((pattern) =>
      pattern.endsWith("*") ? channel.startsWith(pattern.slice(0, -1)) : pattern === channel
    );
}

/**
 * A channel to try: the usual one, or the first that the token allows.
 *
 * @param {string} usual
 */
export function channelToTry(usual) {
  if (rights === undefined || allows("subscribe", usual)) return usual;
  const names = [...rights.publish, ...rights.subscribe].map((name) => name.replace(/\*$/, "demo"));
  return names.find((name) => allows("publish", name) && allows("subscribe", name)) ??
    names.find((name) => allows("subscribe", name)) ?? usual;
}

/**
 * A channel's name as it can stand in a URL and between quotes in a shell.
 *
 * @param {string} channel
 */
export function quoted(channel) {
  return encodeURIComponent(channel).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16)}`,
  );
}

/** With it `curl` shows the key or token that is in the variable TOKEN of a shell. */
export function header() {
  return needed ? '-H "Authorization: Bearer $TOKEN" \\\n' : "";
}

/**
 * Asks for something that needs the credential.
 *
 * @param {string} path
 * @param {string} [credential]
 */
export function ask(path, credential = token) {
  const headers = new Headers();
  if (credential !== undefined) headers.set("authorization", `Bearer ${encoded(credential)}`);
  return fetch(new URL(path, base), { headers, cache: "no-store" });
}

/**
 * A text as its UTF-8 bytes, as far as a header can hold them: one character per byte.
 *
 * @param {string} text
 */
function encoded(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** @typedef {{ code: string, message: string }} Refusal */

/**
 * Asks for the metrics, and shows the sign-in if the server wants one.
 *
 * @returns {Promise<{ metrics?: string, refusal?: Refusal }>} Neither if the server cannot be
 * reached, or is about to leave.
 */
export async function check() {
  try {
    const response = await ask("metrics");
    if (response.ok) {
      showSignIn(token === undefined ? "" : "in");
      return { metrics: await response.text() };
    }
    if (response.status !== 401 && response.status !== 403) return {};
    const refusal = await refusalIn(response);
    if (response.status === 401) {
      needed = true;
      showSignIn("out", token === undefined ? undefined : refusal);
    } else {
      showSignIn(token === undefined || refusal.code === "local_only" ? "" : "in");
    }
    return { refusal };
  } catch {
    return {};
  }
}

/**
 * The server's own words for a refusal. The header says the reason alone.
 *
 * @param {Response} response
 * @returns {Promise<Refusal>}
 */
async function refusalIn(response) {
  const { error } = await response.json();
  const header = response.headers.get("www-authenticate") ?? "";
  const reason = /error_description="([^"]+)"/.exec(header)?.[1] ?? error.message;
  return { code: String(error.code), message: String(reason) };
}

/**
 * What stands where messages would be, if the server refuses them.
 *
 * @param {string} channel
 * @param {string} reason
 */
export function refused(channel, reason) {
  return [
    make("b", {}, "You cannot read ", make("bdi", {}, channel)),
    make("span", { className: "error", dir: "auto" }, sentence(reason)),
  ];
}

/** @param {string} words */
export function sentence(words) {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`;
}

/** What is shown, so that nothing changes while somebody types. */
let shown = "";

/**
 * Shows the form, what the credential allows, or nothing.
 *
 * @param {"out" | "in" | ""} state
 * @param {Refusal} [refusal]
 */
function showSignIn(state, refusal) {
  const now = JSON.stringify([state, refusal]);
  if (now === shown) return;
  shown = now;
  const place = element("access");
  place.hidden = state === "";
  place.replaceChildren(
    ...state === "in" ? [summary(), signOut()] : state === "out" ? [form(refusal)] : [],
  );
  document.dispatchEvent(new Event("access"));
}

function summary() {
  if (rights === undefined) {
    return make("p", {}, "You hold the key: it allows everything.");
  }
  const { publish, subscribe, operate, expires } = rights;
  const until = Number.isFinite(expires) ? `, until ${new Date(expires).toLocaleString()}` : "";
  return make(
    "p",
    {},
    "Your token allows you to publish to ",
    ...patterns(publish),
    ", subscribe to ",
    ...patterns(subscribe),
    operate ? ", and see channels and metrics" : "",
    `${until}.`,
  );
}

/** @param {string[]} list */
function patterns(list) {
  const shown = list.slice(0, MAX_SHOWN).flatMap((pattern, i) => [
    i > 0 ? ", " : "",
    make("code", { dir: "auto" }, pattern),
  ]);
  const rest = list.length - MAX_SHOWN;
  if (list.length === 0) return ["nothing"];
  return rest > 0 ? [...shown, ` and ${rest} more`] : shown;
}

function signOut() {
  const button = make("button", { type: "button", className: "plain" }, "Sign out");
  button.addEventListener("click", () => {
    remember(() => sessionStorage, KEY, "");
    location.reload();
  });
  return button;
}

/** @param {Refusal} [refusal] */
function form(refusal) {
  const field = make("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    required: true,
    placeholder: "Key or token",
  });
  const error = make("p", { id: "denied", className: "error", role: "alert" });
  const form = make(
    "form",
    {},
    make("label", { htmlFor: "token" }, "This server asks for a key or a token."),
    make("div", { className: "row" }, field, make("button", {}, "Sign in")),
    error,
  );
  field.setAttribute("aria-describedby", "denied");
  /** @param {{ code?: string, message: string }} refusal */
  const deny = ({ code, message }) => {
    error.replaceChildren(`Not accepted: ${message} `, ...(code ? [make("code", {}, code)] : []));
  };
  if (refusal !== undefined) deny(refusal);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const value = field.value.trim();
      const response = await ask("metrics", value);
      // A token that does not allow this is still a good one.
      if (!response.ok && response.status !== 403) {
        deny(await refusalIn(response));
        return field.select();
      }
      remember(() => sessionStorage, KEY, value);
      location.reload();
    } catch {
      deny({ message: "the server cannot be reached" });
    }
  });
  return form;
}
