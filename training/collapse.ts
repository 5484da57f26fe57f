/**
 * Is the encoder still telling its inputs apart? Two numbers over a batch of embeddings say so long before
 * the loss does: the effective rank, and how far embeddings spread once their length is taken away.
 */

export interface CollapseReport {
  /** exp of the entropy of the normalised singular values: 1 = one direction, min(B, D) = all alike. Source: RankMe, arXiv 2210.02885. */
  readonly effectiveRank: number;
  /** Mean over dimensions of the standard deviation of the unit-length embeddings, times √D: 0 = one point, about 1 = spread evenly. */
  readonly spread: number;
}

export interface CollapseThresholds {
  readonly effectiveRankMin: number;
  readonly spreadMin: number;
}

/** @param embeddings B rows of D numbers, B ≥ 2, not mutated */
export function measureCollapse(embeddings: readonly Float32Array[]): CollapseReport {
  return { effectiveRank: effectiveRank(embeddings), spread: spread(embeddings) };
}

/** What is wrong, for the person watching; undefined if all is well. */
export function collapseWarning(
  report: CollapseReport,
  thresholds: CollapseThresholds,
): string | undefined {
  if (!(report.spread >= thresholds.spreadMin)) {
    return `embeddings are collapsing to one point (spread ${report.spread.toFixed(4)}, healthy is above ${thresholds.spreadMin})`;
  }
  if (!(report.effectiveRank >= thresholds.effectiveRankMin)) {
    return `embeddings are collapsing to few directions (effective rank ${report.effectiveRank.toFixed(1)}, healthy is above ${thresholds.effectiveRankMin})`;
  }
  return undefined;
}

function effectiveRank(rows: readonly Float32Array[]): number {
  // Singular values of [B, D] are the roots of the eigenvalues of its B×B Gram matrix.
  const singular = symmetricEigenvalues(gram(rows)).map((value) => Math.sqrt(Math.max(0, value)));
  const sum = singular.reduce((total, value) => total + value, 0);
  if (!(sum > 0)) return 0;
  let entropy = 0;
  for (const value of singular) {
    const p = value / sum;
    if (p > 0) entropy -= p * Math.log(p);
  }
  return Math.exp(entropy);
}

function spread(rows: readonly Float32Array[]): number {
  const D = rows[0]?.length ?? 0;
  const sum = new Float64Array(D);
  const squares = new Float64Array(D);
  for (const row of rows) {
    const norm = Math.sqrt(row.reduce((total, x) => total + x * x, 0));
    if (norm === 0) continue;
    row.forEach((x, d) => {
      sum[d] = (sum[d] ?? 0) + x / norm;
      squares[d] = (squares[d] ?? 0) + (x / norm) ** 2;
    });
  }
  let deviations = 0;
  for (let d = 0; d < D; d++) {
    const mean = (sum[d] ?? 0) / rows.length;
    deviations += Math.sqrt(Math.max(0, (squares[d] ?? 0) / rows.length - mean * mean));
  }
  return (deviations / D) * Math.sqrt(D);
}

function gram(rows: readonly Float32Array[]): Float64Array[] {
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
