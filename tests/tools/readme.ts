/**
 * Keeps the table of options in docs/options.md the same as the list in `lib/cli/options.ts`.
 * `deno task readme` writes it, a test checks it.
 *
 * @module
 */
import { optionsTable } from "../../lib/cli/help.ts";
import { SERVER_OPTIONS } from "../../lib/cli/options.ts";

const OPTIONS_PAGE = new URL("../../docs/options.md", import.meta.url);
const BEGIN = "<!-- options: written by `deno task readme` -->\n";
const END = "<!-- end of options -->\n";

/** docs/options.md as it is, and as it should be. */
export function optionsPage(): { actual: string; expected: string } {
  const actual = Deno.readTextFileSync(OPTIONS_PAGE);
  const [head, rest] = actual.split(BEGIN);
  const tail = rest.split(END)[1];
  return { actual, expected: `${head}${BEGIN}\n${optionsTable(SERVER_OPTIONS)}\n${END}${tail}` };
}

if (import.meta.main) Deno.writeTextFileSync(OPTIONS_PAGE, optionsPage().expected);
