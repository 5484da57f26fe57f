/**
 * Who leads a round. The network's rule: a stream seeded by epoch and round draws validators without replacement, by
 * stake, so a validator of twice the stake leads twice as often and nobody chooses. Source: protocol part 9.
 */
import { assert } from "../../base/errors.ts";
import { Rng } from "../../tokenizers/random.ts";
import { u64Bytes } from "../base/bytes.ts";
import { hashDomain, hashParts } from "../base/hash.ts";
import type { AuthorityIndex, Round } from "./block.ts";
import type { Committee } from "./committee.ts";

export interface LeaderSchedule {
  /** Owners of the slots of a round, by offset: always as many as there are slots. */
  leaders(round: Round): readonly AuthorityIndex[];
}

const DOMAIN = hashDomain("leaders");
/** Rounds whose leaders are remembered. */
const REMEMBERED_MAX = 4096;

export class StakeWeightedSchedule implements LeaderSchedule {
  private readonly committee: Committee;
  private readonly leaderCount: number;
  private readonly remembered = new Map<Round, readonly AuthorityIndex[]>();

  constructor(committee: Committee, leaderCount: number) {
    assert(leaderCount <= committee.size, `${leaderCount} leaders among ${committee.size}`);
    this.committee = committee;
    this.leaderCount = leaderCount;
  }

  leaders(round: Round): readonly AuthorityIndex[] {
    const known = this.remembered.get(round);
    if (known !== undefined) return known;
    const drawn = this.draw(round);
    this.remembered.set(round, drawn);
    this.remembered.delete(round - REMEMBERED_MAX);
    return drawn;
  }

  private draw(round: Round): readonly AuthorityIndex[] {
    const { epoch, size, totalStake } = this.committee;
    const rng = new Rng(hashParts(DOMAIN, u64Bytes(epoch), u64Bytes(round)));
    const remaining = Array.from({ length: size }, (_, author) => author);
    let stake = totalStake;
    return Array.from({ length: this.leaderCount }, () => {
      let draw = Number(rng.uniformBig(BigInt(stake)));
      let place = 0;
      for (;;) {
        const author = remaining[place];
        assert(author !== undefined, "a draw below the remaining stake meets a validator");
        const own = this.committee.stake(author);
        if (draw < own) {
          remaining.splice(place, 1);
          stake -= own;
          return author;
        }
        draw -= own;
        place++;
      }
    });
  }
}
