/** What is measured: plain data, handed to each process. */
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
  | { readonly kind: "failed"; readonly what: string };

export interface ValidatorReport {
  readonly index: number;
  readonly offered: number;
  /** Not taken: too many waited already. */
  readonly refused: number;
  readonly committed: number;
  /** Of blocks that were not ordered: proposed again, their latency is not known. */
  readonly resubmitted: number;
  readonly commits: number;
  readonly rounds: number;
  readonly sentBytes: number;
  readonly logBytes: number;
  readonly latency: LatencyCounts;
  /** Index and digest (hex) of the last commits. */
  readonly lastCommits: readonly (readonly [index: number, digest: string])[];
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
