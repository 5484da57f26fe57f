/**
 * What must hold whatever fails, looked at after every event that could break it, each look cheap:
 *
 *   fork          every correct validator commits the same sequence: equal digests at equal indices
 *   order         its commits come in order, each once, its blocks are those that the commit names; a restart goes on
 *                 where its application stood, and that was agreed on, and has lost nothing that was durable
 *   equivocation  no correct validator ever shows two blocks of one round
 *   early         no correct validator shows a block that its disk does not hold
 *   blame         no correct validator is charged with misbehaviour by another
 *   halt          no correct validator halts, and no driver fails but by a disk that was made to
 *   lost          what a correct validator has put into a block is committed in the end
 *   liveness      after healing all correct validators commit again in time, and catch up
 */
import { equalBytes, toHex } from "../../protocol/base/bytes.ts";
import type { AuthorityIndex, Block, Digest, Round } from "../../protocol/consensus/block.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import { authorOf, roundOf } from "./block-place.ts";
import { type Micros, SECOND } from "./event-queue.ts";

export type ViolationKind =
  "fork" | "order" | "equivocation" | "early" | "blame" | "halt" | "lost" | "liveness";

export interface Violation {
  readonly kind: ViolationKind;
  /** Virtual seconds since the start. */
  readonly atSeconds: number;
  readonly validator: AuthorityIndex;
  readonly detail: string;
}

/** A commit as it was seen first. */
interface Agreed {
  readonly digest: Digest;
  readonly leaderRound: Round;
}

/** Where one correct validator stands. */
interface Stand {
  index: number;
  round: Round;
  /** By round: what it has shown as its own block. */
  readonly shown: Map<Round, Uint8Array>;
  /** Its disk has answered for the commits up to here. */
  durableIndex: number;
  /** Up to here it has lost, through no fault of its own, the memory of what it signed. */
  forgottenRound: Round;
}

export interface ChecksOptions {
  readonly correct: readonly AuthorityIndex[];
  readonly now: () => Micros;
  readonly onViolation: (violation: Violation) => void;
  /** Told of every commit when the first validator makes it. */
  readonly onAgreed: (commit: Commit, blocks: readonly Block[]) => void;
}

export class Checks {
  readonly violations: Violation[] = [];
  private readonly options: ChecksOptions;
  /** By index − 1. */
  private readonly agreed: Agreed[] = [];
  private readonly stands = new Map<AuthorityIndex, Stand>();

  constructor(options: ChecksOptions) {
    this.options = options;
    for (const each of options.correct) {
      const shown = new Map<Round, Uint8Array>();
      this.stands.set(each, { index: 0, round: 0, shown, durableIndex: 0, forgottenRound: 0 });
    }
  }

  /** How many commits were agreed on. */
  get commitCount(): number {
    return this.agreed.length;
  }

  /** Digest of the last of them: names the whole sequence. */
  get lastDigest(): Digest | undefined {
    return this.agreed.at(-1)?.digest;
  }

  /** Round of the last committed leader. */
  get highestRound(): Round {
    return this.agreed.at(-1)?.leaderRound ?? 0;
  }

  /** Round of the last leader that every correct validator has committed. */
  get lowestRound(): Round {
    let lowest = Infinity;
    for (const { round } of this.stands.values()) lowest = Math.min(lowest, round);
    return lowest;
  }

  /** Round of the last leader that this one has committed. */
  roundOf(validator: AuthorityIndex): Round {
    return this.stands.get(validator)?.round ?? 0;
  }

  /** A correct validator's application is given a commit. */
  committed(validator: AuthorityIndex, commit: Commit, blocks: readonly Block[]): void {
    const stand = this.stands.get(validator);
    if (stand === undefined) return;
    if (commit.index !== stand.index + 1) {
      this.violate("order", validator, `commit ${commit.index} after ${stand.index}`);
    }
    stand.index = commit.index;
    stand.round = commit.leader.round;
    this.compareBlocks(validator, commit, blocks);
    const first = this.agreed[commit.index - 1];
    if (first === undefined) {
      this.agreed.push({ digest: commit.digest, leaderRound: commit.leader.round });
      this.options.onAgreed(commit, blocks);
    } else if (!equalBytes(first.digest, commit.digest)) {
      const [ours, theirs] = [toHex(commit.digest), toHex(first.digest)];
      this.violate("fork", validator, `commit ${commit.index} is ${ours}, elsewhere ${theirs}`);
    }
  }

