/**
 * An attack on the border between direct and indirect decisions. Once in a while a leader's block comes to one honest
 * validator, the victim, too late for its vote; the faulty show their votes, and then their certificates, to one other,
 * the favourite, and to all others blocks without; and what the favourite makes of it comes late. So there are as many
 * certificates as may be faulty, and one honest: too few to commit, and none of them in the history of the next anchor.
 * Who takes one of the thresholds for another commits here what all others skip. Source: guides: consensus, 1.3 and 2.5.
 */
import { present } from "../../base/errors.ts";
import type { AuthorityIndex, Round } from "../../protocol/consensus/block.ts";
import type { LeaderSchedule } from "../../protocol/consensus/leader-schedule.ts";
import type { PeerMessage } from "../network/message.ts";
import { authorOf, roundOf } from "./block-place.ts";
import { type Micros, MS } from "./event-queue.ts";

/** From one attacked slot to the next: between two, rounds as usual, so that there is an anchor. */
const PERIOD = 7;
/** A little longer than anyone waits for a leader: the victim is to go on without it, and be back for the certificates. */
const LEADER_LAG: Micros = 230 * MS;
/** Longer than the rounds until there is an anchor. */
const CERTIFICATE_LAG: Micros = 250 * MS;

/** Who plays which part around one attacked slot. */
export interface SplitRoles {
  /** 0: the leader's round, 1: the votes, 2: the certificates; from 3 on nothing is wrong. */
  readonly phase: number;
  readonly leader: AuthorityIndex;
  readonly victim: AuthorityIndex;
  readonly favourite: AuthorityIndex;
  /** The correct but the victim: they are to vote. */
  readonly voters: readonly AuthorityIndex[];
}

export class SplitAttack {
  private readonly correct: readonly AuthorityIndex[];
  private readonly schedule: LeaderSchedule;

  /** @param correct the honest: two at least */
  constructor(correct: readonly AuthorityIndex[], schedule: LeaderSchedule) {
    this.correct = correct;
    this.schedule = schedule;
  }

  roles(round: Round): SplitRoles {
    const phase = round % PERIOD;
    const leaderRound = round - phase;
    const leader = present(this.schedule.leaders(Math.max(1, leaderRound))[0], "a round is led");
    const others = this.correct.filter((each) => each !== leader);
    const place = leaderRound / PERIOD;
    const victim = present(others[place % others.length], "others are correct");
    return {
      phase,
      leader,
      victim,
      voters: this.correct.filter((each) => each !== victim),
      favourite: present(others[(place + 1) % others.length], "others are correct"),
    };
  }

  /** What is added to the delay of a message, whoever sends it: else the victim would ask another one. */
  lagOf(_from: AuthorityIndex, to: AuthorityIndex, message: PeerMessage): Micros {
    if (message.kind !== "blocks" && message.kind !== "fetchedBlocks") return 0;
    return message.blocks.reduce((lag, block) => Math.max(lag, this.lagOfBlock(to, block)), 0);
  }

  private lagOfBlock(to: AuthorityIndex, block: Uint8Array): Micros {
    const author = authorOf(block);
    const { phase, leader, victim, favourite } = this.roles(roundOf(block));
    if (phase === 0 && author === leader && to === victim) return LEADER_LAG;
    return phase === 2 && author === favourite ? CERTIFICATE_LAG : 0;
  }
}
