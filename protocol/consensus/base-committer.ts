/**
 * The decision rules of Mysticeti for one leader slot. For a slot of round r and wave length 3:
 *
 *   vote         a block of round r+1 supports the block of the slot that its history meets first: its parent
 *   certificate  a block of round r+2 whose supporting parents have a quorum
 *   direct       skip if for every block of the slot a quorum of r+1 does not support it (no block: a quorum of r+1 is
 *                there); else commit the block that a quorum of certificates certifies
 *   indirect     given the anchor, a committed leader of round ≥ r+3: commit the block of which the anchor's history
 *                holds a certificate, else skip
 *
 * Every count is of distinct authors. Idempotent: the same DAG gives the same answer, and an answer once given never
 * changes as the DAG grows. Longer waves put more voting rounds in between; support then passes from block to block.
 * Source: seed, "Block Ordering"; Mysticeti, arXiv 2310.14821.
 */
import { present } from "../../base/errors.ts";
import { SafetyError } from "../base/errors.ts";
import { type AuthorityIndex, refName, type Round, type Slot } from "./block.ts";
import { type Committee, StakeAggregator } from "./committee.ts";
import type { DagState, Vertex } from "./dag-state.ts";
import type { LeaderSchedule } from "./leader-schedule.ts";

export type Decision = Slot & { readonly by: "direct" | "indirect" } & (
    { readonly status: "commit"; readonly leader: Vertex } | { readonly status: "skip" }
  );

export interface CommitterOptions {
  readonly dag: DagState;
  readonly committee: Committee;
  readonly schedule: LeaderSchedule;
  readonly waveLength: number;
  readonly leadersPerRound: number;
  readonly pipelined: boolean;
  /**
   * Stop where votes prove more faults than the rules bear. Otherwise go on by the letter, as shared cases do: a skip
   * comes first, and a slot with two blocks to commit stays undecided.
   */
  readonly stopsOnFaults: boolean;
}

const NONE: readonly Vertex[] = [];

export class BaseCommitter {
  private readonly dag: DagState;
  private readonly schedule: LeaderSchedule;
  private readonly waveLength: number;
  private readonly leadersPerRound: number;
  private readonly stopsOnFaults: boolean;
  /** Votes are direct: a quorum for a block and a quorum against it are proof of faults. */
  private readonly hasDirectVotes: boolean;
  private readonly quorum: number;
  private readonly authors: StakeAggregator;
  /** A second count, for inside the first. */
  private readonly supporters: StakeAggregator;

  constructor(options: CommitterOptions) {
    this.dag = options.dag;
    this.schedule = options.schedule;
    this.waveLength = options.waveLength;
    this.leadersPerRound = options.leadersPerRound;
    this.stopsOnFaults = options.stopsOnFaults;
    this.hasDirectVotes = options.waveLength === 3;
    this.quorum = options.committee.quorum;
    this.authors = new StakeAggregator(options.committee);
    this.supporters = new StakeAggregator(options.committee);
  }

  leaderOf({ round, offset }: Slot): AuthorityIndex {
    return present(this.schedule.leaders(round)[offset], "a slot has a leader");
  }

  /** Round whose blocks can be certificates for a slot of `round`. */
  decisionRound(round: Round): Round {
    return round + this.waveLength - 1;
  }

  /**
   * By what is in the rounds of the slot's wave alone. A quorum for a block and a quorum against it share more voters
   * with twins than may be faulty (where votes are direct, in a wave of 3). @throws SafetyError then
   */
  decideDirectly(slot: Slot): Decision | undefined {
    const candidates = this.dag.blocksOf(slot.round, this.leaderOf(slot));
    const place = { round: slot.round, offset: slot.offset, by: "direct" as const };
    const isBlamed = this.isBlamed(slot, candidates);
    if (isBlamed && !(this.stopsOnFaults && this.hasDirectVotes)) {
      return { ...place, status: "skip" };
    }
    const [leader, isTorn] = this.onlyOne(
      slot,
      candidates.filter((candidate) => this.hasCertificates(slot, candidate)),
    );
    if (isBlamed && leader !== undefined) throw tooManyFaults(slot, leader);
    if (isBlamed) return { ...place, status: "skip" };
    return leader === undefined || isTorn ? undefined : { ...place, status: "commit", leader };
  }

