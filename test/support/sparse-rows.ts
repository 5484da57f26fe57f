/** Written-out rows as a sparse matrix. */
import type { SparseMatrix } from "../../bench/quality/matrix.ts";

export function sparseRows(
  rowsOf: readonly (readonly number[])[],
  dimension = rowsOf[0]?.length ?? 0,
): SparseMatrix {
  const offsets = new Int32Array(rowsOf.length + 1);
  const columns: number[] = [];
  const values: number[] = [];
  rowsOf.forEach((row, i) => {
    row.forEach((value, column) => {
      if (value === 0) return;
      columns.push(column);
      values.push(value);
    });
    offsets[i + 1] = columns.length;
  });
  return {
    kind: "sparse",
    count: rowsOf.length,
    dimension,
    offsets,
    columns: Int32Array.from(columns),
    values: Float32Array.from(values),
  };
}
