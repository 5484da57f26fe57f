/** Sums over the rows of a matrix: column means and XᵀX, in double precision. */
import type { DenseMatrix } from "./matrix.ts";

/** Mean of each column. @returns Float64Array [dimension] */
export function columnMeans(matrix: DenseMatrix): Float64Array {
  const { count, dimension, values } = matrix;
  const means = new Float64Array(dimension);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < dimension; k++) {
      means[k] = (means[k] ?? 0) + (values[i * dimension + k] ?? 0);
    }
  }
  for (let k = 0; k < dimension; k++) means[k] = (means[k] ?? 0) / Math.max(1, count);
  return means;
}

/**
 * XᵀX of rows laid out one after another. Four rows are taken at a time, so that each entry of the result is
 * loaded once for four products.
 * @param x [count × d]  @returns Float64Array [d × d], both triangles filled
 */
export function gramMatrix(x: Float32Array | Float64Array, count: number, d: number): Float64Array {
  const gram = new Float64Array(d * d);
  const rows = Math.floor(count / 4) * 4;
  for (let i = 0; i < rows; i += 4) {
    const r0 = i * d;
    const r1 = r0 + d;
    const r2 = r1 + d;
    const r3 = r2 + d;
    for (let j = 0; j < d; j++) {
      const a0 = x[r0 + j] ?? 0;
      const a1 = x[r1 + j] ?? 0;
      const a2 = x[r2 + j] ?? 0;
      const a3 = x[r3 + j] ?? 0;
      const out = j * d;
      for (let k = 0; k <= j; k++) {
        gram[out + k] =
          (gram[out + k] ?? 0) +
          a0 * (x[r0 + k] ?? 0) +
          a1 * (x[r1 + k] ?? 0) +
          a2 * (x[r2 + k] ?? 0) +
          a3 * (x[r3 + k] ?? 0);
      }
    }
  }
  for (let i = rows; i < count; i++) {
    for (let j = 0; j < d; j++) {
      const a = x[i * d + j] ?? 0;
      for (let k = 0; k <= j; k++)
        gram[j * d + k] = (gram[j * d + k] ?? 0) + a * (x[i * d + k] ?? 0);
    }
  }
  for (let j = 0; j < d; j++) {
    for (let k = 0; k < j; k++) gram[k * d + j] = gram[j * d + k] ?? 0;
  }
  return gram;
}

/** The rows less `means`, in double precision. @returns Float64Array [count × dimension] */
export function centred(matrix: DenseMatrix, means: Float64Array): Float64Array {
  const { count, dimension, values } = matrix;
  const out = new Float64Array(count * dimension);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < dimension; k++) {
      out[i * dimension + k] = (values[i * dimension + k] ?? 0) - (means[k] ?? 0);
    }
  }
  return out;
}
