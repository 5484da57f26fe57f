/** A place where all ranks of a training meet: nobody goes on before everyone is there. */
import { SomaError } from "../../base/errors.ts";

export interface Rendezvous {
  /** 0 leads: it validates, logs and saves. */
  readonly rank: number;
  /** Processes, the leader counted. */
  readonly size: number;
  /**
   * Wait for all ranks. Each brings a word and gets everyone's, in rank order.
   * @throws SomaError WORKER_LOST, WORKER_SILENT, or what a member failed with
   */
  meet(word: string): Promise<readonly string[]>;
}

/** From a member to the leader. */
export type MemberMessage =
  | { readonly kind: "here"; readonly word: string }
  | { readonly kind: "failed"; readonly failure: PlainFailure }
  /** A bug of ours. */
  | { readonly kind: "crashed"; readonly stack: string };

/** From the leader to a member. The first is the job. */
export type LeaderMessage =
  | { readonly kind: "job"; readonly rank: number; readonly size: number; readonly job: unknown }
  | { readonly kind: "words"; readonly words: readonly string[] };

/** A SomaError between processes. */
export interface PlainFailure {
  readonly code: string;
  readonly kind: SomaError["kind"];
  readonly what: string;
  readonly next?: string;
}

/** The descriptor under which a member finds the shared memory; 0–2 are the usual ones, 3 the channel of messages. */
export const MEMORY_FD = 4;

/** As people count: rank 0 is worker 1. */
export function workerName(rank: number, size: number): string {
  return `worker ${rank + 1} of ${size}`;
}
