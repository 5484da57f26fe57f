/**
 * Features as the probe's solver sees them, standardised by the training rows: only products with them are
 * needed, and an estimate of their covariance to precondition with. Dense and sparse rows share one interface.
 */
import { assert } from "../../base/errors.ts";
import { gramMatrix } from "./gram.ts";
import type { DenseMatrix, Matrix, SparseMatrix } from "./matrix.ts";

export interface Design {
  readonly count: number;
  readonly dimension: number;
  /** out ← X Wᵀ.  @param weights [classes × dimension]  @param out [count × classes] */
  scores(weights: Float64Array, classes: number, out: Float64Array): void;
  /** out ← Rᵀ X.  @param residuals [count × classes]  @param out [classes × dimension] */
  pullback(residuals: Float64Array, classes: number, out: Float64Array): void;
  /** v ← (XᵀX / (2·rows) + penalty)⁻¹ v, or near it, in place. v [dimension] */
  preconditioner(penalty: number): (v: Float64Array) => void;
}

/** The training design, and how test rows are brought into the same form. */
export function designOf(train: Matrix): {
  readonly design: Design;
  readonly toTestDesign: (test: Matrix) => Design;
} {
  if (train.kind === "sparse") {
    const scales = sparseScales(train);
    const scaled = (matrix: Matrix): Design => {
      assert(matrix.kind === "sparse", "test rows are of the kind of the training rows");
      const values = matrix.values.map((value, e) => value * (scales[matrix.columns[e] ?? 0] ?? 0));
      return new SparseDesign({ ...matrix, values });
    };
    return { design: scaled(train), toTestDesign: scaled };
  }
  const { means, scales } = standardisation(train);
  const standardised = (matrix: Matrix): Design => {
    assert(matrix.kind === "dense", "test rows are of the kind of the training rows");
    const { count, dimension, values } = matrix;
    assert(dimension === train.dimension, "test rows have the dimension of the training rows");
    const x = new Float64Array(count * dimension);
    for (let i = 0; i < count; i++) {
      for (let k = 0; k < dimension; k++) {
        const at = i * dimension + k;
        x[at] = ((values[at] ?? 0) - (means[k] ?? 0)) * (scales[k] ?? 0);
      }
    }
    return new DenseDesign(x, count, dimension);
  };
  return { design: standardised(train), toTestDesign: standardised };
}

/** Mean and 1 / standard deviation of each column; a constant column gets scale 0 and so says nothing. */
function standardisation(matrix: DenseMatrix): { means: Float64Array; scales: Float64Array } {
  const { count, dimension, values } = matrix;
  const means = new Float64Array(dimension);
  const squares = new Float64Array(dimension);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < dimension; k++) {
      means[k] = (means[k] ?? 0) + (values[i * dimension + k] ?? 0) / count;
    }
  }
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < dimension; k++) {
      squares[k] =
        (squares[k] ?? 0) + ((values[i * dimension + k] ?? 0) - (means[k] ?? 0)) ** 2 / count;
    }
  }
  // Below this a column's spread is the rounding of single precision around its mean, not a feature.
  const scales = squares.map((variance, k) =>
    Math.sqrt(variance) > 1e-6 * Math.abs(means[k] ?? 0) ? 1 / Math.sqrt(variance) : 0,
  );
  return { means, scales };
}

/** 1 / standard deviation of each column, zeros counted; 0 for a column that is constant. */
function sparseScales({ count, dimension, columns, values }: SparseMatrix): Float64Array {
  const sums = new Float64Array(dimension);
  const squares = new Float64Array(dimension);
  columns.forEach((column, e) => {
    const value = values[e] ?? 0;
    sums[column] = (sums[column] ?? 0) + value / count;
    squares[column] = (squares[column] ?? 0) + value ** 2 / count;
  });
  return squares.map((square, k) => {
    const variance = square - (sums[k] ?? 0) ** 2;
    return variance > 1e-12 * square ? 1 / Math.sqrt(variance) : 0;
  });
}

export class DenseDesign implements Design {
  readonly count: number;
  readonly dimension: number;
  private readonly x: Float64Array;

  /** @param x [count × dimension], kept */
  constructor(x: Float64Array, count: number, dimension: number) {
    this.x = x;
    this.count = count;
    this.dimension = dimension;
  }

  /** Tiles of one row × four classes: a row's value is loaded once for four products. */
  scores(weights: Float64Array, classes: number, out: Float64Array): void {
    const { x, count: n, dimension: d } = this;
    const last = classes - 1;
    for (let i = 0; i < n; i++) {
      const row = i * d;
      for (let k = 0; k < classes; k += 4) {
        const k1 = Math.min(k + 1, last);
        const k2 = Math.min(k + 2, last);
        const k3 = Math.min(k + 3, last);
        const w0 = k * d;
        const w1 = k1 * d;
        const w2 = k2 * d;
        const w3 = k3 * d;
        let [s0, s1, s2, s3] = [0, 0, 0, 0];
        for (let j = 0; j < d; j++) {
          const value = x[row + j] ?? 0;
          s0 += value * (weights[w0 + j] ?? 0);
          s1 += value * (weights[w1 + j] ?? 0);
          s2 += value * (weights[w2 + j] ?? 0);
          s3 += value * (weights[w3 + j] ?? 0);
        }
        out[i * classes + k] = s0;
        out[i * classes + k1] = s1;
        out[i * classes + k2] = s2;
        out[i * classes + k3] = s3;
      }
    }
  }

