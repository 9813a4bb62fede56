/**
 * `/publish`.
 *
 * @module
 */
import type { Grant } from "./access.ts";
import { checkPace } from "./admission.ts";
import { type Call, granted, json, JSON_HEADERS, type Parts, RECEIPT_HEADERS } from "./call.ts";
import type { Publication, Receipt } from "./engine.ts";
import { Params, readPublications } from "./params.ts";
import type { Pace } from "./rate_limit.ts";

/** Publishes what a request holds, and answers with receipts. */
export function publish(parts: Parts, call: Call): Response | Promise<Response> {
  const { access, admission, bodies, limits } = parts;
  const { request, search, origin } = call;
  if (origin === undefined) access.checkEmbedding(request);
  const pace = admission.paceOf(call);
  checkPace(pace);
  const params = new Params().addForm(search);
  const token = params.get("token");
  const all = (grant: Grant, publications: readonly Publication[]) =>
    publishAll(parts, request, grant, publications, pace);
  // Before the body is read, so that strangers cannot make us read much of it.
  return granted(parts, request, params, (grant) => {
    const stranger = grant.trusted ? undefined : grant.refusal("publish");
    const read = readPublications(request, params, limits, bodies, stranger);
    if (!(read instanceof Promise)) return all(grant, read);
    return read.then((publications) =>
      params.get("token") === token && grant.expires > Date.now()
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
  pace: Pace | undefined,
): Response | Promise<Response> {
  if (!publications.every(({ channel }) => grant.mayPublish(channel))) {
    throw grant.refusal("publish");
  }
  // Others may have come while the body was read.
  checkPace(pace);
  pace?.limit.spend(pace.address, publications.length);
  const published = publications.length === 1
    ? hub.publish(publications[0])
    : hub.publishAll(publications);
  const answer = (value: Receipt | readonly Receipt[]) =>
    json(value, method === "POST" ? RECEIPT_HEADERS : JSON_HEADERS);
  return published instanceof Promise ? published.then(answer) : answer(published);
}
