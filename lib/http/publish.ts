/**
 * The route `/publish`.
 *
 * @module
 */
import type { Grant } from "../access/access.ts";
import type { ClientRate } from "../access/rate_limit.ts";
import { SLICE_MS, turn } from "../base/event_loop.ts";
import type { Publication, Receipt } from "../core/engine.ts";
import { checkData, checkName, checkType } from "../core/names.ts";
import { badParameter, Refusal } from "../core/refusal.ts";
import { checkPublishRate } from "./admission.ts";
import type { BodyReader } from "./body.ts";
import { type Call, granted, json, JSON_HEADERS, type Parts, RECEIPT_HEADERS } from "./call.ts";
import { isJson, isJsonLines, mayHoldToken } from "./content_type.ts";
import { parseJson, startOfMember, withoutMark } from "./json.ts";
import type { ParameterName } from "./parameter_names.ts";
import { addBody, Params, type RequestLimits } from "./params.ts";

/** The optional parameters of `/publish`. */
const PUBLISH_PARAMETERS: readonly ParameterName[] = ["id", "type", "token"];

/** How many lines are parsed between two readings of the clock. */
const CLOCK_INTERVAL = 16;

/** Publishes the messages of a request and answers with their receipts. */
export function publish(parts: Parts, call: Call): Response | Promise<Response> {
  const { access, admission, bodies, limits } = parts;
  const { request, search, origin } = call;
  if (origin === undefined) access.origins.checkEmbedding(request);
  const publishRate = admission.publishRateOf(call);
  checkPublishRate(publishRate);
  const params = new Params().addForm(search);
  const { token } = params;
  const all = (grant: Grant, publications: readonly Publication[]) =>
    publishAll(parts, request, grant, publications, publishRate);
  // Check the credential before the body, so that a client without one cannot make us read much.
  return granted(parts, request, params, (grant) => {
    const unauthorized = grant.trusted ? undefined : grant.refusal("publish");
    const read = readPublications(request, params, limits, bodies, unauthorized, async () => {
      const again = await access.grant(request.headers, params.token);
      if (!again.trusted) throw again.refusal("publish");
    });
    if (!(read instanceof Promise)) return all(grant, read);
    // The body may contain another token. While it was read, the grant may have expired, or the
    // key or secret behind it may have been replaced.
    return read.then((publications) =>
      params.token === token && grant.expires > Date.now() && access.vouches(grant.voucher)
        ? all(grant, publications)
        : granted(parts, request, params, (grant) => all(grant, publications))
    );
  }, request.method === "GET");
}

function publishAll(
  { hub }: Parts,
  { method }: Request,
  grant: Grant,
  publications: readonly Publication[],
  publishRate: ClientRate | undefined,
): Response | Promise<Response> {
  const forbidden = publications.find(({ channel }) => !grant.mayPublish(channel));
  if (forbidden !== undefined) throw grant.refusal("publish", forbidden.channel);
  // While the body was read, the client may have published something else.
  checkPublishRate(publishRate);
  publishRate?.limit.spend(publishRate.address, publications.length);
  const published = publications.length === 1
    ? hub.publish(publications[0])
    : hub.publishAll(publications);
  const answer = (value: Receipt | readonly Receipt[]) =>
    json(value, method === "POST" ? RECEIPT_HEADERS : JSON_HEADERS);
  return published instanceof Promise ? published.then(answer) : answer(published);
}

/**
 * Reads the messages of a publish request.
 *
 * @param query The parameters of the query string. The parameters of the body are added to it.
 * @param unauthorized See `readParams`.
 * @param recheck Checks the credential again, because the body may contain another token. Rejects
 * if it is not valid. So a client learns that before it learns what else is wrong.
 * @returns At least one publication. All of them are valid.
 * @throws {Refusal} 400 for malformed input, 413 for a message, body or batch over the limit, 415
 * for a type or encoding that is not supported.
 */
