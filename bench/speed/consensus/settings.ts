/** What is measured: plain data, handed to each process. */
import type { Failure } from "../../../base/errors.ts";

export interface ConsensusBenchSettings {
  readonly validators: number;
  /** The last so many of them are never started. */
  readonly crashed: number;
  readonly transactionBytes: number;
  /** Transactions a second, offered to the validators that run, in equal parts. */
  readonly load: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly transport: "tcp" | "memory";
  /** Over which the validators are spread. */
  readonly processes: number;
  readonly log: "disk" | "memory";
  /** Where the logs go; each validator has a folder of its own in it. */
  readonly logFolder: string;
  /** Added to each message, one way. */
  readonly delayMs: number;
  /** Between two blocks of one validator, at least. */
  readonly roundDelayMs: number;
}

/** Parent → host. */
export type HostCommand =
  | {
      readonly kind: "open";
      readonly settings: ConsensusBenchSettings;
      readonly validators: readonly number[];
    }
  | { readonly kind: "start"; readonly ports: readonly (readonly [index: number, port: number])[] }
  /** From here on it counts. */
  | { readonly kind: "measure" }
  /** Until here. */
  | { readonly kind: "report" }
  | { readonly kind: "stop" };

/** Host → parent. */
export type HostAnswer =
  | { readonly kind: "opened"; readonly ports: readonly (readonly [index: number, port: number])[] }
  | { readonly kind: "running" }
  | { readonly kind: "report"; readonly report: HostReport }
  | { readonly kind: "failed"; readonly failure: Failure };

export interface ValidatorReport {
  readonly index: number;
  readonly offered: number;
  /** Not taken: too many waited already. Never sent, or sent and turned away. */
  readonly refused: number;
  readonly committed: number;
  /** Of blocks that were not ordered: proposed again, their latency is not known. */
  readonly resubmitted: number;
  /** Taken, and not ordered yet. */
  readonly waiting: number;
  /** How long the oldest of them has waited; 0 if there is none. */
  readonly oldestWaitingMs: number;
  readonly commits: number;
  readonly rounds: number;
  readonly sentBytes: number;
  readonly logBytes: number;
  readonly latency: LatencyCounts;
  /** How long each fsync took; none with a log in memory. */
  readonly syncs: LatencyCounts;
  /** Of the last commits. */
  readonly lastCommits: readonly CommitMark[];
}

/** Names a commit with all before it: digests are chained, and the transactions of all are counted. */
export interface CommitMark {
  readonly index: number;
  /** Hex. */
  readonly digest: string;
  /** Ordered so far, from the first commit on. */
  readonly transactions: number;
}

export interface LatencyCounts {
  /** Whole milliseconds and how many transactions took so long. */
  readonly counts: readonly (readonly [ms: number, count: number])[];
  readonly sumMs: number;
}

export interface HostReport {
  readonly validators: readonly ValidatorReport[];
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}
