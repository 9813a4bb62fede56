/**
 * The files of static/ and chat-demo/, embedded in the program: nothing is read while it runs.
 *
 * @module
 */
import { eTag, ifNoneMatch } from "@std/http/etag";
import chatCss from "../chat-demo/chat.css" with { type: "text" };
import chatHtml from "../chat-demo/index.html" with { type: "text" };
import chatJs from "../chat-demo/chat.js" with { type: "text" };
import indexHtml from "../static/index.html" with { type: "text" };
import riverCss from "../static/river.css" with { type: "text" };

const HTML = "text/html;charset=UTF-8";
const CSS = "text/css;charset=UTF-8";
const SCRIPT = "text/javascript;charset=UTF-8";

/** An embedded file. */
export interface Asset {
  /** Its `Content-Type`. */
  readonly type: string;
  /** Its content. */
  readonly text: string;
}

/** Every embedded file by the path under which it is served. */
export const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ["/", { type: HTML, text: indexHtml }],
  ["/river.css", { type: CSS, text: riverCss }],
  ["/chat-demo/", { type: HTML, text: chatHtml }],
  ["/chat-demo/chat.css", { type: CSS, text: chatCss }],
  ["/chat-demo/chat.js", { type: SCRIPT, text: chatJs }],
]);

const etags = new Map<Asset, string | undefined>();

/**
 * Answers a request for an embedded file; undefined if there is none at this path.
 *
 * @param headers For `If-None-Match`.
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
    "content-security-policy":
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
      "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ...(etag === undefined ? {} : { etag }),
  };
  if (!ifNoneMatch(requestHeaders.get("if-none-match"), etag)) {
    return new Response(null, { status: 304, headers });
  }
  return new Response(asset.text, { headers });
}
