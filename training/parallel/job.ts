/** What a leader tells its members before the first step, and before each. */
import { createHash } from "node:crypto";
import type { Variable } from "../../models/backend.ts";
import type { TrainConfig } from "../config.ts";

export interface WorkerJob {
  readonly config: TrainConfig;
  /** Folder of the state that a resumed run goes on from. */
  readonly state?: string;
  readonly overfitBatches?: number;
}

/** One update, as the leader orders it: what depends on its clock is the same for all. */
export interface Order {
  readonly learningRate: number;
}

/** Updates between two comparisons of all weights: they take 5 ms a million. */
const COMPARE_STEPS = 100;

export function comparisonIsDue(step: number): boolean {
  return step % COMPARE_STEPS === 0;
}

/** SHA-256 hex of all weights, to the last bit. */
export function weightsDigest(parameters: ReadonlyMap<string, Variable>): string {
  const hash = createHash("sha256");
  for (const [name, variable] of parameters) {
    hash.update(name);
    hash.update(variable.dataSync<"float32">());
  }
  return hash.digest("hex");
}
