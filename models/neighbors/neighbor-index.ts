/**
 * Nearest neighbours among vectors of one dimension. Two kinds behind one interface: exact search, always there,
 * and HNSW, approximate and fast, where its addon was compiled. Neither is ever consensus input: see exact.ts.
 */
import { assert, SomaError } from "../../base/errors.ts";

export type Metric = "cosine" | "l2";
export type IndexKind = "exact" | "hnsw";

export interface Neighbor {
  /** As given to `add`. */
  readonly label: number;
  /** Higher is nearer: the cosine, or minus the Euclidean distance. */
  readonly score: number;
}

export interface NeighborIndex {
  readonly kind: IndexKind;
  readonly dimension: number;
  readonly metric: Metric;
  /** Vectors held. */
  readonly size: number;
  /**
   * @param vector  Float32Array [dimension], copied
   * @param label   integer 0 … 2^32 − 2, not in use
   * @throws SomaError BAD_VECTOR (usage): wrong length, a value not finite, the zero vector under cosine
   * @throws SomaError BAD_LABEL (usage): not such an integer, or in use
   */
  add(vector: Float32Array, label: number): void;
  /** The `count` nearest, nearest first, equal scores by ascending label; fewer if the index holds fewer. */
  search(query: Float32Array, count: number): readonly Neighbor[];
  /** Write the index to a folder, atomically, with digests. */
  save(directory: string): Promise<void>;
}

/** Labels at most: hnswlib's are unsigned, and this leaves room for its own marks. */
export const LABEL_MAX = 2 ** 32 - 2;

/** @throws SomaError BAD_VECTOR (usage) */
export function assertVector(vector: Float32Array, dimension: number, metric: Metric): void {
  const refuse = (what: string): SomaError =>
    new SomaError({
      code: "BAD_VECTOR",
      kind: "usage",
      what,
      next: "give vectors of the encoder that filled the index",
    });
  if (vector.length !== dimension) {
    throw refuse(`a vector of ${vector.length} values for an index of ${dimension} dimensions`);
  }
  let squares = 0;
  for (const value of vector) squares += value * value;
  if (!Number.isFinite(squares)) throw refuse("a vector holds a value that is not finite");
  if (metric === "cosine" && squares === 0) throw refuse("the zero vector has no direction");
}

/** @throws SomaError BAD_LABEL (usage) */
export function assertLabel(label: number, taken: ReadonlyMap<number, unknown>): void {
  if (!Number.isInteger(label) || label < 0 || label > LABEL_MAX) {
    throw new SomaError({
      code: "BAD_LABEL",
      kind: "usage",
      what: `${label} is no label`,
      next: `labels are whole numbers 0 to ${LABEL_MAX}`,
    });
  }
  if (taken.has(label)) {
    throw new SomaError({
      code: "BAD_LABEL",
      kind: "usage",
      what: `the label ${label} is in the index already`,
      next: "give every vector its own label",
    });
  }
}

/** @throws InvariantError unless `count` is a positive integer */
export function assertCount(count: number): void {
  assert(Number.isInteger(count) && count > 0, `cannot search for ${count} neighbours`);
}
