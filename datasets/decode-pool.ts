/**
 * Decodes many pictures at once: in worker threads when the program runs compiled, in this thread when it
 * runs from TypeScript (tests), where Node 20 could not load a worker. Both give the same results.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { InvariantError } from "../base/errors.ts";
import { runDecodeJob, type DecodeJob, type DecodeResult } from "./decode-job.ts";

/** Jobs a thread has at hand, so that it reads the next file while it decodes this one. */
const JOBS_PER_THREAD = 4;
const THREADS_MAX = 16;

/** How many worker threads decode by default; 0 where a worker cannot be loaded. */
export function defaultWorkerCount(): number {
  if (import.meta.url.endsWith(".ts")) return 0;
  return Math.min(THREADS_MAX, availableParallelism());
}

/**
 * Run all jobs and hand each result to `take`, in order of completion. At most `JOBS_PER_THREAD` results a
 * thread are in memory at once, besides what `take` keeps; a `take` that returns a promise holds its lane back.
 * @throws InvariantError if a decoder crashed; what `take` throws. No thread outlives the call.
 */
export async function decodeAll(
  jobs: readonly DecodeJob[],
  workerCount: number,
  take: (result: DecodeResult) => void | Promise<void>,
): Promise<void> {
  const threadCount = Math.min(workerCount, jobs.length);
  const threads = Array.from({ length: threadCount }, () => new DecodeThread());
  const runners =
    threads.length === 0 ? [runDecodeJob] : threads.map((thread) => thread.run.bind(thread));
  let next = 0;
  const lane = async (run: (job: DecodeJob) => Promise<DecodeResult>): Promise<void> => {
    for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
      const result = await run(job);
      if (result.kind === "crashed") throw new InvariantError(result.stack);
      await take(result);
    }
  };
  try {
    await Promise.all(
      runners.flatMap((run) => Array.from({ length: JOBS_PER_THREAD }, () => lane(run))),
    );
  } finally {
    next = jobs.length; // the other lanes stop after the job they have
    await Promise.all(threads.map((thread) => thread.stop()));
  }
}

/** One worker thread and the jobs it has at hand. */
class DecodeThread {
  private readonly worker = new Worker(new URL("./decode-worker.js", import.meta.url));
  private readonly waiting = new Map<number, (result: DecodeResult) => void>();

  constructor() {
    this.worker.on("message", (result: DecodeResult) => {
      const resolve = this.waiting.get(result.index);
      this.waiting.delete(result.index);
      resolve?.(result);
    });
    // A thread that dies (out of memory, a native crash) must not leave its callers waiting for ever.
    this.worker.on("error", (error: unknown) => {
      this.failAll(error instanceof Error ? (error.stack ?? error.message) : String(error));
    });
    this.worker.on("exit", (code) => {
      this.failAll(`a decoding thread ended with code ${code}`);
    });
  }

  run(job: DecodeJob): Promise<DecodeResult> {
    return new Promise((resolve) => {
      this.waiting.set(job.index, resolve);
      this.worker.postMessage(job);
    });
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }

  private failAll(stack: string): void {
    for (const [index, resolve] of this.waiting) resolve({ index, kind: "crashed", stack });
    this.waiting.clear();
  }
}
