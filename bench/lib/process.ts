/**
 * Starts processes on their own processor, measures them through /proc, and ends them by id.
 *
 * @module
 */

/** The processor for the servers, and the one for the load. */
const SERVER_CPU = "0";
const LOAD_CPU = "1";
/** Clock ticks per second in /proc/PID/stat. The same on every Linux. */
const TICKS = 100;
/** Time limit for a server to print its address, in milliseconds. */
const START_MS = 15_000;

const running = new Set<Child>();
const temporary = new Set<string>();

/** A process that was started here. */
export class Child {
  readonly #process: Deno.ChildProcess;

  /** Takes charge of a process. It is ended when this program ends. */
  constructor(process: Deno.ChildProcess) {
    this.#process = process;
    running.add(this);
  }

  /** Its id and those of its descendants. */
  get pids(): number[] {
    return descendants(this.#process.pid);
  }

  /** Ends it, and waits until it is gone. With SIGTERM it ends in its own way. */
  async stop(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    if (!running.has(this)) return;
    if (signal === "SIGKILL") this.kill();
    else this.#process.kill(signal);
    await this.#process.status;
    running.delete(this);
  }

  /** Ends it without waiting. */
  kill(): void {
    // Children first: nginx's worker would outlive a killed master.
    for (const pid of this.pids.reverse()) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // It has already ended.
      }
    }
  }

  /** Resolves with the first line that it prints. */
  async firstLine(): Promise<string> {
    const reader = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const timer = setTimeout(() => this.kill(), START_MS);
    let text = "";
    while (!text.includes("\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error("A server ended before it printed its address");
      text += value;
    }
    clearTimeout(timer);
    // Keep reading in the background, so that the server never blocks on its output.
    (async () => {
      while (!(await reader.read()).done);
    })();
    return text;
  }
}

/**
 * Starts a server program on the servers' processor.
 *
 * @param variables Only the program itself gets them, not the one that pins it: a library that is
 * loaded by `LD_PRELOAD` would be loaded there.
 */
export function spawn(
  command: string,
  args: string[],
  variables: Record<string, string> = {},
): Child {
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  const set = assignments.length > 0 ? ["env", ...assignments] : [];
  const pin = canPin() ? ["taskset", "-c", SERVER_CPU] : [];
  const [program, ...rest] = [...pin, ...set, command, ...args];
  return new Child(
    new Deno.Command(program, { args: rest, stdin: "null", stdout: "piped", stderr: "inherit" })
      .spawn(),
  );
}

/** Pins this process, the load, to the other processor. */
export function pinLoad(): void {
  if (canPin()) run("taskset", ["-a", "-p", "-c", LOAD_CPU, String(Deno.pid)]);
}

/** Whether servers and load can be pinned to a processor each. */
export function canPin(): boolean {
  return navigator.hardwareConcurrency > 1 && has("taskset");
}

/** Whether a program is installed. */
export function has(program: string): boolean {
  return run("sh", ["-c", 'command -v "$1"', "sh", program]) !== undefined;
}

/** The output of a program on stdout and stderr. Undefined if it fails or is missing. */
export function run(command: string, args: string[]): string | undefined {
  try {
    const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return success ? `${text(stdout)}${text(stderr)}`.trim() : undefined;
  } catch {
    return undefined;
  }
}

/** A directory that is removed at the end. */
export function temporaryDirectory(): string {
  const path = Deno.makeTempDirSync({ prefix: "river-bench-" });
  temporary.add(path);
  return path;
}

/** Ends every process and removes every directory that was made here. */
export function cleanUp(): void {
  for (const child of running) child.kill();
  running.clear();
  for (const path of temporary) Deno.removeSync(path, { recursive: true });
  temporary.clear();
}

/** Makes Ctrl-C and SIGTERM clean up before the program ends. */
export function cleanUpOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      cleanUp();
      Deno.exit(130);
    });
  }
}

/** Seconds of processor time that processes have used. 0 without /proc. */
export function cpuSeconds(pids: number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    // The name of the program, in parentheses, may hold any character.
    const stat = read(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
    ticks += Number(stat[11] ?? 0) + Number(stat[12] ?? 0);
  }
  return ticks / TICKS;
}

/** Resident memory of processes, in bytes. 0 without /proc. */
export function residentBytes(pids: number[]): number {
  let bytes = 0;
  for (const pid of pids) {
    bytes += Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
  }
  return bytes;
}

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim();
  return [pid, ...(children === "" ? [] : children.split(" ").map(Number).flatMap(descendants))];
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
