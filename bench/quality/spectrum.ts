/**
 * What can be said of embeddings without labels: how many dimensions they use, how far positives lie from each
 * other, how evenly all are spread. Low values are collapse. Compare runs of one method only.
 * Sources: RankMe (arXiv 2210.02885); alignment and uniformity (Wang & Isola, arXiv 2005.10242).
 */
import { assert } from "../../base/errors.ts";
import { symmetricEigen } from "./eigen.ts";
import { columnMeans, gramMatrix } from "./gram.ts";
import { innerProducts, rowOf, type DenseMatrix } from "./matrix.ts";

export interface Spectrum {
  /** exp of the entropy of the singular values' shares: 1 … dimension. */
  readonly effectiveRank: number;
  /** Standard deviation of the least and the median dimension. 0: a dimension says nothing. */
  readonly deviationMin: number;
  readonly deviationMedian: number;
  /** Mean squared distance of positives, 0 … 4, lower is better; undefined without two rows in a group. */
  readonly alignment: number | undefined;
  /** log mean exp(−2 · squared distance) over all pairs, 0 (one point) down to about −4, lower is better. */
  readonly uniformity: number | undefined;
}

/** @param matrix rows of length 1  @param groups a group per row */
export function spectrumOf(matrix: DenseMatrix, groups: readonly string[]): Spectrum {
  assert(matrix.count === groups.length, "a group per row");
  const deviations = columnDeviations(matrix).sort();
  return {
    effectiveRank: effectiveRank(matrix),
    deviationMin: deviations[0] ?? 0,
    deviationMedian: deviations[Math.floor(deviations.length / 2)] ?? 0,
    alignment: alignment(matrix, groups),
    uniformity: uniformity(matrix),
  };
}

/** exp(−Σ p log p), p_i = σ_i / Σσ, σ the singular values of the rows, not centred. 0 if all is 0. */
export function effectiveRank(matrix: DenseMatrix): number {
  // XᵀX and XXᵀ have the same eigenvalues but for zeros: the smaller one is taken.
  const { count, dimension } = matrix;
  const size = Math.min(count, dimension);
  const gram =
    dimension <= count
      ? gramMatrix(matrix.values, count, dimension)
      : gramMatrix(transposed(matrix), dimension, count);
  const { values } = symmetricEigen(gram, size, 0);
  const rounding = Number.EPSILON * size * (values[0] ?? 0);
  const singular = values.map((value) => (value > rounding ? Math.sqrt(value) : 0));
  const total = singular.reduce((sum, value) => sum + value, 0);
  if (total === 0) return 0;
  let entropy = 0;
  for (const value of singular) {
    const share = value / total;
    if (share > 0) entropy -= share * Math.log(share);
  }
  return Math.exp(entropy);
}

/** @returns Float32Array [dimension × count] */
function transposed({ count, dimension, values }: DenseMatrix): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < dimension; k++) out[k * count + i] = values[i * dimension + k] ?? 0;
  }
  return out;
}

/** Standard deviation of each column. */
export function columnDeviations(matrix: DenseMatrix): Float64Array {
  const means = columnMeans(matrix);
  const squares = new Float64Array(matrix.dimension);
  for (let i = 0; i < matrix.count; i++) {
    rowOf(matrix, i).forEach((value, k) => {
      squares[k] = (squares[k] ?? 0) + (value - (means[k] ?? 0)) ** 2;
    });
  }
  return squares.map((sum) => Math.sqrt(sum / Math.max(1, matrix.count)));
}

/** Mean ‖x − y‖² over all pairs of rows of one group; every group counts by its pairs. */
export function alignment(matrix: DenseMatrix, groups: readonly string[]): number | undefined {
  const rows = new Map<string, number[]>();
  groups.forEach((group, i) => {
    const members = rows.get(group);
    if (members === undefined) rows.set(group, [i]);
    else members.push(i);
  });
  let sum = 0;
  let pairs = 0;
  for (const members of rows.values()) {
    members.forEach((i, at) => {
      for (const j of members.slice(at + 1)) {
        sum += squaredDistance(rowOf(matrix, i), rowOf(matrix, j));
        pairs++;
      }
    });
  }
  return pairs === 0 ? undefined : sum / pairs;
}

/** log mean exp(−2 ‖x − y‖²) over pairs of different rows; undefined with fewer than two. */
export function uniformity(matrix: DenseMatrix): number | undefined {
  const n = matrix.count;
  if (n < 2) return undefined;
  const products = innerProducts(matrix, matrix);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const own = products[i * n + i] ?? 0;
    for (let j = i + 1; j < n; j++) {
      const squared = own + (products[j * n + j] ?? 0) - 2 * (products[i * n + j] ?? 0);
      sum += Math.exp(-2 * Math.max(0, squared));
    }
  }
  return Math.log(sum / ((n * (n - 1)) / 2));
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += ((a[k] ?? 0) - (b[k] ?? 0)) ** 2;
  return sum;
}
