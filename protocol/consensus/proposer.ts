/**
 * When to propose, in which round, and what a block refers to. None of it decides anything: timers and clocks here only
 * choose when blocks are made.
 *
 * The round: max(last own + 1, min(clock, D + 3)), D the highest round decided here with all before it. Jumping to the
 * clock over rounds that are not decided would let a few faulty validators keep every leader undecided for ever, without
 * a single message lost (Qiu, Xiao, Shao, IEEE S&P 2026). Source: protocol part 9; guides: consensus, 3.7 and 6.1.
 */
import { present } from "../../base/errors.ts";
import type { Milliseconds } from "../base/effects.ts";
import type { ConsensusParameters } from "../base/parameters.ts";
import {
  type AuthorityIndex,
  type BlockRef,
  type CommitVote,
  encodeBlock,
  type Round,
} from "./block.ts";
import type { BlockVerifier, VerifiedBlock } from "./block-verifier.ts";
import { type Committee, StakeAggregator } from "./committee.ts";
import type { DagState, Vertex } from "./dag-state.ts";
import type { Signer } from "./events.ts";
import type { LeaderSchedule } from "./leader-schedule.ts";

export interface ProposerOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly parameters: ConsensusParameters;
  readonly dag: DagState;
  readonly schedule: LeaderSchedule;
  readonly signer: Signer;
  readonly verifier: BlockVerifier;
}

/** What a proposal waits for. */
export type Readiness =
  | { readonly kind: "ready"; readonly round: Round }
  /** For other validators' blocks, or for a timer that is set. */
  | { readonly kind: "waiting" }
  /** For nothing but the time. */
  | { readonly kind: "early"; readonly at: Milliseconds };

export interface Proposal {
  readonly round: Round;
  readonly now: Milliseconds;
  /** By the clock on the wall. */
  readonly timestampMs: Milliseconds;
  readonly gcRound: Round;
  readonly commitVotes: readonly CommitVote[];
  /** Gives the payload in parts; asked for only when the block can be made. */
  readonly takePayload: () => readonly Uint8Array[];
}

export class Proposer {
  private readonly options: ProposerOptions;
  private readonly parents: StakeAggregator;
  /** By author: the round of its newest block that our blocks refer to. */
  private readonly included: Round[];
  /** No block of ours at or below this round may be signed any more. */
  private signedRound: Round = 0;
  private previous: BlockRef & { readonly timestampMs: Milliseconds };
  private proposedAt: Milliseconds = -Infinity;

  constructor(options: ProposerOptions) {
    this.options = options;
    const { committee, ownIndex } = options;
    this.parents = new StakeAggregator(committee);
    this.included = Array.from({ length: committee.size }, () => -1);
    const genesis = present(committee.genesis[ownIndex], "we are of the committee");
    this.previous = { ...genesis, timestampMs: committee.genesisTimestampMs };
  }

  /** The highest round in which we have, or may have, signed a block. */
  get highestSignedRound(): Round {
    return this.signedRound;
  }

  /** Never sign at or below `round`, whatever the log says. */
  neverBelow(round: Round): void {
    this.signedRound = Math.max(this.signedRound, round);
  }

  /** A block of ours is in the DAG: made now, read from the log, or told by a peer. */
  noteOwn(block: VerifiedBlock): void {
    this.neverBelow(block.round);
    const { ancestors } = block;
    for (let i = 0; i < ancestors.count; i++) {
      const author = ancestors.author(i);
      this.included[author] = Math.max(this.included[author] ?? -1, ancestors.round(i));
    }
    if (block.round <= this.previous.round) return;
    this.previous = { ...block.ref, timestampMs: block.timestampMs };
  }

  /**
   * @param clock round of the threshold clock  @param clockSince when it came there
   * @param decidedRound D: every slot up to this round is decided
   */
  readiness(options: {
    readonly now: Milliseconds;
    readonly clock: Round;
    readonly clockSince: Milliseconds;
    readonly decidedRound: Round;
  }): Readiness {
    const { now, clock, clockSince, decidedRound } = options;
    const { parameters } = this.options;
    const round = Math.max(
      this.signedRound + 1,
      Math.min(clock, decidedRound + parameters.waveLength),
    );
    if (round > clock) return { kind: "waiting" };
    if (round < clock) return { kind: "ready", round }; // others have gone on: fill the gap at once
    const earliest = this.proposedAt + parameters.roundDelayMinMs;
    if (now < earliest) return { kind: "early", at: earliest };
    const hasTimedOut = now >= clockSince + parameters.leaderTimeoutMs;
    const isComplete = hasTimedOut || (this.hasLeadersOf(round - 1) && this.hasVotesFor(round - 2));
    if (!isComplete) return { kind: "waiting" };
    return { kind: "ready", round };
  }