  /** A correct validator has started anew, and its application stands at this commit. */
  restarted(validator: AuthorityIndex, index: number, digest: Digest): void {
    const stand = this.stands.get(validator);
    if (stand === undefined) return;
    const first = this.agreed[index - 1];
    if (index > this.agreed.length) {
      this.violate("order", validator, `starts after commit ${index}, which nobody has made`);
    } else if (first !== undefined && !equalBytes(first.digest, digest)) {
      this.violate("fork", validator, `starts after commit ${index}, ${toHex(digest)}`);
    }
    if (index < stand.durableIndex) {
      const was = `commit ${stand.durableIndex} was on its disk`;
      this.violate("order", validator, `starts after commit ${index}, but ${was}`);
    }
    stand.index = index;
    stand.round = this.agreed[index - 1]?.leaderRound ?? 0;
  }

  /** A correct validator's commits are to be made durable. @returns what to call when they are */
  flushing(validator: AuthorityIndex): () => void {
    const stand = this.stands.get(validator);
    const index = stand?.index ?? 0;
    return () => {
      if (stand !== undefined) stand.durableIndex = Math.max(stand.durableIndex, index);
    };
  }

  /** What was on its disk is there no longer. */
  diskDamaged(validator: AuthorityIndex): void {
    const stand = this.stands.get(validator);
    if (stand !== undefined) stand.durableIndex = 0;
  }

  /** A correct validator sends a block. @param isDurable whether its store has answered for it, if it is its own */
  sent(validator: AuthorityIndex, block: Uint8Array, isDurable: boolean): void {
    if (authorOf(block) !== validator) return;
    const stand = this.stands.get(validator);
    const round = roundOf(block);
    const shown = stand?.shown.get(round);
    if (stand === undefined || shown === block) return;
    stand.shown.set(round, block);
    if (shown !== undefined && equalBytes(shown, block)) return;
    if (shown !== undefined && round > stand.forgottenRound) {
      this.violate("equivocation", validator, `two blocks of round ${round}`);
    }
    if (!isDurable) {
      this.violate("early", validator, `block of round ${round} is sent before it is durable`);
    }
  }

  /** It has lost all that it knew of its past, and counts among the faulty: other blocks of those rounds are no surprise. */
  forgotten(validator: AuthorityIndex): void {
    const stand = this.stands.get(validator);
    if (stand !== undefined) stand.forgottenRound = Math.max(0, ...stand.shown.keys());
  }

  /** Whether all must still hold for it. */
  isWatched(validator: AuthorityIndex): boolean {
    return this.stands.has(validator);
  }

  /**
   * It has stopped for good. @returns true if it may: it had forgotten all that it signed, has signed it anew, and has
   * found that out. It counts among the faulty, and does what is best for it.
   */
  mayRetire(validator: AuthorityIndex): boolean {
    if ((this.stands.get(validator)?.forgottenRound ?? 1) === 0) return false;
    this.stands.delete(validator);
    return true;
  }

  blamed(validator: AuthorityIndex, by: AuthorityIndex, why: string): void {
    if (this.stands.has(validator)) this.violate("blame", validator, `by ${by}: ${why}`);
  }

  halted(validator: AuthorityIndex, why: string): void {
    this.violate("halt", validator, why);
  }

  lost(validator: AuthorityIndex, what: string): void {
    this.violate("lost", validator, what);
  }

  notLive(validator: AuthorityIndex, what: string): void {
    this.violate("liveness", validator, what);
  }

  private compareBlocks(validator: AuthorityIndex, commit: Commit, blocks: readonly Block[]): void {
    const isSame =
      blocks.length === commit.blocks.length &&
      commit.blocks.every(({ digest }, i) => {
        const block = blocks[i];
        return block !== undefined && equalBytes(block.digest, digest);
      });
    if (!isSame) {
      this.violate("order", validator, `commit ${commit.index} came with other blocks`);
    }
  }

  private violate(kind: ViolationKind, validator: AuthorityIndex, detail: string): void {
    const violation = { kind, atSeconds: this.options.now() / SECOND, validator, detail };
    this.violations.push(violation);
    this.options.onViolation(violation);
  }
}
