/**
 * Retrieval between two sets whose rows belong to groups: for each query, is a row of its own group among the
 * nearest of the other set? Source: recall at k and mean reciprocal rank as in image–text retrieval (CLIP), with
 * ties counted against us, so that an encoder that maps everything to one point scores 0 and not 100 %.
 */
import { assert } from "../../base/errors.ts";

/** Shares in 0 … 1 over the queries that have at least one positive among the candidates. */
export interface RetrievalScore {
  /** Share of queries with a positive among the nearest 1, 5, 10. */
  readonly r1: number;
  readonly r5: number;
  readonly r10: number;
  /** Mean reciprocal rank of the nearest positive. */
  readonly mrr: number;
  /** Queries counted, and candidates ranked for each. Means of several pairings when averaged. */
  readonly queries: number;
  readonly candidates: number;
}

/**
 * Rank of the nearest positive of each query: 1 + the number of negatives that are at least as similar.
 * @param similarities Float32Array [queries × candidates], higher is nearer; NaN counts as the least
 * @returns a rank per query, 0 where no candidate is of the query's group
 */
export function positiveRanks(
  similarities: Float32Array,
  queryGroups: readonly string[],
  candidateGroups: readonly string[],
): Uint32Array {
  const m = candidateGroups.length;
  assert(
    similarities.length === queryGroups.length * m,
    "one similarity per query and candidate is needed",
  );
  const numbers = new Map<string, number>();
  const numberOf = (group: string): number => {
    const known = numbers.get(group) ?? numbers.size;
    numbers.set(group, known);
    return known;
  };
  const candidates = Int32Array.from(candidateGroups, numberOf);
  const queries = Int32Array.from(queryGroups, numberOf);
  return Uint32Array.from(queries, (group, q) => {
    const row = similarities.subarray(q * m, (q + 1) * m);
    let found = false;
    let best = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < m; c++) {
      if (candidates[c] !== group) continue;
      found = true;
      best = Math.max(best, known(row[c]));
    }
    if (!found) return 0;
    let rank = 1;
    for (let c = 0; c < m; c++) {
      if (candidates[c] !== group && known(row[c]) >= best) rank++;
    }
    return rank;
  });
}

function known(similarity: number | undefined): number {
  return similarity === undefined || Number.isNaN(similarity)
    ? Number.NEGATIVE_INFINITY
    : similarity;
}

/** @returns undefined if no query has a positive */
export function retrievalScore(
  similarities: Float32Array,
  queryGroups: readonly string[],
  candidateGroups: readonly string[],
): RetrievalScore | undefined {
  const ranks = positiveRanks(similarities, queryGroups, candidateGroups).filter(
    (rank) => rank > 0,
  );
  if (ranks.length === 0) return undefined;
  const share = (k: number): number => ranks.filter((rank) => rank <= k).length / ranks.length;
  return {
    r1: share(1),
    r5: share(5),
    r10: share(10),
    mrr: ranks.reduce((sum, rank) => sum + 1 / rank, 0) / ranks.length,
    queries: ranks.length,
    candidates: candidateGroups.length,
  };
}

/** Plain mean of several pairings, e.g. of the six ordered pairs of three drawings; undefined of none. */
export function meanScore(
  scores: readonly (RetrievalScore | undefined)[],
): RetrievalScore | undefined {
  const present = scores.filter((score) => score !== undefined);
  if (present.length === 0) return undefined;
  const mean = (key: keyof RetrievalScore): number =>
    present.reduce((sum, score) => sum + score[key], 0) / present.length;
  return {
    r1: mean("r1"),
    r5: mean("r5"),
    r10: mean("r10"),
    mrr: mean("mrr"),
    queries: mean("queries"),
    candidates: mean("candidates"),
  };
}

/**
 * What a uniformly random order of the candidates scores in expectation, when each query has `positives` among
 * `candidates`. P(no positive in the first k) is hypergeometric; E[1 / rank] follows from it.
 */
export function chanceScore(options: {
  readonly queries: number;
  readonly candidates: number;
  readonly positives: number;
}): RetrievalScore {
  const { queries, candidates, positives } = options;
  assert(positives >= 1, "a query has a positive");
  assert(candidates >= positives, "positives are candidates");
  /** P(the nearest positive has rank > k). */
  const beyond = (k: number): number => {
    let p = 1;
    for (let i = 0; i < k; i++) {
      p *= Math.max(0, (candidates - positives - i) / (candidates - i));
    }
    return p;
  };
  let mrr = 0;
  let previous = 1;
  for (let rank = 1; rank <= candidates && previous > 0; rank++) {
    const left = candidates - rank + 1;
    const next = previous * Math.max(0, (left - positives) / left);
    mrr += (previous - next) / rank;
    previous = next;
  }
  return {
    r1: 1 - beyond(Math.min(1, candidates)),
    r5: 1 - beyond(Math.min(5, candidates)),
    r10: 1 - beyond(Math.min(10, candidates)),
    mrr,
    queries,
    candidates,
  };
}
