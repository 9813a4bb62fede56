/**
 * River, which says at SIGUSR2 what it may do.
 *
 * @module
 */
import { runProgram } from "../../lib/cli/program.ts";
import { COMMANDS } from "../../main.ts";

Deno.addSignalListener("SIGUSR2", () => {
  const asked: Deno.PermissionDescriptor[] = [
    { name: "run", command: "prlimit" },
    { name: "run", command: "cat" },
    { name: "write" },
    { name: "env" },
    { name: "read" },
    { name: "net" },
    { name: "ffi" },
    { name: "sys" },
  ];
  const granted = asked.filter((it) => Deno.permissions.querySync(it).state === "granted")
    .map(({ name }) => name);
  console.error(`may: ${granted.join(" ")}`);
});

await runProgram(COMMANDS, "0.0.0");
