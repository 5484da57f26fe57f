/** Ctrl-C during a bench: what it started ends, what it wrote to disk for itself goes, and the exit code says so. */
import { EXIT_CODES, SomaError } from "../../base/errors.ts";
import { say } from "../../base/terminal.ts";

/**
 * Run `work` with a signal that is aborted, with the error to throw as its reason, when the first SIGINT or SIGTERM
 * comes; the second ends the process at once.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const on = (kind: "interrupted" | "terminated") => (): void => {
    if (controller.signal.aborted) process.exit(EXIT_CODES[kind]);
    say("stopping; once more to stop at once");
    controller.abort(
      new SomaError({ code: kind.toUpperCase(), kind, what: `the measurement was ${kind}` }),
    );
  };
  const [interrupt, terminate] = [on("interrupted"), on("terminated")];
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", terminate);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", terminate);
  }
}

/** What `work` gives, unless the signal comes first: then its reason is thrown, and `work` is left to end by itself. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason as SomaError);
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
    });
  });
}
