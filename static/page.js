// @ts-check
/// <reference lib="dom" />
/*
 * What the front page and the chat use of the browser: elements, and storage.
 */

/** @param {string} id */
export function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} id */
export function input(id) {
  return /** @type {HTMLInputElement} */ (element(id));
}

/**
 * Makes an element. Everything that others write becomes a text node: nothing is parsed as HTML.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} fields
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, fields = {}, ...children) {
  const node = Object.assign(document.createElement(tag), fields);
  node.append(...children);
  return node;
}

/**
 * Reads what is stored. Browsers may forbid that.
 *
 * @param {() => Storage} storage
 * @param {string} key
 */
export function recall(storage, key) {
  try {
    return storage().getItem(key) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {() => Storage} storage
 * @param {string} key
 * @param {string} value
 */
export function remember(storage, key, value) {
  try {
    storage().setItem(key, value);
  } catch {
    // It lasts as long as the page.
  }
}
