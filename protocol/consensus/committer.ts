/**
 * Decides leader slots in order. Newest first, because the indirect rule looks for its anchor among later slots: the
 * first slot, at least a wave later, that is not skipped; while that one is undecided, so is the slot. What is decided
 * comes out in slot order up to the first that is not: passing over an undecided slot would let two validators choose
 * different anchors. Source: seed, "Block Ordering"; protocol part 9.
 */
import type { AuthorityIndex, Round, Slot } from "./block.ts";
import { BaseCommitter, type CommitterOptions, type Decision } from "./base-committer.ts";
import type { DagState } from "./dag-state.ts";

/** What is known of a slot. */
interface SlotRecord {
  decision: Decision | undefined;
  /** Blocks in the slot's wave when the direct rule was last asked: its answer depends on nothing else. */
  blockCount: number;
}

/** Blocks above the slot that a slot needs at least before anything can be said of it. */
const HORIZON_ROUNDS = 2;

export class Committer {
  private readonly base: BaseCommitter;
  private readonly dag: DagState;
  private readonly waveLength: number;
  private readonly leadersPerRound: number;
  private readonly pipelined: boolean;
  /** By round: one record a slot. Decisions are final, so they are kept. */
  private readonly records = new Map<Round, readonly SlotRecord[]>();

  constructor(options: CommitterOptions) {
    this.base = new BaseCommitter(options);
    this.dag = options.dag;
    this.waveLength = options.waveLength;
    this.leadersPerRound = options.leadersPerRound;
    this.pipelined = options.pipelined;
  }

  /**
   * The decided slots after `last` (undefined: from the start), up to the first undecided one, in slot order.
   * @throws SafetyError when more validators are faulty than the rules bear
   */
  decide(last: Slot | undefined): readonly Decision[] {
    const first = this.slotAfter(last);
    this.evaluate(first);
    const decided: Decision[] = [];
    for (let slot = first; ; slot = this.slotAfter(slot)) {
      const decision = this.records.get(slot.round)?.[slot.offset]?.decision;
      if (decision === undefined) return decided;
      decided.push(decision);
    }
  }

  /** Offset of the slot that `leader` owns in a round. */
  offsetOf(round: Round, leader: AuthorityIndex): number | undefined {
    for (let offset = 0; offset < this.leadersPerRound; offset++) {
      if (this.base.leaderOf({ round, offset }) === leader) return offset;
    }
    return undefined;
  }

  /** The next slot. */
  slotAfter(last: Slot | undefined): Slot {
    const step = this.pipelined ? 1 : this.waveLength;
    if (last === undefined) return { round: step, offset: 0 };
    const { round, offset } = last;
    return offset + 1 < this.leadersPerRound
      ? { round, offset: offset + 1 }
      : { round: round - (round % step) + step, offset: 0 };
  }

  /** Records up to and with `round` will not be asked for again. */
  forget(round: Round): void {
    for (const known of this.records.keys()) if (known <= round) this.records.delete(known);
  }

  /** Decide what can be decided, from the newest slot down to `first`. */
  private evaluate(first: Slot): void {
    const step = this.pipelined ? 1 : this.waveLength;
    const horizon = this.dag.highestRound - HORIZON_ROUNDS;
    const highest = horizon - (horizon % step);
    /** Of each round: the first slot in it or later that is not skipped. */
    const anchors = new Map<Round, SlotRecord | undefined>();
    for (let round = highest; round >= first.round; round -= step) {
      const records = this.recordsOf(round);
      const anchor = anchors.get(round + this.anchorDistance(step))?.decision;
      for (let offset = this.leadersPerRound - 1; offset >= 0; offset--) {
        const record = records[offset];
        if (record === undefined || record.decision !== undefined) continue;
        const slot = { round, offset };
        record.decision = this.decideDirectly(slot, record);
        if (record.decision === undefined && anchor?.status === "commit") {
          record.decision = this.base.decideIndirectly(slot, anchor.leader);
        }
      }
      const kept = records.find(({ decision }) => decision?.status !== "skip");
      anchors.set(round, kept ?? anchors.get(round + step));
    }
  }

  /** An anchor is of a round at least a wave later, and leader rounds are `step` apart. */
  private anchorDistance(step: number): number {
    return Math.ceil(this.waveLength / step) * step;
  }

  private decideDirectly(slot: Slot, record: SlotRecord): Decision | undefined {
    let blockCount = 0;
    const last = this.base.decisionRound(slot.round);
    for (let round = slot.round; round <= last; round++) blockCount += this.dag.at(round).length;
    if (blockCount === record.blockCount) return undefined;
    record.blockCount = blockCount;
    return this.base.decideDirectly(slot);
  }

  private recordsOf(round: Round): readonly SlotRecord[] {
    const known = this.records.get(round);
    if (known !== undefined) return known;
    const made = Array.from({ length: this.leadersPerRound }, () => ({
      decision: undefined,
      blockCount: -1,
    }));
    this.records.set(round, made);
    return made;
  }
}