export function readPublications(
  request: Request,
  query: Params,
  limits: RequestLimits,
  bodies: BodyReader,
  unauthorized?: Refusal,
  recheck?: () => Promise<void>,
): Publication[] | Promise<Publication[]> {
  if (request.method !== "POST") {
    if (unauthorized !== undefined) throw unauthorized;
    return publicationsOf(query, limits);
  }
  if (unauthorized !== undefined && !mayHoldToken(request.headers)) throw unauthorized;
  const { token } = query;
  return bodies.read(request, (text, type) => {
    if (isJsonLines(type)) return publicationsOfLines(query.check(), text, limits);
    addMessage(query, text, type);
    return recheck === undefined || unauthorized === undefined && query.token === token
      ? publicationsOf(query, limits)
      : recheck().then(() => publicationsOf(query, limits));
  }, unauthorized);
}

/** Adds a body: its parameters, or the data if the body is the message itself. */
function addMessage(query: Params, text: string, type: string): void {
  if (isWebhook(query, text, type)) query.set("data", withoutMark(text));
  else if (!addBody(query, text, type)) {
    // An empty body does not replace the data in the query. If the query has no data, an empty body
    // with a type is an empty message.
    if (text !== "" || (type !== "" && !query.has("data"))) query.set("data", text);
  }
}

/**
 * Whether a body is a message from a webhook: JSON, sent to a channel that the URL names, whose
 * member `data`, if any, could not be the data of a message. Nothing in such a body is a parameter,
 * so its sender cannot choose another channel.
 */
function isWebhook(query: Params, text: string, type: string): boolean {
  if (!isJson(type) || !query.has("name") || query.has("data")) return false;
  const json = withoutMark(text);
  const start = startOfMember(json, "data");
  if (start !== undefined && !["{", "[", "n"].includes(start)) return false;
  try {
    parseJson(json);
    return true;
  } catch (error) {
    // A `RangeError` means that the text contains too much to parse. If the text is not JSON, the
    // parser of parameters reports the mistake.
    return error instanceof RangeError;
  }
}

function publicationsOf(params: Params, limits: RequestLimits): Publication[] {
  params.refuseMistakes(PUBLISH_PARAMETERS);
  if (params.namedTwice) throw namedTwice();
  const names = params.names(limits.maxChannelsPerClient);
  const data = params.get("data");
  if (data === undefined) throw params.missing("data");
  checkData("data", data, limits.maxMessage);
  const id = params.get("id");
  if (id !== undefined) checkName("id", id);
  const type = params.get("type");
  if (type === undefined) return names.map((channel) => ({ channel, data, id }));
  checkType("type", type);
  return names.map((channel) => ({ channel, data, id, type }));
}

/**
 * Parses NDJSON. One body may take a hundred milliseconds, so other work gets a turn every few
 * milliseconds.
 */
async function publicationsOfLines(
  query: Params,
  text: string,
  limits: RequestLimits,
): Promise<Publication[]> {
  const publications: Publication[] = [];
  let number = 0;
  let since = performance.now();
  for (let start = 0, end; start < text.length; start = end + 1) {
    end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    if (++number % CLOCK_INTERVAL === 0 && performance.now() - since > SLICE_MS) {
      await turn();
      since = performance.now();
    }
    const line = text.slice(start, end);
    if (line.trim() === "") continue;
    try {
      const params = new Params().addJson(line);
      if (query.has("name") && params.has("name")) throw namedTwice();
      publications.push(...publicationsOf(params, limits));
      if (publications.length > limits.maxBatch) throw tooMany(limits.maxBatch);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new Refusal(error.status, error.code, `Line ${number}: ${error.message}`);
    }
  }
  if (publications.length === 0) {
    throw new Refusal(400, "missing_parameter", "The body contains no messages");
  }
  return publications;
}

/** The sender of a body must not choose another channel than the address does. */
function namedTwice(): Refusal {
  return badParameter("name", "it is in the address and in the body");
}

function tooMany(max: number): Refusal {
  return new Refusal(
    413,
    "too_many_messages",
    `One request may publish at most ${max} messages (--max-batch)`,
  );
}
