/**
 * How soon a network lives again. From the healing on: some validator commits a leader that is newer than all that was
 * committed before; every correct validator commits such leaders, and has a block of its own committed. Both have their
 * limits. Later on, commits never stop, at none of them.
 */
import type { AuthorityIndex, Round } from "../../protocol/consensus/block.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import type { Checks } from "./checks.ts";
import { type Micros, SECOND } from "./event-queue.ts";
import type { FaultPlan } from "./faults.ts";

/** A network that has healed and commits nothing for so long is stuck. */
const STILL_MAX: Micros = 20 * SECOND;

export class Liveness {
  private readonly plan: Pick<FaultPlan, "healAt" | "commitLimit" | "backLimit">;
  private readonly checks: Checks;
  private readonly correct: readonly AuthorityIndex[];
  /** By author: round of the newest of its blocks that was committed. */
  private readonly committedRounds = new Map<AuthorityIndex, Round>();
  /** By correct validator: the round of the leader that it committed last, and since when. */
  private readonly stands = new Map<AuthorityIndex, { round: Round; since: Micros }>();
  /** Round of the last leader committed before the healing. */
  private frontier: Round | undefined;
  private lastCommitAt: Micros = 0;
  private firstCommitAt: Micros | undefined;
  private backAt: Micros | undefined;
  private hasGivenUp = false;

  constructor(plan: FaultPlan, checks: Checks, correct: readonly AuthorityIndex[]) {
    this.plan = plan;
    this.checks = checks;
    this.correct = correct;
  }

  /** From the healing to the first new commit. */
  get firstCommitAfter(): Micros | undefined {
    return this.firstCommitAt === undefined ? undefined : this.firstCommitAt - this.plan.healAt;
  }

  /** From the healing until all correct validators were back. */
  get backAfter(): Micros | undefined {
    return this.backAt === undefined ? undefined : this.backAt - this.plan.healAt;
  }

  /** True when a limit was passed: going on would show nothing more. */
  get isLost(): boolean {
    return this.hasGivenUp;
  }

  /** A commit was made for the first time. */
  agreed(commit: Commit, now: Micros): void {
    this.lastCommitAt = now;
    for (const { author, round } of commit.blocks) {
      if (round > (this.committedRounds.get(author) ?? 0)) this.committedRounds.set(author, round);
    }
    if (this.frontier === undefined || commit.leader.round <= this.frontier) return;
    this.firstCommitAt ??= now;
  }

  /** Looked at now and then. */
  tick(now: Micros): void {
    const { healAt, commitLimit, backLimit } = this.plan;
    if (now < healAt || this.hasGivenUp) return;
    this.frontier ??= this.checks.highestRound;
    const watched = this.correct.filter((each) => this.checks.isWatched(each));
    const { frontier } = this;
    if (this.firstCommitAt === undefined && now > healAt + commitLimit) {
      this.giveUp(-1, `no new commit within ${commitLimit / SECOND} s of healing`);
    }
    if (this.backAt === undefined) {
      const away = watched.filter((each) => !this.isBack(each, frontier));
      if (away.length === 0) this.backAt = now;
      else if (now > healAt + backLimit) {
        for (const each of away) {
          const what = this.checks.roundOf(each) > frontier ? "no block of it is" : "it has not";
          this.giveUp(each, `${what} committed within ${backLimit / SECOND} s of healing`);
        }
      }
    } else if (now > this.lastCommitAt + STILL_MAX) {
      this.giveUp(-1, `no commit for ${STILL_MAX / SECOND} s`);
    } else {
      for (const each of watched) this.look(each, now);
    }
  }

  private look(validator: AuthorityIndex, now: Micros): void {
    const round = this.checks.roundOf(validator);
    const stand = this.stands.get(validator);
    if (stand === undefined || stand.round !== round) {
      this.stands.set(validator, { round, since: now });
    } else if (now > stand.since + STILL_MAX) {
      this.giveUp(validator, `it has committed nothing for ${STILL_MAX / SECOND} s, others have`);
    }
  }

  private isBack(validator: AuthorityIndex, frontier: Round): boolean {
    return (
      this.checks.roundOf(validator) > frontier &&
      (this.committedRounds.get(validator) ?? 0) > frontier
    );
  }

  private giveUp(validator: AuthorityIndex, what: string): void {
    this.hasGivenUp = true;
    this.checks.notLive(validator, what);
  }
}
