/**
 * The round to propose next: one above the highest round in which a quorum has blocks.
 * Source: Mysticeti, arXiv 2310.14821; shared conformance cases, "thresholdClock".
 */
import type { AuthorityIndex, Round } from "./block.ts";
import { type Committee, StakeAggregator } from "./committee.ts";

export class ThresholdClock {
  private readonly authors: StakeAggregator;
  private current: Round;

  constructor(committee: Committee, startRound: Round) {
    this.authors = new StakeAggregator(committee);
    this.current = startRound;
  }

  get round(): Round {
    return this.current;
  }

  /** An accepted block. @returns true if the clock moved */
  add(round: Round, author: AuthorityIndex): boolean {
    if (round < this.current) return false;
    const before = this.current;
    if (round > this.current) {
      // Its history holds a quorum of the round before it: those blocks were counted when they came, or never sent here.
      this.authors.clear();
      this.current = round;
    }
    this.authors.add(author);
    if (this.authors.isQuorum) {
      this.authors.clear();
      this.current = round + 1;
    }
    return this.current > before;
  }
}
