/**
 * Java's own HTTP client. tests/tools/setup.ts installs Java.
 *
 * @module
 */

const CLIENT = new URL("JavaClient.java", import.meta.url).pathname;

/** What `JavaClient.java` prints of its ways to publish and subscribe. */
export async function javaClient({ url }: { url: string }, ...version: string[]) {
  const args = [CLIENT, url, ...version];
  const { success, stdout, stderr } = await new Deno.Command("java", { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trimEnd().split("\n");
}
