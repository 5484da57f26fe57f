/** `soma bench serving`: starts a server in a process of its own, measures it, prints. */
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { SomaError } from "../../base/errors.ts";
import { terminalProgress } from "../../base/progress.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { positiveInteger } from "./flags.ts";
import { benchServing, type ServingBenchResult } from "./serving.ts";

export interface ServingBenchFlags {
  readonly connections: string;
  readonly requests: string;
  readonly json?: boolean;
}

/** Requests before those that count, at most. */
const WARM_UP_MAX = 1000;

export async function servingBenchCommand(
  checkpoint: string,
  flags: ServingBenchFlags,
): Promise<void> {
  const connections = positiveInteger(flags.connections, "--connections");
  const requests = positiveInteger(flags.requests, "--requests");
  const server = await startServer(checkpoint);
  try {
    const progress = terminalProgress({ label: "serving", unit: "request" });
    const warmUp = Math.min(WARM_UP_MAX, requests);
    const result = await benchServing(server.url, { connections, requests, warmUp, progress });
    progress.finish();
    if (flags.json === true) printJson(result);
    else say(describe(result));
  } finally {
    await server.stop();
  }
}

function describe(result: ServingBenchResult): string {
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return table(
    ["serving", "value"],
    [
      ["connections", String(result.connections)],
      ["requests", String(result.requests)],
      ["requests a second", result.requestsPerSecond.toFixed(0)],
      ["p50", `${result.p50Ms.toFixed(1)} ms`],
      ["p99", `${result.p99Ms.toFixed(1)} ms (${result.p99OverP50.toFixed(1)} × p50)`],
      ["errors", String(result.errors)],
      ["server's memory before", mebibytes(result.rssBeforeBytes)],
      ["server's memory after", mebibytes(result.rssAfterBytes)],
      ["machine", result.machine],
      ["date", result.date],
    ],
  );
}

/** `soma serve` in a process of its own, on a free port. */
async function startServer(
  checkpoint: string,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const cli = fileURLToPath(new URL("../../cli.js", import.meta.url));
  const child = spawn(process.execPath, [cli, "serve", checkpoint, "--port", "0"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const url = await listeningUrl(child);
  return {
    url,
    stop: () =>
      new Promise((resolve) => {
        child.once("exit", () => {
          resolve();
        });
        child.kill("SIGTERM");
      }),
  };
}

function listeningUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let errors = "";
    child.stderr?.on("data", (data: Buffer) => {
      errors += data.toString();
      const url = /listening on (\S+)/.exec(errors)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once("exit", () => {
      reject(
        new SomaError({
          code: "SERVER_ENDED",
          kind: "failure",
          what: `soma serve ended before it listened: ${errors.trim()}`,
        }),
      );
    });
  });
}
