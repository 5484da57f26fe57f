/**
 * Exact neighbours by comparing with every vector: 2·10^4 vectors of 256 at about 120 searches a second on one
 * core. The fallback where HNSW is missing, and the oracle it is tested against. Scores are float sums: good for
 * people, not for consensus, which has its own integer search.
 */
import { present } from "../../base/errors.ts";
import { assertCount, assertLabel, assertVector } from "./neighbor-index.ts";
import type { Metric, Neighbor, NeighborIndex } from "./neighbor-index.ts";
import { saveVectors } from "./vectors-folder.ts";

export class ExactIndex implements NeighborIndex {
  readonly kind = "exact";
  readonly dimension: number;
  readonly metric: Metric;
  /** Label → vector; scaled to length 1 under cosine. */
  private readonly vectors = new Map<number, Float32Array>();

  constructor(dimension: number, metric: Metric) {
    this.dimension = dimension;
    this.metric = metric;
  }

  get size(): number {
    return this.vectors.size;
  }

  add(vector: Float32Array, label: number): void {
    assertLabel(label, this.vectors);
    this.vectors.set(label, prepared(vector, this.dimension, this.metric));
  }

  search(query: Float32Array, count: number): readonly Neighbor[] {
    assertCount(count);
    const wanted = prepared(query, this.dimension, this.metric);
    const nearest = new NearestList(count);
    for (const [label, vector] of this.vectors) {
      nearest.offer({ label, score: score(wanted, vector, this.metric) });
    }
    return nearest.sorted();
  }

  async save(directory: string): Promise<void> {
    await saveVectors(directory, {
      dimension: this.dimension,
      metric: this.metric,
      vectors: this.vectors,
    });
  }
}

/** A checked copy: scaled to length 1 under cosine, so that the dot product is the cosine. */
export function prepared(vector: Float32Array, dimension: number, metric: Metric): Float32Array {
  assertVector(vector, dimension, metric);
  if (metric === "l2") return vector.slice();
  let squares = 0;
  for (const value of vector) squares += value * value;
  const norm = Math.sqrt(squares);
  return vector.map((value) => value / norm);
}

function score(a: Float32Array, b: Float32Array, metric: Metric): number {
  let sum = 0;
  if (metric === "cosine") {
    for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
    return sum;
  }
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    sum += difference * difference;
  }
  return -Math.sqrt(sum);
}

/** Nearest first; equal scores by ascending label, so that the order of insertion never shows. */
export function byNearness(a: Neighbor, b: Neighbor): number {
  return b.score - a.score || a.label - b.label;
}

/** The `count` nearest of a stream: a heap whose root is the farthest kept. */
class NearestList {
  private readonly count: number;
  private readonly heap: Neighbor[] = [];

  constructor(count: number) {
    this.count = count;
  }

  offer(neighbor: Neighbor): void {
    const { heap } = this;
    if (heap.length < this.count) {
      heap.push(neighbor);
      this.rise(heap.length - 1);
    } else if (byNearness(neighbor, this.at(0)) < 0) {
      heap[0] = neighbor;
      this.sink(0);
    }
  }

  sorted(): readonly Neighbor[] {
    return [...this.heap].sort(byNearness);
  }

  private rise(start: number): void {
    for (let child = start; child > 0;) {
      const parent = (child - 1) >> 1;
      if (byNearness(this.at(child), this.at(parent)) <= 0) return;
      this.swap(child, parent);
      child = parent;
    }
  }

  private sink(start: number): void {
    for (let parent = start; ;) {
      let farthest = parent;
      for (const child of [2 * parent + 1, 2 * parent + 2]) {
        if (child < this.heap.length && byNearness(this.at(child), this.at(farthest)) > 0) {
          farthest = child;
        }
      }
      if (farthest === parent) return;
      this.swap(parent, farthest);
      parent = farthest;
    }
  }

  private swap(i: number, j: number): void {
    const kept = this.at(i);
    this.heap[i] = this.at(j);
    this.heap[j] = kept;
  }

  private at(i: number): Neighbor {
    return present(this.heap[i], "a place inside the heap");
  }
}
