/**
 * UMAP: a map of points in the plane that keeps neighbours together. The one door of umap-js. Distances between
 * far islands of such a map mean nothing. Source: McInnes, Healy & Melville, arXiv 1802.03426.
 */
import { createRequire } from "node:module";
import type { UMAP as Umap } from "umap-js";
import { assert } from "../../base/errors.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { symmetricEigen } from "../quality/eigen.ts";
import { centred, columnMeans, gramMatrix } from "../quality/gram.ts";
import { nearestRows } from "../quality/knn.ts";
import { innerProducts, prefix, rowOf, type DenseMatrix } from "../quality/matrix.ts";

const require = createRequire(import.meta.url);
const { UMAP } = require("umap-js") as { readonly UMAP: typeof Umap };

export const NEIGHBOR_COUNT = 15;
const MIN_DISTANCE = 0.1;
const EPOCH_COUNT = 300;
/** The layout starts within ± this, the library's own scale. */
const START_SIDE = 10;
const JITTER = 0.01;
const PLANE_DIMENSIONS_MAX = 256;
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
  const epochs = umap.initializeFit(rows);
  // The library starts from noise, which tears related islands apart; the principal plane puts them side by side.
  const start = principalPlane(matrix);
  const layout = umap.getEmbedding();
  layout.forEach((point, i) => {
    const [x, y] = start[i] ?? [0, 0];
    point[0] = START_SIDE * x + JITTER * (rng.unit() - 0.5); // equal rows must not start at one point
    point[1] = START_SIDE * y + JITTER * (rng.unit() - 0.5);
  });
  for (let epoch = 0; epoch < epochs; epoch++) umap.step();
  return layout.map((point) => [point[0] ?? 0, point[1] ?? 0]);
}

/** The first two principal components, each scaled to −1 … 1. */
function principalPlane(matrix: DenseMatrix): readonly (readonly [number, number])[] {
  // A start need not be exact: the eigenvectors of more dimensions than these take longer than the map.
  const points = prefix(matrix, Math.min(matrix.dimension, PLANE_DIMENSIONS_MAX));
  const d = points.dimension;
  const rows = centred(points, columnMeans(points));
  const { vectors } = symmetricEigen(gramMatrix(rows, points.count, d), d, Math.min(2, d));
  const component = (index: number): number[] => {
    const values = Array.from({ length: points.count }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < d; k++) sum += (rows[i * d + k] ?? 0) * (vectors[index * d + k] ?? 0);
      return sum;
    });
    const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-12);
    return values.map((value) => value / largest);
  };
  const [first, second] = [component(0), component(1)];
  return first.map((x, i) => [x, second[i] ?? 0]);
}
