/**
 * UMAP: a map of points in the plane that keeps neighbours together. The one door of umap-js. Distances between
 * far islands of such a map mean nothing. Source: McInnes, Healy & Melville, arXiv 1802.03426.
 */
import { createRequire } from "node:module";
import type { UMAP as Umap } from "umap-js";
import { assert } from "../../base/errors.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { nearestRows } from "../quality/knn.ts";
import { innerProducts, rowOf, type DenseMatrix } from "../quality/matrix.ts";

const require = createRequire(import.meta.url);
const { UMAP } = require("umap-js") as { readonly UMAP: typeof Umap };

export const NEIGHBOR_COUNT = 15;
const MIN_DISTANCE = 0.1;
const EPOCH_COUNT = 300;
/** Fewer points have no neighbourhoods to draw. */
export const POINTS_MIN = NEIGHBOR_COUNT + 1;

/**
 * @param matrix rows of length 1, at least POINTS_MIN
 * @returns one [x, y] a row; equal for equal rows and seed
 */
export function umapLayout(
  matrix: DenseMatrix,
  seed: number,
): readonly (readonly [number, number])[] {
  assert(matrix.count >= POINTS_MIN, `UMAP needs at least ${POINTS_MIN} points`);
  const rng = seededRng(seed, "umap");
  const umap = new UMAP({
    nComponents: 2,
    nNeighbors: NEIGHBOR_COUNT,
    minDist: MIN_DISTANCE,
    nEpochs: EPOCH_COUNT,
    random: () => rng.unit(),
  });
  // Exact neighbours by cosine: the library's own search is approximate and slower at this size.
  const similarities = innerProducts(matrix, matrix);
  const indices: number[][] = [];
  const distances: number[][] = [];
  for (let i = 0; i < matrix.count; i++) {
    const row = similarities.subarray(i * matrix.count, (i + 1) * matrix.count);
    const nearest = [i, ...nearestRows(row, NEIGHBOR_COUNT - 1, (j) => j !== i)]; // a point is its own first
    indices.push(nearest);
    distances.push(nearest.map((j) => (j === i ? 0 : Math.max(0, 1 - (row[j] ?? 0)))));
  }
  umap.setPrecomputedKNN(indices, distances);
  const rows = Array.from({ length: matrix.count }, (_, i) => Array.from(rowOf(matrix, i)));
  return umap.fit(rows).map((point) => [point[0] ?? 0, point[1] ?? 0]);
}