  /** By the history of the anchor. @throws SafetyError if it certifies twins of the slot  @returns undefined for that by the letter */
  decideIndirectly(slot: Slot, anchor: Vertex): Decision | undefined {
    const certified = new Set<Vertex>();
    for (const block of this.historyAt(anchor, this.decisionRound(slot.round))) {
      for (const candidate of this.certifiedBy(block, slot)) certified.add(candidate);
    }
    const [leader, isTorn] = this.onlyOne(slot, [...certified]);
    if (isTorn) return undefined;
    const place = { round: slot.round, offset: slot.offset, by: "indirect" as const };
    return leader === undefined
      ? { ...place, status: "skip" }
      : { ...place, status: "commit", leader };
  }

  /** The block of the slot that `block` votes for. */
  supportedBy(block: Vertex, slot: Slot): Vertex | undefined {
    const distance = block.round - slot.round;
    if (distance < 1) return undefined;
    const note = (distance - 1) * this.leadersPerRound + slot.offset;
    const known = block.supports[note];
    if (known !== undefined) return known ?? undefined;
    const found = this.firstMet(block, slot, this.leaderOf(slot));
    block.supports[note] = found ?? null;
    return found;
  }

  /** Blocks of the slot of which `block`, of the decision round, is a certificate: none or, by honest stake, one. */
  certifiedBy(block: Vertex, slot: Slot): readonly Vertex[] {
    const known = block.certifies[slot.offset];
    if (known !== undefined) return known;
    let candidates: Vertex[] | undefined;
    for (const parent of block.parents) {
      const supported = this.supportedBy(parent, slot);
      if (supported === undefined || candidates?.includes(supported) === true) continue;
      (candidates ??= []).push(supported);
    }
    const certified =
      candidates?.filter((candidate) => {
        this.supporters.clear();
        for (const parent of block.parents) {
          if (this.supportedBy(parent, slot) === candidate) this.supporters.add(parent.author);
        }
        return this.supporters.isQuorum;
      }) ?? NONE;
    block.certifies[slot.offset] = certified;
    return certified;
  }

  /** The first block of the slot met in a depth-first walk of the parents in their order. */
  private firstMet(block: Vertex, slot: Slot, leader: AuthorityIndex): Vertex | undefined {
    for (const parent of block.parents) {
      if (parent.round === slot.round && parent.author === leader) return parent;
      if (parent.round <= slot.round) continue;
      const met = this.supportedBy(parent, slot);
      if (met !== undefined) return met;
    }
    return undefined;
  }

  /** Is there, for every block of the slot, a quorum that does not support it? */
  private isBlamed(slot: Slot, candidates: readonly Vertex[]): boolean {
    if (this.dag.stakeAt(slot.round + 1) < this.quorum) return false;
    const voters = this.dag.at(slot.round + 1);
    const isBlamed = (candidate: Vertex | undefined): boolean => {
      this.authors.clear();
      for (const voter of voters) {
        if (this.supportedBy(voter, slot) !== candidate || candidate === undefined) {
          this.authors.add(voter.author);
        }
      }
      return this.authors.isQuorum;
    };
    return candidates.length === 0 ? isBlamed(undefined) : candidates.every(isBlamed);
  }

  private hasCertificates(slot: Slot, candidate: Vertex): boolean {
    const round = this.decisionRound(slot.round);
    if (this.dag.stakeAt(round) < this.quorum) return false;
    this.authors.clear();
    for (const decider of this.dag.at(round)) {
      if (this.certifiedBy(decider, slot).includes(candidate)) this.authors.add(decider.author);
    }
    return this.authors.isQuorum;
  }

  /** The blocks of `round` in the causal history of `anchor`, which is of a later round. */
  private historyAt(anchor: Vertex, round: Round): readonly Vertex[] {
    const seen = new Set<Vertex>([anchor]);
    const found: Vertex[] = [];
    const open = [anchor];
    for (let block = open.pop(); block !== undefined; block = open.pop()) {
      for (const parent of block.parents) {
        if (parent.round < round || seen.has(parent)) continue;
        seen.add(parent);
        if (parent.round === round) found.push(parent);
        else open.push(parent);
      }
    }
    return found;
  }

  /** @returns the block, if there is one, and whether there is another */
  private onlyOne(
    slot: Slot,
    committable: readonly Vertex[],
  ): readonly [block: Vertex | undefined, isTorn: boolean] {
    const [first, second] = committable;
    const isTorn = second !== undefined;
    if (isTorn && first !== undefined && this.stopsOnFaults) throw tooManyFaults(slot, first);
    return [first, isTorn];
  }
}

function tooManyFaults({ round, offset }: Slot, block: Vertex): SafetyError {
  return new SafetyError(
    `block ${refName(block)} of slot ${round}:${offset} can be committed and skipped: a third of the stake or more is faulty`,
  );
}
