import { assert, assertEquals } from "@std/assert";
import { badParameter, quote, Refusal } from "../../lib/core/refusal.ts";
import { refusalResponse } from "../../lib/http/call.ts";

Deno.test("Refusal is an Error with a status, a code, a message and headers", () => {
  const error = new Refusal(405, "method_not_allowed", "PUT is not allowed", { allow: "GET" });
  assert(error instanceof Error);
  const { name, status, code, message, headers } = error;
  assertEquals({ name, status, code, message, headers }, {
    name: "Refusal",
    status: 405,
    code: "method_not_allowed",
    message: "PUT is not allowed",
    headers: { allow: "GET" },
  });
  assertEquals(new Refusal(400, "x", "y").headers, {});
});

Deno.test("refusalResponse() is one line of JSON that no cache keeps", async () => {
  const response = refusalResponse(
    new Refusal(400, "missing_parameter", 'Parameter "name" is missing'),
  );
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

Deno.test("refusalResponse() sends its headers along", async () => {
  const response = refusalResponse(
    new Refusal(503, "too_many_channels", "Full", { "retry-after": "5" }),
  );
  await response.body?.cancel();
  assertEquals(response.headers.get("retry-after"), "5");
  assertEquals(response.headers.get("content-type"), "application/json");
});

Deno.test("refusalResponse() escapes a message that holds quotes and line breaks", async () => {
  const message = '"}\r\n\0<script>\u2028';
  const text = await refusalResponse(new Refusal(400, "bad", message)).text();
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

Deno.test("quote() escapes quotes, controls and half surrogate pairs", () => {
  assertEquals(quote('a"\\\n\0\u{1F600}\ud83d'), '"a\\"\\\\\\n\\u0000\u{1F600}\\ud83d"');
});

Deno.test("quote() shows 64 characters and cuts what is longer", () => {
  assertEquals(quote("x".repeat(64)), `"${"x".repeat(64)}"`);
  assertEquals(quote("x".repeat(65)), `"${"x".repeat(64)}…"`);
});
