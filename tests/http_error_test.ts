import { assert, assertEquals } from "@std/assert";
import { badParameter, HttpError } from "../lib/http_error.ts";

Deno.test("HttpError is an Error with a status, a code, a message and headers", () => {
  const error = new HttpError(405, "method_not_allowed", "PUT is not allowed", { allow: "GET" });
  assert(error instanceof Error);
  const { name, status, code, message, headers } = error;
  assertEquals({ name, status, code, message, headers }, {
    name: "HttpError",
    status: 405,
    code: "method_not_allowed",
    message: "PUT is not allowed",
    headers: { allow: "GET" },
  });
  assertEquals(new HttpError(400, "x", "y").headers, {});
});

Deno.test("HttpError.toResponse() is one line of JSON that no cache keeps", async () => {
  const response = new HttpError(400, "missing_parameter", 'Parameter "name" is missing')
    .toResponse();
  assertEquals(response.status, 400);
  assertEquals([...response.headers], [
    ["cache-control", "no-store"],
    ["content-type", "application/json"],
    ["x-content-type-options", "nosniff"],
  ]);
  assertEquals(
    await response.text(),
    '{"error":{"code":"missing_parameter","message":"Parameter \\"name\\" is missing"}}\n',
  );
});

Deno.test("HttpError.toResponse() sends its headers along", async () => {
  const response = new HttpError(503, "too_many_channels", "Full", { "retry-after": "5" })
    .toResponse();
  await response.body?.cancel();
  assertEquals(response.headers.get("retry-after"), "5");
  assertEquals(response.headers.get("content-type"), "application/json");
});

Deno.test("HttpError.toResponse() escapes a message that holds quotes and line breaks", async () => {
  const message = '"}\r\n\0<script>\u2028';
  const text = await new HttpError(400, "bad", message).toResponse().text();
  assertEquals(text.indexOf("\n"), text.length - 1);
  assertEquals(JSON.parse(text), { error: { code: "bad", message } });
});

Deno.test("badParameter() names the parameter", () => {
  const { status, code, message } = badParameter("seq", "it is empty");
  assertEquals({ status, code, message }, {
    status: 400,
    code: "bad_parameter",
    message: 'Bad parameter "seq": it is empty',
  });
});
