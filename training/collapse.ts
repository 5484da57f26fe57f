/**
 * Is the encoder still telling its inputs apart? Three numbers over a batch of embeddings of length 1 say so long
 * before the loss does: how many directions they use, with and without their common offset, and how far they spread.
 */

export interface CollapseReport {
  /**
   * exp of the entropy of the normalised singular values: 1 = one direction, min(B, D) = all alike. As in
   * bench/quality. Source: RankMe, arXiv 2210.02885.
   */
  readonly effectiveRank: number;
  /** The same once the mean is taken away: a fresh encoder has a large common offset, which is not collapse. */
  readonly centredRank: number;
  /** Mean over dimensions of the standard deviation, times √D: 0 = one point, about 1 = spread evenly. */
  readonly spread: number;
}

export interface CollapseThresholds {
  /** Of the centred rank. */
  readonly effectiveRankMin: number;
  readonly spreadMin: number;
}

/** @param embeddings B rows of D numbers, B ≥ 2, of any length, not mutated */
export function measureCollapse(embeddings: readonly Float32Array[]): CollapseReport {
  const rows = embeddings.map(unitRow);
  const means = columnMeans(rows);
  const centred = rows.map((row) => row.map((x, d) => x - (means[d] ?? 0)));
  return {
    effectiveRank: effectiveRank(rows),
    centredRank: effectiveRank(centred),
    spread: spread(centred),
  };
}

/** What is wrong, for the person watching; undefined if all is well. */
export function collapseWarning(
  report: CollapseReport,
  thresholds: CollapseThresholds,
): string | undefined {
  if (!(report.spread >= thresholds.spreadMin)) {
    return `embeddings are collapsing to one point (spread ${report.spread.toFixed(4)}, healthy is above ${thresholds.spreadMin})`;
  }
  if (!(report.centredRank >= thresholds.effectiveRankMin)) {
    return `embeddings are collapsing to few directions (effective rank ${report.centredRank.toFixed(1)} once centred, healthy is above ${thresholds.effectiveRankMin})`;
  }
  return undefined;
}

function effectiveRank(rows: readonly Float64Array[]): number {
  // Singular values of [B, D] are the roots of the eigenvalues of its B×B Gram matrix.
  const values = symmetricEigenvalues(gram(rows));
  const singular = values.map((value) => Math.sqrt(Math.max(0, value)));
  const sum = singular.reduce((total, value) => total + value, 0);
  if (!(sum > 0)) return 0;
  let entropy = 0;
  for (const value of singular) {
    const p = value / sum;
    if (p > 0) entropy -= p * Math.log(p);
  }
  return Math.exp(entropy);
}

/** @param centred rows without their mean */
function spread(centred: readonly Float64Array[]): number {
  const D = centred[0]?.length ?? 0;
  const variances = new Float64Array(D);
  for (const row of centred) {
    row.forEach((x, d) => {
      variances[d] = (variances[d] ?? 0) + (x * x) / centred.length;
    });
  }
  return (variances.reduce((sum, variance) => sum + Math.sqrt(variance), 0) / D) * Math.sqrt(D);
}

function unitRow(row: Float32Array): Float64Array {
  const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
  return Float64Array.from(row, (x) => (norm === 0 ? 0 : x / norm));
}

function columnMeans(rows: readonly Float64Array[]): Float64Array {
  const means = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) {
    row.forEach((x, d) => {
      means[d] = (means[d] ?? 0) + x / rows.length;
    });
  }
  return means;
}

function gram(rows: readonly Float64Array[]): Float64Array[] {
  return rows.map((a) =>
    Float64Array.from(rows, (b) => {
      let dot = 0;
      for (let d = 0; d < a.length; d++) dot += (a[d] ?? 0) * (b[d] ?? 0);
      return dot;
    }),
  );
}

/**
 * Eigenvalues of a symmetric matrix by cyclic Jacobi rotations, in no order. The matrix is overwritten.
 * @param a n rows of n numbers   Source: Golub and Van Loan, Matrix Computations, 8.5.
 */
export function symmetricEigenvalues(a: readonly Float64Array[]): Float64Array {
  const n = a.length;
  const at = (i: number, j: number): number => a[i]?.[j] ?? 0;
  let scale = 0;
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) scale += at(i, j) ** 2;
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) off += at(i, j) ** 2;
    if (!(off > 1e-20 * scale)) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, p, q);
  }
  return Float64Array.from({ length: n }, (_, i) => at(i, i));
}

/** One rotation of rows and columns p and q that makes a[p][q] zero. */
function rotate(a: readonly Float64Array[], p: number, q: number): void {
  const rowP = a[p];
  const rowQ = a[q];
  if (rowP === undefined || rowQ === undefined) return;
  const apq = rowP[q] ?? 0;
  if (apq === 0) return;
  const tau = ((rowQ[q] ?? 0) - (rowP[p] ?? 0)) / (2 * apq);
  const t = (tau >= 0 ? 1 : -1) / (Math.abs(tau) + Math.sqrt(1 + tau * tau));
  const c = 1 / Math.sqrt(1 + t * t);
  const s = t * c;
  for (const row of a) {
    const x = row[p] ?? 0;
    const y = row[q] ?? 0;
    row[p] = c * x - s * y;
    row[q] = s * x + c * y;
  }
  for (let k = 0; k < a.length; k++) {
    const x = rowP[k] ?? 0;
    const y = rowQ[k] ?? 0;
    rowP[k] = c * x - s * y;
    rowQ[k] = s * x + c * y;
  }
}
