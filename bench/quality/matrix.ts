/**
 * Matrices of points on the host, a row each, and their inner products. Evaluation uses no tensors: plain loops
 * sum in double precision and in one order, so a number does not depend on the backend that made the embeddings.
 */
import { assert } from "../../base/errors.ts";

export interface DenseMatrix {
  readonly kind: "dense";
  /** Rows. */
  readonly count: number;
  readonly dimension: number;
  /** Float32Array [count × dimension] */
  readonly values: Float32Array;
}

/** Compressed rows: the non-zero entries of row i stand at offsets[i] … offsets[i + 1] − 1, columns ascending. */
export interface SparseMatrix {
  readonly kind: "sparse";
  readonly count: number;
  readonly dimension: number;
  /** Int32Array [count + 1] */
  readonly offsets: Int32Array;
  readonly columns: Int32Array;
  readonly values: Float32Array;
}

export type Matrix = DenseMatrix | SparseMatrix;

/** @param vectors all of one length  @throws InvariantError if they are not */
export function denseMatrix(vectors: readonly ArrayLike<number>[], dimension: number): DenseMatrix {
  const values = new Float32Array(vectors.length * dimension);
  vectors.forEach((vector, i) => {
    assert(vector.length === dimension, `a vector has ${vector.length} values, not ${dimension}`);
    values.set(vector, i * dimension);
  });
  return { kind: "dense", count: vectors.length, dimension, values };
}

/** Row i, not copied. */
export function rowOf(matrix: DenseMatrix, i: number): Float32Array {
  return matrix.values.subarray(i * matrix.dimension, (i + 1) * matrix.dimension);
}

/** The rows at `indices`, copied, in that order. */
export function selectRows<M extends Matrix>(matrix: M, indices: readonly number[]): M;
export function selectRows(matrix: Matrix, indices: readonly number[]): Matrix {
  if (matrix.kind === "dense") {
    return denseMatrix(
      indices.map((i) => rowOf(matrix, i)),
      matrix.dimension,
    );
  }
  const offsets = new Int32Array(indices.length + 1);
  indices.forEach((i, at) => {
    const length = (matrix.offsets[i + 1] ?? 0) - (matrix.offsets[i] ?? 0);
    offsets[at + 1] = (offsets[at] ?? 0) + length;
  });
  const total = offsets[indices.length] ?? 0;
  const columns = new Int32Array(total);
  const values = new Float32Array(total);
  indices.forEach((i, at) => {
    const from = matrix.offsets[i] ?? 0;
    const to = matrix.offsets[i + 1] ?? 0;
    columns.set(matrix.columns.subarray(from, to), offsets[at] ?? 0);
    values.set(matrix.values.subarray(from, to), offsets[at] ?? 0);
  });
  return { ...matrix, count: indices.length, offsets, columns, values };
}

/** The first `cut` values of every row, not normalised again. */
export function prefix(matrix: DenseMatrix, cut: number): DenseMatrix {
  assert(cut >= 1 && cut <= matrix.dimension, `a cut of ${cut} is outside 1 … ${matrix.dimension}`);
  if (cut === matrix.dimension) return matrix;
  const values = new Float32Array(matrix.count * cut);
  for (let i = 0; i < matrix.count; i++) values.set(rowOf(matrix, i).subarray(0, cut), i * cut);
  return { kind: "dense", count: matrix.count, dimension: cut, values };
}

/** Every row scaled to length 1; a row of zeros stays so, and is then equally far from everything. */
export function normaliseRows(matrix: DenseMatrix): DenseMatrix {
  const { count, dimension } = matrix;
  const values = new Float32Array(matrix.values.length);
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let k = i * dimension; k < (i + 1) * dimension; k++) sum += (matrix.values[k] ?? 0) ** 2;
    const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let k = i * dimension; k < (i + 1) * dimension; k++) {
      values[k] = (matrix.values[k] ?? 0) * scale;
    }
  }
  return { kind: "dense", count, dimension, values };
}

/**
 * Inner products of all rows of `a` with all rows of `b`: cosines if both are normalised.
 * Equal rows of `b` get bit-equal products, so that ties are seen as ties.
 * @returns Float32Array [a.count × b.count]
 */
export function innerProducts(a: Matrix, b: Matrix): Float32Array {
  assert(
    a.dimension === b.dimension,
    `spaces of ${a.dimension} and ${b.dimension} dimensions differ`,
  );
  if (a.kind === "dense" && b.kind === "dense") return denseProducts(a, b);
  assert(a.kind === "sparse" && b.kind === "sparse", "dense and sparse rows are never compared");
  return sparseProducts(a, b);
}

/**
 * Tiles of 2 × 4 rows: each value loaded is used in four or two products (5.5 GFLOP/s where the plain
 * triple loop does 2). The last tiles are padded by repeating a row, so every product is one sum in one order.
 */
function denseProducts(a: DenseMatrix, b: DenseMatrix): Float32Array {
  const { count: n, dimension: d } = a;
  const m = b.count;
  const x = a.values;
  const y = b.values;
  const out = new Float32Array(n * m);
  for (let i = 0; i < n; i += 2) {
    const i0 = i * d;
    const i1 = Math.min(i + 1, n - 1) * d;
    const row0 = i * m;
    const row1 = Math.min(i + 1, n - 1) * m;
    for (let j = 0; j < m; j += 4) {
      const j0 = j * d;
      const [c1, c2, c3] = [Math.min(j + 1, m - 1), Math.min(j + 2, m - 1), Math.min(j + 3, m - 1)];
      const j1 = c1 * d;
      const j2 = c2 * d;
      const j3 = c3 * d;
      let [s00, s01, s02, s03, s10, s11, s12, s13] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < d; k++) {
        const x0 = x[i0 + k] ?? 0;
        const x1 = x[i1 + k] ?? 0;
        const y0 = y[j0 + k] ?? 0;
        const y1 = y[j1 + k] ?? 0;
        const y2 = y[j2 + k] ?? 0;
        const y3 = y[j3 + k] ?? 0;
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
      }
      out[row0 + j] = s00;
      out[row0 + c1] = s01;
      out[row0 + c2] = s02;
      out[row0 + c3] = s03;
      out[row1 + j] = s10;
      out[row1 + c1] = s11;
      out[row1 + c2] = s12;
      out[row1 + c3] = s13;
    }
  }
  return out;
}

/** Rows of `a` are met one at a time as a dense scratch row that the rows of `b` are read against. */
function sparseProducts(a: SparseMatrix, b: SparseMatrix): Float32Array {
  const out = new Float32Array(a.count * b.count);
  const scratch = new Float64Array(a.dimension);
  for (let i = 0; i < a.count; i++) {
    const from = a.offsets[i] ?? 0;
    const to = a.offsets[i + 1] ?? 0;
    for (let e = from; e < to; e++) scratch[a.columns[e] ?? 0] = a.values[e] ?? 0;
    for (let j = 0; j < b.count; j++) {
      let sum = 0;
      const end = b.offsets[j + 1] ?? 0;
      for (let e = b.offsets[j] ?? 0; e < end; e++) {
        sum += (scratch[b.columns[e] ?? 0] ?? 0) * (b.values[e] ?? 0);
      }
      out[i * b.count + j] = sum;
    }
    for (let e = from; e < to; e++) scratch[a.columns[e] ?? 0] = 0;
  }
  return out;
}
