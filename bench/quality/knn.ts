/**
 * k nearest neighbours: the 20 nearest training rows vote for their class with weight exp(cosine / 0.07).
 * Source: Wu et al. 2018 (arXiv 1805.01978), as DINO evaluates; k and temperature as in guides "training" 1.5.
 */
import { assert } from "../../base/errors.ts";

export const NEIGHBOR_COUNT = 20;
export const TEMPERATURE = 0.07;

export interface Labelled {
  readonly groups: readonly string[];
  readonly labels: readonly string[];
}

/**
 * Share of test rows whose class wins the vote. Training rows of the test row's own group never vote, so a set
 * can be judged against itself (leave-one-group-out); with a split by group nothing is left out.
 * Equal votes go to the class that is first in ascending order.
 * @param similarities Float32Array [test × train] cosines
 * @returns in 0 … 1; undefined if either set is empty
 */
export function knnAccuracy(
  similarities: Float32Array,
  test: Labelled,
  train: Labelled,
): number | undefined {
  const n = test.labels.length;
  const m = train.labels.length;
  assert(similarities.length === n * m, "one similarity per test and training row is needed");
  if (n === 0 || m === 0) return undefined;
  const classes = [...new Set(train.labels)].sort();
  const classOf = new Map(classes.map((label, index) => [label, index]));
  const trainClasses = Int32Array.from(train.labels, (label) => classOf.get(label) ?? -1);
  let right = 0;
  for (let i = 0; i < n; i++) {
    const row = similarities.subarray(i * m, (i + 1) * m);
    const group = test.groups[i];
    const nearest = nearestRows(row, NEIGHBOR_COUNT, (j) => train.groups[j] !== group);
    const votes = new Float64Array(classes.length);
    for (const j of nearest) {
      const at = trainClasses[j] ?? 0;
      votes[at] = (votes[at] ?? 0) + Math.exp((row[j] ?? 0) / TEMPERATURE);
    }
    let winner = 0;
    for (let c = 1; c < votes.length; c++) {
      if ((votes[c] ?? 0) > (votes[winner] ?? 0)) winner = c;
    }
    if (nearest.length > 0 && classes[winner] === test.labels[i]) right++;
  }
  return right / n;
}

/**
 * Positions of the k largest values among the allowed ones, largest first, equal ones by position.
 * Insertion into a short sorted list: almost every value fails one comparison.
 */
export function nearestRows(
  similarities: Float32Array,
  k: number,
  allowed: (index: number) => boolean = () => true,
): number[] {
  const best: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < similarities.length; j++) {
    const value = similarities[j] ?? 0;
    if ((best.length === k && value <= least) || Number.isNaN(value) || !allowed(j)) continue;
    let at = best.length;
    while (at > 0 && (similarities[best[at - 1] ?? 0] ?? 0) < value) at--;
    best.splice(at, 0, j);
    if (best.length > k) best.pop();
    least = similarities[best[best.length - 1] ?? 0] ?? 0;
  }
  return best;
}

/** Share of test rows that belong to the most frequent class of the training rows. */
export function majorityAccuracy(
  test: readonly string[],
  train: readonly string[],
): number | undefined {
  if (test.length === 0 || train.length === 0) return undefined;
  const counts = new Map<string, number>();
  for (const label of train) counts.set(label, (counts.get(label) ?? 0) + 1);
  const [majority] = [...counts].reduce((best, next) =>
    next[1] > best[1] || (next[1] === best[1] && next[0] < best[0]) ? next : best,
  );
  return test.filter((label) => label === majority).length / test.length;
}
