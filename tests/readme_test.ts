import { assertEquals } from "@std/assert";
import { readme } from "./readme.ts";

Deno.test("README lists the options that lib/config.ts has; `deno task readme` writes them", () => {
  const { actual, expected } = readme();
  assertEquals(actual, expected);
});
