/** Which index is used: HNSW where its addon works, else exact search, told once. */
import { present, SomaError } from "../../base/errors.ts";
import { say } from "../../base/terminal.ts";
import { ExactIndex } from "./exact.ts";
import { HnswIndex, loadHnswlib } from "./hnsw.ts";
import type { IndexKind, Metric, NeighborIndex } from "./neighbor-index.ts";
import { readVectors } from "./vectors-folder.ts";

export interface IndexOptions {
  /** "auto" (default): hnsw if its addon loads, else exact. */
  readonly kind?: IndexKind | "auto";
  /** Told in one sentence what was replaced by what. Default: stderr, once a process for the missing addon. */
  readonly warn?: (sentence: string) => void;
}

let warnedOfAddon = false;

/** An empty index. @throws SomaError NO_HNSW (failure) if "hnsw" is demanded and its addon does not load */
export function createNeighborIndex(
  dimension: number,
  options: IndexOptions & { readonly metric?: Metric } = {},
): NeighborIndex {
  const { metric = "cosine" } = options;
  const hnswlib = chosenLibrary(options);
  return hnswlib === undefined
    ? new ExactIndex(dimension, metric)
    : HnswIndex.empty(hnswlib, dimension, metric);
}

/**
 * An index that was saved, of either kind. A damaged graph is rebuilt from the vectors.
 * @throws SomaError CORRUPT_INDEX (corrupt) if the vectors are damaged
 */
export async function loadNeighborIndex(
  directory: string,
  options: IndexOptions = {},
): Promise<NeighborIndex> {
  const saved = await readVectors(directory, options.warn ?? say);
  const hnswlib = chosenLibrary(options);
  if (hnswlib !== undefined && saved.graph !== undefined) {
    const { graph } = saved;
    return HnswIndex.restore(hnswlib, { ...saved, graph });
  }
  const index = createNeighborIndex(saved.dimension, { ...options, metric: saved.metric });
  for (const label of saved.vectors.keys()) {
    index.add(present(saved.vectors.get(label), "a vector for each label"), label);
  }
  return index;
}

/** hnswlib, or undefined for exact search. */
function chosenLibrary(
  options: IndexOptions,
): Exclude<ReturnType<typeof loadHnswlib>, string> | undefined {
  const { kind = "auto", warn } = options;
  if (kind === "exact") return undefined;
  const library = loadHnswlib();
  if (typeof library !== "string") return library;
  if (kind === "hnsw") {
    throw new SomaError({
      code: "NO_HNSW",
      kind: "failure",
      what: `the HNSW addon does not load (${library})`,
      next: "run `npm run setup` on a machine with g++ and Python, or use the exact index",
    });
  }
  if (warn !== undefined || !warnedOfAddon) {
    (warn ?? say)(
      "the HNSW addon is not compiled, neighbours are searched exactly (slower beyond 100,000); `npm run setup` compiles it",
    );
    if (warn === undefined) warnedOfAddon = true;
  }
  return undefined;
}