  /** Four rows at a time: each entry of the result is loaded once for four products. */
  pullback(residuals: Float64Array, classes: number, out: Float64Array): void {
    const { x, count: n, dimension: d } = this;
    out.fill(0);
    const last = n - 1;
    for (let i = 0; i < n; i += 4) {
      const x0 = i * d;
      const x1 = Math.min(i + 1, last) * d;
      const x2 = Math.min(i + 2, last) * d;
      const x3 = Math.min(i + 3, last) * d;
      for (let k = 0; k < classes; k++) {
        const at = i * classes + k;
        const r0 = residuals[at] ?? 0;
        // Rows past the end repeat the last one with weight 0.
        const r1 = i + 1 < n ? (residuals[at + classes] ?? 0) : 0;
        const r2 = i + 2 < n ? (residuals[at + 2 * classes] ?? 0) : 0;
        const r3 = i + 3 < n ? (residuals[at + 3 * classes] ?? 0) : 0;
        const row = k * d;
        for (let j = 0; j < d; j++) {
          out[row + j] =
            (out[row + j] ?? 0) +
            r0 * (x[x0 + j] ?? 0) +
            r1 * (x[x1 + j] ?? 0) +
            r2 * (x[x2 + j] ?? 0) +
            r3 * (x[x3 + j] ?? 0);
        }
      }
    }
  }

  preconditioner(penalty: number): (v: Float64Array) => void {
    const { count: n, dimension: d } = this;
    const matrix = gramMatrix(this.x, n, d);
    for (let i = 0; i < matrix.length; i++) matrix[i] = (matrix[i] ?? 0) / (2 * n);
    for (let k = 0; k < d; k++) matrix[k * d + k] = (matrix[k * d + k] ?? 0) + penalty;
    cholesky(matrix, d);
    return (v) => {
      solveCholesky(matrix, d, v);
    };
  }
}

class SparseDesign implements Design {
  readonly count: number;
  readonly dimension: number;
  private readonly matrix: SparseMatrix;

  constructor(matrix: SparseMatrix) {
    this.matrix = matrix;
    this.count = matrix.count;
    this.dimension = matrix.dimension;
  }

  scores(weights: Float64Array, classes: number, out: Float64Array): void {
    const { offsets, columns, values } = this.matrix;
    for (let i = 0; i < this.count; i++) {
      const to = offsets[i + 1] ?? 0;
      for (let k = 0; k < classes; k++) {
        const row = k * this.dimension;
        let sum = 0;
        for (let e = offsets[i] ?? 0; e < to; e++) {
          sum += (values[e] ?? 0) * (weights[row + (columns[e] ?? 0)] ?? 0);
        }
        out[i * classes + k] = sum;
      }
    }
  }

  pullback(residuals: Float64Array, classes: number, out: Float64Array): void {
    const { offsets, columns, values } = this.matrix;
    out.fill(0);
    for (let i = 0; i < this.count; i++) {
      const to = offsets[i + 1] ?? 0;
      for (let k = 0; k < classes; k++) {
        const row = k * this.dimension;
        const residual = residuals[i * classes + k] ?? 0;
        for (let e = offsets[i] ?? 0; e < to; e++) {
          const at = row + (columns[e] ?? 0);
          out[at] = (out[at] ?? 0) + residual * (values[e] ?? 0);
        }
      }
    }
  }

  /** The diagonal alone: rare words hardly correlate. */
  preconditioner(penalty: number): (v: Float64Array) => void {
    const diagonal = new Float64Array(this.dimension).fill(penalty);
    this.matrix.columns.forEach((column, e) => {
      diagonal[column] =
        (diagonal[column] ?? 0) + (this.matrix.values[e] ?? 0) ** 2 / (2 * this.count);
    });
    return (v) => {
      for (let j = 0; j < v.length; j++) v[j] = (v[j] ?? 0) / (diagonal[j] ?? 1);
    };
  }
}

/** The lower triangle becomes L of L Lᵀ = matrix, in place. @param matrix [d × d], positive definite */
function cholesky(matrix: Float64Array, d: number): void {
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * d + j] ?? 0;
      for (let k = 0; k < j; k++) {
        sum -= (matrix[i * d + k] ?? 0) * (matrix[j * d + k] ?? 0);
      }
      if (i === j) {
        assert(sum > 0, "the penalty keeps the matrix positive definite");
        matrix[i * d + i] = Math.sqrt(sum);
      } else {
        matrix[i * d + j] = sum / (matrix[j * d + j] ?? 0);
      }
    }
  }
}

/** v ← (L Lᵀ)⁻¹ v in place. */
function solveCholesky(lower: Float64Array, d: number, v: Float64Array): void {
  for (let i = 0; i < d; i++) {
    let sum = v[i] ?? 0;
    for (let k = 0; k < i; k++) sum -= (lower[i * d + k] ?? 0) * (v[k] ?? 0);
    v[i] = sum / (lower[i * d + i] ?? 0);
  }
  for (let i = d - 1; i >= 0; i--) {
    const value = (v[i] ?? 0) / (lower[i * d + i] ?? 0);
    v[i] = value;
    // Row i of L is column i of Lᵀ: subtract it from what is still to be solved.
    for (let k = 0; k < i; k++) v[k] = (v[k] ?? 0) - value * (lower[i * d + k] ?? 0);
  }
}
