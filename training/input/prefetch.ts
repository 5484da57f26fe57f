/**
 * Batches drawn ahead of the training by worker threads, so that a step finds its input ready. Steps are dealt out in
 * turn and handed on in order, so neither the number of threads nor their speed changes what the trainer gets. A
 * thread's batches lie in memory that it shares with the training thread, and are lent: nothing is copied.
 */
import { Worker } from "node:worker_threads";
import { InvariantError, present, SomaError } from "../../base/errors.ts";
import type { Input } from "./input.ts";
import type { DrawnStep, InputAnswer, InputJob, InputRequest } from "./job.ts";

/** Steps drawn ahead, at least, by each thread: one ready while the next is made. */
const AHEAD_MIN = 2;
/** … and by all threads together at most, whatever is asked for at a time: each may be several megabytes. */
const AHEAD_MAX = 32;
/** No step takes as long to draw: a thread that is still silent hangs. */
const WAIT_S_MAX = 600;

export interface PrefetchOptions {
  readonly job: InputJob;
  /** The step that the n-th batch is of. */
  readonly stepOf: (ticket: number) => number;
  /** Threads, at least one. */
  readonly workers: number;
  /** Steps that `take` will ask for at a time. */
  readonly takes: number;
  /** Aborted: a `take` that waits ends with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** The threads' program, compiled; given by tests. */
  readonly entry?: URL;
  readonly waitMsMax?: number;
}

interface Waiting {
  readonly ticket: number;
  readonly resolve: (answer: InputAnswer) => void;
  readonly reject: (reason: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

export class Prefetcher implements Input {
  private readonly stepOf: (ticket: number) => number;
  private readonly waitMsMax: number;
  private readonly ahead: number;
  private readonly workers: readonly Worker[];
  /** Arrived and not yet taken, by ticket. */
  private readonly answers = new Map<number, InputAnswer>();
  private waiting: Waiting | undefined;
  private next = 0;
  /** Tickets of what was taken last. */
  private lent: number[] = [];
  private lost: Error | undefined;
  private closing = false;
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort = (): void => {
    this.giveUp(this.signal?.reason);
  };

  /** Starts the threads, which draw at once. `close()` must follow. */
  constructor(options: PrefetchOptions) {
    const { job, stepOf, workers, takes, signal, entry, waitMsMax = 1000 * WAIT_S_MAX } = options;
    this.stepOf = stepOf;
    this.waitMsMax = waitMsMax;
    this.ahead = Math.min(AHEAD_MAX, Math.max(AHEAD_MIN * workers, takes));
    this.signal = signal;
    signal?.addEventListener("abort", this.onAbort);
    this.workers = Array.from({ length: workers }, () => this.start(job, entry));
    for (let ticket = 0; ticket < this.ahead; ticket++) this.request(ticket);
  }

  async take(count: number): Promise<readonly DrawnStep[]> {
    for (const ticket of this.lent) this.post(ticket, { kind: "free", ticket });
    this.lent = [];
    const taken: DrawnStep[] = [];
    while (taken.length < count) {
      const ticket = this.next;
      taken.push(drawnOf(await this.answerOf(ticket)));
      this.next++;
      this.lent.push(ticket);
      this.request(ticket + this.ahead);
    }
    return taken;
  }

  async close(): Promise<void> {
    this.closing = true;
    this.signal?.removeEventListener("abort", this.onAbort);
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private start(job: InputJob, entry: URL | undefined): Worker {
    const options = { workerData: job, name: "soma input" };
    const worker =
      entry === undefined
        ? new Worker(new URL("./worker.js", import.meta.url), options)
        : new Worker(entry, options);
    worker.on("message", (answer: InputAnswer) => {
      this.answers.set(answer.ticket, answer);
      this.serve();
    });
    worker.on("error", (error: unknown) => {
      this.fail(`stopped: ${error instanceof Error ? error.message : String(error)}`);
    });
    worker.on("exit", (code) => {
      this.fail(`ended with code ${code}`);
    });
    return worker;
  }

  private request(ticket: number): void {
    this.post(ticket, { kind: "draw", ticket, step: this.stepOf(ticket) });
  }

  private post(ticket: number, request: InputRequest): void {
    present(this.workers[ticket % this.workers.length], "a thread for each ticket").postMessage(
      request,
    );
  }

  private answerOf(ticket: number): Promise<InputAnswer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.giveUp(
          new SomaError({
            code: "INPUT_WORKER_SILENT",
            kind: "timedOut",
            what: `a thread that draws batches has not answered for ${this.waitMsMax / 1000} s`,
            next: NEXT,
          }),
        );
      }, this.waitMsMax);
      this.waiting = { ticket, resolve, reject, timer };
      this.serve();
    });
  }

  /** Hand over what is waited for, if it is there; what was drawn before a thread was lost still counts. */
  private serve(): void {
    const { waiting, lost } = this;
    const answer = waiting === undefined ? undefined : this.answers.get(waiting.ticket);
    if (waiting !== undefined && answer !== undefined) {
      clearTimeout(waiting.timer);
      this.waiting = undefined;
      this.answers.delete(answer.ticket);
      waiting.resolve(answer);
    } else if (lost !== undefined) {
      this.giveUp(lost);
    }
  }

  /** End the wait that is going on, if one is. */
  private giveUp(reason: unknown): void {
    const { waiting } = this;
    this.waiting = undefined;
    clearTimeout(waiting?.timer);
    waiting?.reject(reason);
  }

  /** The first failure counts: others follow from it. */
  private fail(how: string): void {
    if (this.closing) return;
    this.lost ??= new SomaError({
      code: "INPUT_WORKER_LOST",
      kind: "failure",
      what: `a thread that draws batches ${how}`,
      next: NEXT,
    });
    this.serve();
  }
}

const NEXT =
  "what was trained is saved: go on with soma train --resume RUN, or draw in the training thread with --set inputWorkers=0";

/** @throws SomaError as in the thread that drew; InvariantError for a bug there */
function drawnOf(answer: InputAnswer): DrawnStep {
  switch (answer.kind) {
    case "drawn":
      return answer.drawn;
    case "refused":
      throw new SomaError(answer.failure);
    case "crashed":
      throw new InvariantError(answer.stack);
  }
}
