/**
 * Amnesia: a validator that starts with an empty disk may have signed blocks that it no longer knows, and signing their
 * rounds again would be equivocation. It asks all peers for its own last block and proposes only once enough of them
 * have answered that one must be honest. That a block is still on its way nobody can know: the round in the file of
 * highest signed rounds stands against that. Source: guides: consensus, 3.6.
 */
import type { AuthorityIndex } from "./block.ts";
import { type Committee, StakeAggregator } from "./committee.ts";

export class OwnBlockSearch {
  private readonly answered: StakeAggregator;
  private readonly enough: number;

  constructor(committee: Committee, ownIndex: AuthorityIndex) {
    this.answered = new StakeAggregator(committee);
    // Of a committee in which the others together have less, all of them.
    this.enough = Math.min(committee.validity, committee.totalStake - committee.stake(ownIndex));
  }

  get isDone(): boolean {
    return this.answered.stake >= this.enough;
  }

  answer(peer: AuthorityIndex): void {
    this.answered.add(peer);
  }
}
