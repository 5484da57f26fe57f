/**
 * Approximate neighbours by a hierarchical small-world graph: the one door of hnswlib-node, whose addon may be
 * missing. The addon takes NaN, negative labels and foreign dimensions without a word and crashes on damaged
 * files, so everything is checked here first. Source: Malkov & Yashunin, arXiv 1603.09320.
 */
import { randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as Hnswlib from "hnswlib-node";
import { present } from "../../base/errors.ts";
import { byNearness, prepared } from "./exact.ts";
import { assertCount, assertLabel } from "./neighbor-index.ts";
import type { Metric, Neighbor, NeighborIndex } from "./neighbor-index.ts";
import { saveVectors } from "./vectors-folder.ts";

/** Links per entry (the paper's M) and width of the search while building. */
const LINKS = 16;
const BUILD_WIDTH = 200;
/** Width of a search: 64 misses 3 % of the ten nearest of 3,000 loosely clustered vectors of 32, this 1 %. */
const SEARCH_WIDTH_MIN = 128;
const CAPACITY_START = 1024;
/** The graph depends on it, and runs should repeat. */
const GRAPH_SEED = 100;

const require = createRequire(import.meta.url);
let library: typeof Hnswlib | string | undefined;

/** The addon, or the reason why it cannot be loaded. Tried once a process. */
export function loadHnswlib(): typeof Hnswlib | string {
  if (library === undefined) {
    try {
      library = require("hnswlib-node") as typeof Hnswlib;
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      library = what.split("\n")[0] ?? what;
    }
  }
  return library;
}

export class HnswIndex implements NeighborIndex {
  readonly kind = "hnsw";
  readonly dimension: number;
  readonly metric: Metric;
  /** Label → vector as given to the graph: scores are computed from it, and a lost graph rebuilt. */
  private readonly vectors = new Map<number, Float32Array>();
  private readonly graph: Hnswlib.HierarchicalNSW;

  private constructor(dimension: number, metric: Metric, graph: Hnswlib.HierarchicalNSW) {
    this.dimension = dimension;
    this.metric = metric;
    this.graph = graph;
  }

  /** @param hnswlib  what `loadHnswlib` gave */
  static empty(hnswlib: typeof Hnswlib, dimension: number, metric: Metric): HnswIndex {
    const graph = new hnswlib.HierarchicalNSW(spaceOf(metric), dimension);
    graph.initIndex({
      maxElements: CAPACITY_START,
      m: LINKS,
      efConstruction: BUILD_WIDTH,
      randomSeed: GRAPH_SEED,
    });
    return new HnswIndex(dimension, metric, graph);
  }

  /**
   * The index that `save` wrote, without building its graph again.
   * @param vectors  label → vector, exactly those in the graph  @param graph  bytes whose digest was checked
   */
  static async restore(
    hnswlib: typeof Hnswlib,
    {
      dimension,
      metric,
      vectors,
      graph,
    }: Parameters<typeof saveVectors>[1] & {
      readonly graph: Uint8Array;
    },
  ): Promise<HnswIndex> {
    // A copy of the checked bytes: the saved file might change between the check and the load.
    const loaded = await throughFile(async (path) => {
      await writeFile(path, graph, { mode: 0o600 });
      const restored = new hnswlib.HierarchicalNSW(spaceOf(metric), dimension);
      restored.readIndexSync(path);
      return restored;
    });
    const index = new HnswIndex(dimension, metric, loaded);
    for (const [label, vector] of vectors) index.vectors.set(label, vector);
    return index;
  }

  get size(): number {
    return this.vectors.size;
  }

  add(vector: Float32Array, label: number): void {
    assertLabel(label, this.vectors);
    const point = prepared(vector, this.dimension, this.metric);
    const capacity = this.graph.getMaxElements();
    if (this.vectors.size === capacity) this.graph.resizeIndex(2 * capacity);
    this.graph.addPoint([...point], label);
    this.vectors.set(label, point);
  }

  search(query: Float32Array, count: number): readonly Neighbor[] {
    assertCount(count);
    const wanted = prepared(query, this.dimension, this.metric);
    const found = Math.min(count, this.size);
    if (found === 0) return [];
    // The width is not kept in the file, and must not be under the number of neighbours.
    this.graph.setEf(Math.max(SEARCH_WIDTH_MIN, 2 * found));
    const { neighbors, distances } = this.graph.searchKnn([...wanted], found);
    return neighbors
      .map((label, i) => ({ label, score: scoreOf(distances[i], this.metric) }))
      .sort(byNearness);
  }

  async save(directory: string): Promise<void> {
    const graph = await throughFile(async (path) => {
      this.graph.writeIndexSync(path);
      return readFile(path);
    });
    const { dimension, metric, vectors } = this;
    await saveVectors(directory, { dimension, metric, vectors, graph });
  }
}

/** Vectors are of length 1 under cosine, where the inner product is it, and cheaper. */
function spaceOf(metric: Metric): Hnswlib.SpaceName {
  return metric === "cosine" ? "ip" : "l2";
}

/** hnswlib's distance: 1 − inner product, or the squared Euclidean distance. */
function scoreOf(distance: number | undefined, metric: Metric): number {
  const known = present(distance, "a distance for each neighbour");
  return metric === "cosine" ? 1 - known : -Math.sqrt(Math.max(0, known));
}

/** hnswlib reads and writes files by name only. */
async function throughFile<T>(work: (path: string) => Promise<T>): Promise<T> {
  const path = join(tmpdir(), `soma-${process.pid}-${randomBytes(8).toString("hex")}.hnsw`);
  try {
    return await work(path);
  } finally {
    await rm(path, { force: true });
  }
}
