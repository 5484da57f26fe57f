/** One measurement in a process of its own, so that neither memory nor threads nor warm caches are shared. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { SomaError } from "../../base/errors.ts";

/** Of a process's stderr, to tell why it failed. */
const STDERR_TAIL_MAX = 2_000;

/** A program and its arguments. */
export interface Invocation {
  readonly program: string;
  readonly arguments: readonly string[];
}

/** The `soma` command itself. @param parts e.g. "bench", "train-step", "--json" */
export function somaInvocation(...parts: readonly string[]): Invocation {
  const cli = fileURLToPath(new URL("../../cli.js", import.meta.url));
  return { program: process.execPath, arguments: [cli, ...parts] };
}

/**
 * What a process prints on stdout, which is one JSON document.
 * @throws SomaError CHILD_FAILED (failure) with the last words of its stderr
 */
export async function runForJson(invocation: Invocation): Promise<unknown> {
  const { stdout, stderr, code } = await run(invocation);
  const failed = (what: string): SomaError => {
    const said = stderr.trim().split("\n").at(-1) ?? "";
    return new SomaError({
      code: "CHILD_FAILED",
      kind: "failure",
      what: `${[invocation.program, ...invocation.arguments].join(" ")} ${what}${said === "" ? "" : `: ${said}`}`,
    });
  };
  if (code !== 0) throw failed(`ended with ${code}`);
  try {
    return JSON.parse(stdout) as unknown;
  } catch {
    throw failed("printed no JSON document");
  }
}

/** @returns what it printed, and its exit code or the name of the signal that ended it */
export function run({ program, arguments: words }: Invocation): Promise<{
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | string;
}> {
  return new Promise((resolve) => {
    const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-STDERR_TAIL_MAX);
    });
    child.on("error", (error) => {
      resolve({ stdout, stderr: error.message, code: "an error" });
    });
    child.on("close", (code, signal) => {
      resolve({ stdout, stderr, code: code ?? signal ?? "nothing" });
    });
  });
}
