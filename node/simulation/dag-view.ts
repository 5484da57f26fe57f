/**
 * What there is to see in a DAG: of each leader slot, how it is decided and what was counted for it. Decided anew from
 * the blocks alone, by the real rules.
 */
import { SafetyError } from "../../protocol/base/errors.ts";
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import {
  type AuthorityIndex,
  compareRefs,
  type Round,
  type Slot,
} from "../../protocol/consensus/block.ts";
import { BaseCommitter, type Decision } from "../../protocol/consensus/base-committer.ts";
import type { VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import { type Committee, StakeAggregator } from "../../protocol/consensus/committee.ts";
import { Committer } from "../../protocol/consensus/committer.ts";
import { DagState, type Vertex } from "../../protocol/consensus/dag-state.ts";
import { StakeWeightedSchedule } from "../../protocol/consensus/leader-schedule.ts";

export interface SlotView extends Slot {
  readonly leader: AuthorityIndex;
  readonly status: "commit" | "skip" | "undecided";
  /** Undefined while it is undecided. */
  readonly by: "direct" | "indirect" | undefined;
  /** It is decided, but a slot before it is not: nobody acts on it yet. */
  readonly isWaiting: boolean;
  /** The block that was committed; else the one with the most votes, if the leader made any. */
  readonly block: Vertex | undefined;
  /** Stake in the round after that votes for that block, and that does not. */
  readonly votes: number;
  readonly blames: number;
  /** Stake of its certificates. */
  readonly certificates: number;
  /** Where it is not decided directly: the slot whose block decides it, or on which it waits, if there is one yet. */
  readonly anchor: Anchor | undefined;
}

/** The first slot, of those late enough to be one, that is not skipped. */
export interface Anchor {
  readonly round: Round;
  readonly leader: AuthorityIndex;
  readonly isCommitted: boolean;
}

export interface DagView {
  readonly dag: DagState;
  /** Of a round, by offset. */
  readonly slotsOf: (round: Round) => readonly SlotView[];
  /** Does `block` vote for the slot's block? */
  readonly isVote: (block: Vertex, slot: SlotView) => boolean;
  /** Is `block` a certificate for the slot's block? */
  readonly isCertificate: (block: Vertex, slot: SlotView) => boolean;
}

export interface DagViewOptions {
  readonly committee: Committee;
  readonly parameters: ConsensusParameters;
  /** In any order; those of early rounds may be missing. */
  readonly blocks: readonly VerifiedBlock[];
}

export function viewDag({ committee, parameters, blocks }: DagViewOptions): DagView {
  const dag = new DagState(committee);
  for (const block of blocks.toSorted(compareRefs)) {
    dag.add(block, dag.parentsOf(block.ancestors, Infinity) ?? [], block);
  }
  const schedule = new StakeWeightedSchedule(committee, parameters.leadersPerRound);
  // By the letter: a run that broke the committee's promise is drawn as well.
  const options = { ...parameters, dag, committee, schedule, stopsOnFaults: false };
  const base = new BaseCommitter(options);
  const decided = new Map(decisionsOf(new Committer(options)).map((each) => [nameOf(each), each]));
  const view = (slot: Slot): SlotView => {
    const final = decided.get(nameOf(slot));
    const decision = final ?? base.decideDirectly(slot);
    const leader = base.leaderOf(slot);
    const counted = dag.blocksOf(slot.round, leader).map((block) => count(block, slot));
    const best = counted.toSorted((a, b) => b.votes - a.votes)[0];
    const chosen =
      decision?.status === "commit" ? counted.find(({ block }) => block === decision.leader) : best;
    return {
      ...slot,
      leader,
      status: decision?.status ?? "undecided",
      by: decision?.by,
      isWaiting: final === undefined && decision !== undefined,
      anchor: decision?.by === "direct" ? undefined : anchorOf(slot),
      ...(chosen ?? {
        block: undefined,
        votes: 0,
        blames: dag.stakeAt(slot.round + 1),
        certificates: 0,
      }),
    };
  };
  const anchorOf = (slot: Slot): Anchor | undefined => {
    for (let round = base.decisionRound(slot.round) + 1; round <= dag.highestRound; round++) {
      if (!hasLeaders(round, parameters)) continue;
      for (let offset = 0; offset < parameters.leadersPerRound; offset++) {
        const place = { round, offset };
        const decision = decided.get(nameOf(place)) ?? base.decideDirectly(place);
        if (decision?.status === "skip") continue;
        return { round, leader: base.leaderOf(place), isCommitted: decision !== undefined };
      }
    }
    return undefined;
  };
  const stakeOf = (vertices: readonly Vertex[]): number => {
    const authors = new StakeAggregator(committee);
    for (const { author } of vertices) authors.add(author);
    return authors.stake;
  };
  const count = (
    block: Vertex,
    slot: Slot,
  ): Pick<SlotView, "block" | "votes" | "blames" | "certificates"> => {
    const voters = dag.at(slot.round + 1);
    const deciders = dag.at(base.decisionRound(slot.round));
    return {
      block,
      votes: stakeOf(voters.filter((voter) => base.supportedBy(voter, slot) === block)),
      blames: stakeOf(voters.filter((voter) => base.supportedBy(voter, slot) !== block)),
      certificates: stakeOf(
        deciders.filter((each) => base.certifiedBy(each, slot).includes(block)),
      ),
    };
  };
  return {
    dag,
    slotsOf: (round) =>
      hasLeaders(round, parameters)
        ? Array.from({ length: parameters.leadersPerRound }, (_, offset) => view({ round, offset }))
        : [],
    isVote: (block, slot) =>
      slot.block !== undefined && base.supportedBy(block, slot) === slot.block,
    isCertificate: (block, slot) =>
      slot.block !== undefined &&
      block.round === base.decisionRound(slot.round) &&
      base.certifiedBy(block, slot).includes(slot.block),
  };
}

function hasLeaders(round: Round, { pipelined, waveLength }: ConsensusParameters): boolean {
  return round >= 1 && (pipelined || round % waveLength === 0);
}

/** Where even the letter of the rules says two things, nothing is decided. */
function decisionsOf(committer: Committer): readonly Decision[] {
  try {
    return committer.decide(undefined);
  } catch (error) {
    if (error instanceof SafetyError) return [];
    throw error;
  }
}

function nameOf({ round, offset }: Slot): string {
  return `${round}:${offset}`;
}
