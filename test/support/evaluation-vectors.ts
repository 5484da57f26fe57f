/** What NumPy and scikit-learn answer on small data: test/vectors/evaluation.py. */
import { readFileSync } from "node:fs";

type Rows = number[][];

export interface EvaluationVectors {
  readonly probe: {
    readonly train: Rows;
    readonly trainLabels: number[];
    readonly test: Rows;
    readonly testLabels: number[];
    readonly accuracy: number;
    readonly sparse: {
      readonly rows: Rows;
      readonly labels: number[];
      readonly trainCount: number;
      readonly accuracy: number;
    };
    readonly plain: {
      readonly rows: Rows;
      readonly labels: number[];
      readonly weights: Rows;
      readonly biases: number[];
    };
  };
  readonly eigen: readonly { readonly matrix: number[]; readonly values: number[] }[];
  readonly spectrum: {
    readonly rows: Rows;
    readonly groups: string[];
    readonly effectiveRank: number;
    readonly deviations: number[];
    readonly alignment: number;
    readonly uniformity: number;
  };
  readonly neighbours: {
    readonly train: Rows;
    readonly trainLabels: number[];
    readonly test: Rows;
    readonly testLabels: number[];
    readonly accuracy: number;
  };
  readonly tfidf: {
    readonly train: string[];
    readonly test: string[];
    readonly terms: string[];
    readonly trainCosines: Rows;
    readonly testCosines: Rows;
  };
}

export const EVALUATION_VECTORS = JSON.parse(
  readFileSync(new URL("../vectors/evaluation.json", import.meta.url), "utf8"),
) as EvaluationVectors;
