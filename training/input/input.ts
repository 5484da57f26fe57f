/**
 * Where the trainer's batches come from, in order. However they are made, what comes is the same, for a step's batches
 * depend on the seed and the step alone.
 */
import type { DrawnStep } from "./job.ts";

export interface Input {
  /**
   * The next `count` steps' batches; valid until the next call.
   * @throws SomaError INPUT_WORKER_LOST (failure), INPUT_WORKER_SILENT (timedOut), and what a sampler throws
   */
  take(count: number): Promise<readonly DrawnStep[]>;
  /** Ends the threads that draw, whatever they are at. */
  close(): Promise<void>;
}
