/**
 * The network's part in the attack that lives on round jumping (Qiu, Xiao, Shao, IEEE S&P 2026, section 3.2). In each
 * round one honest validator, another one each time, gets the blocks of the round so late that those of the next are
 * there too. One that jumps to the newest round then never votes in the one between; one that makes up for it does no
 * harm. All within delays that a network may have. Source: guides: consensus, 6.1; shared case "round_jump".
 */
import type { AuthorityIndex, Round } from "../../protocol/consensus/block.ts";
import type { LeaderSchedule } from "../../protocol/consensus/leader-schedule.ts";
import type { PeerMessage } from "../network/message.ts";
import { roundOf } from "./block-place.ts";
import { type Micros, MS } from "./event-queue.ts";

/** A little more than a round takes. */
const LAG: Micros = 90 * MS;

export class JumpAttack {
  private readonly correct: readonly AuthorityIndex[];
  private readonly schedule: LeaderSchedule;

  constructor(correct: readonly AuthorityIndex[], schedule: LeaderSchedule) {
    this.correct = correct;
    this.schedule = schedule;
  }

  /** What is added to the delay of a message. */
  lagOf(_from: AuthorityIndex, to: AuthorityIndex, message: PeerMessage): Micros {
    const first = message.kind === "blocks" ? message.blocks[0] : undefined;
    return first !== undefined && this.victim(roundOf(first)) === to ? LAG : 0;
  }

  /** Not one that leads the round it will miss: the others would wait for it, and it would catch up. */
  private victim(round: Round): AuthorityIndex | undefined {
    const leaders = this.schedule.leaders(round + 1);
    const { correct } = this;
    for (let i = 0; i < correct.length; i++) {
      const candidate = correct[(round + i) % correct.length];
      if (candidate !== undefined && !leaders.includes(candidate)) return candidate;
    }
    return undefined;
  }
}
