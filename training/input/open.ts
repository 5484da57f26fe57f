/** Chooses who draws the trainer's batches: this thread when they are wanted, or others ahead of time (prefetch.ts). */
import { availableParallelism } from "node:os";
import type { TrainConfig } from "../config.ts";
import type { Part } from "../parallel/share.ts";
import type { Sampler } from "../sampler.ts";
import type { Input } from "./input.ts";
import { drawStep, type DrawnStep, type InputJob } from "./job.ts";
import { BatchMemory } from "./memory.ts";
import { Prefetcher } from "./prefetch.ts";

export interface InputSource {
  readonly samplers: readonly Sampler[];
  /** For threads that draw as `samplers` do; undefined if they could not. */
  readonly job: InputJob | undefined;
}

export interface InputOptions {
  /** The first step to draw. */
  readonly first: number;
  /** Draw the first N steps over and over. */
  readonly overfitBatches: number | undefined;
  /** Threads that draw; 0 = this one. */
  readonly workers: number;
  /** Steps that `take` will ask for at a time. */
  readonly takes: number;
  /** The rows of every batch that are packed; undefined: all of them. */
  readonly part?: Part | undefined;
  /** Aborted: a `take` that waits for a thread ends with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export function openInput(source: InputSource, options: InputOptions): Input {
  const { first, overfitBatches = Number.MAX_SAFE_INTEGER, workers, takes, part, signal } = options;
  const stepOf = (ticket: number): number => (first + ticket) % overfitBatches;
  return source.job === undefined || workers === 0
    ? new OwnInput(source.samplers, stepOf, part)
    : new Prefetcher({
        job: part === undefined ? source.job : { ...source.job, part },
        stepOf,
        workers,
        takes,
        signal,
      });
}

/** A run of so few steps is over before a thread has started. */
const STEPS_MIN = 20;
/** … and one of so few seconds. */
const SECONDS_MIN = 3;

/** How many threads a config means. None where the program runs from TypeScript (tests), which Node 20 cannot load in a thread. */
export function inputWorkerCount(
  { inputWorkers, steps, seconds }: Pick<TrainConfig, "inputWorkers" | "steps" | "seconds">,
  cores = availableParallelism(),
  compiled = !import.meta.url.endsWith(".ts"),
): number {
  if (!compiled) return 0;
  if (inputWorkers !== "auto") return inputWorkers;
  const isShort =
    (steps !== undefined && steps < STEPS_MIN) || (seconds !== undefined && seconds < SECONDS_MIN);
  return cores < 2 || isShort ? 0 : 1;
}

/** Draws in this thread, when asked. */
class OwnInput implements Input {
  private readonly samplers: readonly Sampler[];
  private readonly stepOf: (ticket: number) => number;
  private readonly part: Part | undefined;
  private readonly memories: BatchMemory[] = [];
  private ticket = 0;

  constructor(
    samplers: readonly Sampler[],
    stepOf: (ticket: number) => number,
    part: Part | undefined,
  ) {
    this.samplers = samplers;
    this.stepOf = stepOf;
    this.part = part;
  }

  take(count: number): Promise<readonly DrawnStep[]> {
    while (this.memories.length < count) this.memories.push(new BatchMemory());
    // A sampler's error is a rejection, as it is when another thread draws.
    return Promise.resolve().then(() =>
      this.memories.slice(0, count).map((memory) => {
        memory.reset();
        return drawStep(this.samplers, this.stepOf(this.ticket++), memory, this.part);
      }),
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
