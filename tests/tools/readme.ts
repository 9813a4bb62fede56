/**
 * Keeps what the README says of the options the same as what `lib/cli/options.ts` says.
 * `deno task readme` writes it, a test checks it.
 *
 * @module
 */
import { optionsTable } from "../../lib/cli/help.ts";
import { SERVER_OPTIONS } from "../../lib/cli/options.ts";

const README = new URL("../../README.md", import.meta.url);
const BEGIN = "<!-- options: written by `deno task readme` -->\n";
const END = "<!-- end of options -->\n";

/** The README as it is, and as it should be. */
export function readme(): { actual: string; expected: string } {
  const actual = Deno.readTextFileSync(README);
  const [head, rest] = actual.split(BEGIN);
  const tail = rest.split(END)[1];
  return { actual, expected: `${head}${BEGIN}\n${optionsTable(SERVER_OPTIONS)}\n${END}${tail}` };
}

if (import.meta.main) Deno.writeTextFileSync(README, readme().expected);