  /** Our block of a round; undefined if the round before has no quorum here. */
  propose(proposal: Proposal): VerifiedBlock | undefined {
    const { committee, ownIndex, signer, verifier } = this.options;
    const { round, now, commitVotes, takePayload } = proposal;
    const ancestors = this.ancestorsOf(round, proposal.gcRound);
    if (ancestors === undefined) return undefined;
    const bytes = encodeBlock(
      {
        epoch: committee.epoch,
        round,
        author: ownIndex,
        timestampMs: Math.max(Math.floor(proposal.timestampMs), this.previous.timestampMs),
        ancestors,
        commitVotes,
      },
      takePayload(),
      (digest) => signer.sign(digest),
    );
    this.proposedAt = now;
    return verifier.own(bytes);
  }

  /**
   * Our own block before, then every other author's newest block below `round` that is newer than the one we referred
   * to last. Of twins one; and nothing that is collected already.
   */
  private ancestorsOf(round: Round, gcRound: Round): readonly BlockRef[] | undefined {
    const { committee, ownIndex, dag } = this.options;
    const { previous } = this;
    const ancestors: BlockRef[] = [
      { round: previous.round, author: ownIndex, digest: previous.digest },
    ];
    this.parents.clear();
    if (previous.round === round - 1) this.parents.add(ownIndex);
    for (let author = 0; author < committee.size; author++) {
      if (author === ownIndex) continue;
      const above = Math.max(this.included[author] ?? -1, gcRound === 0 ? -1 : gcRound);
      const newest = dag.latestUpTo(author, round - 1, above);
      if (newest === undefined) continue;
      ancestors.push({ round: newest.round, author, digest: newest.digest });
      if (newest.round === round - 1) this.parents.add(author);
    }
    return this.parents.isQuorum ? ancestors : undefined;
  }

  /**
   * Nobody waits for a leader that has gone on without a block of this round, it will not make one any more; nor for one
   * that has made none for long: a crashed validator would cost everybody the timeout in each round that it leads.
   */
  private hasLeadersOf(round: Round): boolean {
    const { dag, schedule, ownIndex, parameters } = this.options;
    if (round < 1) return true;
    if (!parameters.pipelined && round % parameters.waveLength !== 0) return true;
    return schedule.leaders(round).every((leader) => {
      if (leader === ownIndex || dag.blocksOf(round, leader).length > 0) return true;
      const latest = dag.latest(leader)?.round ?? 0;
      return latest > round || latest + parameters.leaderAwayRounds < round;
    });
  }

  /**
   * Of each leader's block of `round`, a quorum has voted for it, or enough against it that no quorum of honest ones is
   * left. Else our block would be no certificate, and where as many as may be faulty never vote, each honest vote counts:
   * one that is late in every round would keep every leader undecided. A quorum of blocks alone is no such quorum.
   */
  private hasVotesFor(round: Round): boolean {
    const { dag, schedule, parameters } = this.options;
    if (round < 1) return true;
    if (!parameters.pipelined && round % parameters.waveLength !== 0) return true;
    const voters = dag.at(round + 1);
    return schedule.leaders(round).every((leader) => {
      const candidates = dag.blocksOf(round, leader);
      const isOpen = candidates.some((candidate) => !this.isBlamed(candidate, voters));
      return !isOpen || candidates.some((candidate) => this.isVotedFor(candidate, voters));
    });
  }

  private isVotedFor(candidate: Vertex, voters: readonly Vertex[]): boolean {
    this.parents.clear();
    for (const voter of voters) {
      if (voter.parents.includes(candidate)) this.parents.add(voter.author);
    }
    return this.parents.isQuorum;
  }

  private isBlamed(candidate: Vertex, voters: readonly Vertex[]): boolean {
    this.parents.clear();
    for (const voter of voters) {
      if (!voter.parents.includes(candidate)) this.parents.add(voter.author);
    }
    return this.parents.isValidity;
  }
}
