/**
 * The files of static/ and chat-demo/ and a chart library, embedded in the program. The server does
 * not read them from disk while it runs.
 *
 * @module
 */
import { eTag, ifNoneMatch } from "@std/http/etag";
import uplotJs from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotCss from "uplot/dist/uPlot.min.css" with { type: "text" };
import chatCss from "../../chat-demo/chat.css" with { type: "text" };
import chatJs from "../../chat-demo/chat.js" with { type: "text" };
import chatHtml from "../../chat-demo/index.html" with { type: "text" };
import roomsJs from "../../chat-demo/rooms.js" with { type: "text" };
import sentJs from "../../chat-demo/sent.js" with { type: "text" };
import clientJs from "../../static/client.js" with { type: "text" };
import faviconSvg from "../../static/favicon.svg" with { type: "text" };
import figuresJs from "../../static/figures.js" with { type: "text" };
import homeCss from "../../static/home.css" with { type: "text" };
import homeJs from "../../static/home.js" with { type: "text" };
import indexHtml from "../../static/index.html" with { type: "text" };
import libJs from "../../static/lib.js" with { type: "text" };
import pageJs from "../../static/page.js" with { type: "text" };
import riverCss from "../../static/river.css" with { type: "text" };
import sessionJs from "../../static/session.js" with { type: "text" };

const HTML = "text/html;charset=UTF-8";
const CSS = "text/css;charset=UTF-8";
const SCRIPT = "text/javascript;charset=UTF-8";
const SVG = "image/svg+xml";

/** One embedded file. */
export interface Asset {
  /** The content type, with its charset. */
  readonly type: string;
  /** The content. */
  readonly text: string;
  /** Whether pages of any origin may load it, as they may load the client script. */
  readonly shared?: boolean;
}

/** Every embedded file by the path under which it is served. */
export const ASSETS: ReadonlyMap<string, Asset> = new Map<string, Asset>([
  ["/", { type: HTML, text: indexHtml }],
  ["/home.css", { type: CSS, text: homeCss }],
  ["/home.js", { type: SCRIPT, text: homeJs }],
  ["/figures.js", { type: SCRIPT, text: figuresJs }],
  ["/page.js", { type: SCRIPT, text: pageJs }],
  ["/session.js", { type: SCRIPT, text: sessionJs }],
  ["/river.css", { type: CSS, text: riverCss }],
  ["/favicon.svg", { type: SVG, text: faviconSvg }],
  ["/client.js", { type: SCRIPT, text: clientJs, shared: true }],
  ["/lib.js", { type: SCRIPT, text: libJs, shared: true }],
  ["/uplot.js", { type: SCRIPT, text: uplotJs }],
  ["/uplot.css", { type: CSS, text: uplotCss }],
  ["/chat-demo/", { type: HTML, text: chatHtml }],
  ["/chat-demo/chat.css", { type: CSS, text: chatCss }],
  ["/chat-demo/chat.js", { type: SCRIPT, text: chatJs }],
  ["/chat-demo/rooms.js", { type: SCRIPT, text: roomsJs }],
  ["/chat-demo/sent.js", { type: SCRIPT, text: sentJs }],
]);

/**
 * The longest `If-None-Match` that is parsed, in characters. The time to parse a list grows with
 * the square of the number of spaces.
 */
const MAX_IF_NONE_MATCH = 256;

const etags = new Map<Asset, string | undefined>();

/**
 * Answers a request for an embedded file. Undefined if there is no file at this path.
 *
 * @param headers The headers of the request. `If-None-Match` counts.
 */
export function serveAsset(path: string, headers: Headers): Promise<Response> | undefined {
  const asset = ASSETS.get(path);
  return asset && respond(asset, headers);
}

async function respond(asset: Asset, requestHeaders: Headers): Promise<Response> {
  if (!etags.has(asset)) etags.set(asset, await eTag(asset.text));
  const etag = etags.get(asset);
  const headers = {
    "content-type": asset.type,
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    // A cache may keep a file. Unless any page may read it, the answer depends on the page's
    // origin.
    ...(asset.shared ? { "access-control-allow-origin": "*" } : { vary: "Origin" }),
    "content-security-policy":
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
      "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ...(etag === undefined ? {} : { etag }),
  };
  const known = requestHeaders.get("if-none-match");
  if (known !== null && known.length <= MAX_IF_NONE_MATCH && !ifNoneMatch(known, etag)) {
    return new Response(null, { status: 304, headers });
  }
  return new Response(asset.text, { headers });
}
