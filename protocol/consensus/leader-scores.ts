/**
 * How much each validator's votes for committed leaders helped: a figure for the operator, from the committed sequence
 * alone, so that all compute the same. It changes no leader: the schedule is by stake (protocol part 9).
 * A block that has a committed leader of the round before as a parent is a vote; the stake of the authors whose blocks,
 * of the round after and committed too, have the vote as a parent is its weight.
 * Source: "distributed vote scoring"; shared cases, "scoring".
 */
import { type Committee, StakeAggregator } from "./committee.ts";
import type { Vertex } from "./dag-state.ts";
import type { SubDag } from "./linearizer.ts";

/** @returns by authority: the sum of the weights of its votes */
export function leaderScores(subDags: readonly SubDag[], committee: Committee): readonly number[] {
  const leaders = new Set<Vertex>();
  const votes = new Map<Vertex, StakeAggregator>();
  for (const { vertices } of subDags) {
    const leader = vertices.at(-1);
    if (leader !== undefined) leaders.add(leader);
    for (const vertex of vertices) {
      for (const parent of vertex.parents) {
        if (parent.round !== vertex.round - 1) continue;
        if (leaders.has(parent)) votes.set(vertex, new StakeAggregator(committee));
        votes.get(parent)?.add(vertex.author);
      }
    }
  }
  const scores = Array.from({ length: committee.size }, () => 0);
  for (const [{ author }, { stake }] of votes) scores[author] = (scores[author] ?? 0) + stake;
  return scores;
}
