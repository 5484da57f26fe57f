/**
 * Bugs that others have shipped, and some that were ours until the simulator found them, planted one at a time: each
 * replaces one member of one class, and says what the simulator is to find it by.
 */
import type { Machine } from "../../../protocol/base/effects.ts";
import type { ConsensusParameters } from "../../../protocol/base/parameters.ts";
import { BaseCommitter, type Decision } from "../../../protocol/consensus/base-committer.ts";
import type { AuthorityIndex, Round, Slot } from "../../../protocol/consensus/block.ts";
import { BlockManager } from "../../../protocol/consensus/block-manager.ts";
import type { VerifiedBlock } from "../../../protocol/consensus/block-verifier.ts";
import { type Committee, StakeAggregator } from "../../../protocol/consensus/committee.ts";
import { Committer } from "../../../protocol/consensus/committer.ts";
import { ConsensusCore } from "../../../protocol/consensus/core.ts";
import type { DagState, Vertex } from "../../../protocol/consensus/dag-state.ts";
import type {
  ConsensusEffect,
  ConsensusEvent,
  RecoveredRecord,
} from "../../../protocol/consensus/events.ts";
import type { ConsensusOptions } from "../../../protocol/consensus/parts.ts";
import { Proposer, type Readiness } from "../../../protocol/consensus/proposer.ts";
import { TransactionQueue } from "../../../protocol/consensus/transaction-queue.ts";
import { ConsensusDriver } from "../../../node/runtime/driver.ts";
import { authorOf } from "../../../node/simulation/block-place.ts";
import type { ViolationKind } from "../../../node/simulation/checks.ts";
import { type Micros, SECOND } from "../../../node/simulation/event-queue.ts";
import type { TimedFault } from "../../../node/simulation/faults.ts";
import type { SimulationOptions } from "../../../node/simulation/simulate.ts";

export interface PlantedBug {
  readonly name: string;
  /** A violation of one of these gives it away. */
  readonly foundBy: readonly ViolationKind[];
  readonly faults: string;
  readonly validators: number;
  /** In place of the plan that the seed draws. */
  readonly plan?: NonNullable<SimulationOptions["plan"]>;
  /** Plant it. @returns how to take it out again */
  readonly plant?: () => () => void;
  readonly makeCore?: NonNullable<SimulationOptions["makeCore"]>;
  readonly parameters?: Partial<ConsensusParameters>;
}

/** Replace a method or a getter of a class. @returns how to put it back */
function replace(prototype: object, name: string, made: PropertyDescriptor): () => void {
  const original = Object.getOwnPropertyDescriptor(prototype, name);
  if (original === undefined) throw new Error(`there is no ${name} to replace`);
  Object.defineProperty(prototype, name, { ...made, configurable: true });
  return () => {
    Object.defineProperty(prototype, name, original);
  };
}

function replaceMethod(
  prototype: object,
  name: string,
  value: (...given: never[]) => unknown,
): () => void {
  return replace(prototype, name, { value, writable: true });
}

interface Aggregator {
  sum: number;
  readonly committee: Committee;
}

const AWAY_UNTIL: Micros = 120 * SECOND;

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: "a quorum is one too few",
    foundBy: ["fork", "halt"],
    faults: "all",
    validators: 4,
    plant: () =>
      replace(StakeAggregator.prototype, "isQuorum", {
        get(this: Aggregator) {
          return this.sum >= this.committee.quorum - 1;
        },
      }),
  },
  {
    name: "a leader is committed on certificates of which one is honest",
    foundBy: ["fork"],
    faults: "split",
    validators: 4,
    plant: () =>
      replaceMethod(
        BaseCommitter.prototype,
        "hasCertificates",
        function (
          this: {
            readonly dag: DagState;
            readonly authors: StakeAggregator;
            decisionRound(round: Round): Round;
            certifiedBy(block: Vertex, slot: Slot): readonly Vertex[];
          },
          slot: Slot,
          candidate: Vertex,
        ): boolean {
          const deciders = this.dag.at(this.decisionRound(slot.round));
          for (const decider of deciders) this.certifiedBy(decider, slot);
          this.authors.clear();
          for (const decider of deciders) {
            if (this.certifiedBy(decider, slot).includes(candidate))
              this.authors.add(decider.author);
          }
          return this.authors.isValidity;
        },
      ),
  },
  {
    name: "certificates count that the anchor does not know",
    foundBy: ["fork"],
    faults: "split",
    validators: 4,
    plant: () =>
      replaceMethod(
        BaseCommitter.prototype,
        "historyAt",
        function (this: { dag: DagState }, _anchor: Vertex, round: Round) {
          return this.dag.at(round);
        },
      ),
  },
  {
    name: "an undecided slot is passed over",
    foundBy: ["fork", "order"],
    faults: "all",
    validators: 4,
    plant: () =>
      replaceMethod(
        Committer.prototype,
        "decide",
        function (
          this: {
            readonly dag: DagState;
            readonly records: ReadonlyMap<
              Round,
              readonly { readonly decision: Decision | undefined }[]
            >;
            slotAfter(last: Slot | undefined): Slot;
            evaluate(first: Slot): void;
          },
          last: Slot | undefined,
        ): readonly Decision[] {
          const first = this.slotAfter(last);
          this.evaluate(first);
          const decided: Decision[] = [];
          for (let slot = first; slot.round <= this.dag.highestRound; slot = this.slotAfter(slot)) {
            const decision = this.records.get(slot.round)?.[slot.offset]?.decision;
            if (decision !== undefined) decided.push(decision);
          }
          return decided;
        },
      ),
  },
  {
    name: "each twin of a voter counts",
    foundBy: ["fork", "halt"],
    faults: "twins",
    validators: 4,
    plant: () =>
      replaceMethod(
        StakeAggregator.prototype,
        "add",
        function (this: Aggregator, author: AuthorityIndex) {
          this.sum += this.committee.stake(author);
          return true;
        },
      ),
  },
  {
    name: "a third twin of the own log is dropped at a restart",
    foundBy: ["fork"],
    faults: "twins,crash",
    validators: 4,
    plant: () =>
      replaceMethod(
        BlockManager.prototype,
        "restore",
        function (this: BlockManager, block: VerifiedBlock) {
          return this.accept([block]).accepted;
        },
      ),
  },
  {
    name: "an own block is sent before it is written",
    foundBy: ["early", "equivocation"],
    faults: "crash",
    validators: 4,
    makeCore: (options) => reordered(new ConsensusCore(options)),
  },
  {
    name: "the driver does not wait for the disk",
    foundBy: ["early", "equivocation"],
    faults: "crash",
    validators: 4,
    plant: () =>
      replaceMethod(
        ConsensusDriver.prototype,
        "flush",
        function (
          this: { options: { store: { flush: (round: unknown, done: () => void) => void } } },
          round: unknown,
        ) {
          this.options.store.flush(round, () => undefined);
        },
      ),
  },
  {
    name: "what was signed is forgotten at a restart",
    foundBy: ["equivocation", "halt"],
    faults: "crash",
    validators: 4,
    makeCore: (options) => new ConsensusCore(withoutOwnBlocks(options)),
  },
  {
    name: "a proposer jumps to the newest round",
    foundBy: ["liveness"],
    faults: "jump",
    validators: 10,
    plant: () => {
      type Given = Parameters<Proposer["readiness"]>[0];
      const original = Object.getOwnPropertyDescriptor(Proposer.prototype, "readiness");
      const readiness = original?.value as (this: Proposer, given: Given) => Readiness;
      return replaceMethod(
        Proposer.prototype,
        "readiness",
        function (this: Proposer, given: Given) {
          return readiness.call(this, { ...given, decidedRound: Infinity });
        },
      );
    },
  },
  {
    name: "a proposer does not wait for the votes that its block needs to be a certificate",
    foundBy: ["liveness"],
    faults: "jump,latency",
    validators: 10,
    plant: () => replaceMethod(Proposer.prototype, "hasVotesFor", () => true),
  },
  {
    name: "catching up waits for a quorum",
    foundBy: ["liveness"],
    faults: "partition",
    validators: 4,
    // What then still brings it back is slow: it takes longer than allowed if the validator was away for long.
    plan: (drawn) => ({
      ...drawn,
      faulty: new Map([[3, "twins"]]),
      timed: away(0, [1, 2, 3], { from: 2 * SECOND, until: AWAY_UNTIL }),
      healAt: AWAY_UNTIL,
      commitLimit: 10 * SECOND,
    }),
    plant: () =>
      replace(StakeAggregator.prototype, "isValidity", {
        get(this: StakeAggregator) {
          return this.isQuorum;
        },
      }),
  },
  {
    name: "transactions of a block that is never ordered are forgotten",
    foundBy: ["lost"],
    faults: "all",
    validators: 4,
    parameters: { gcDepthRounds: 10 },
    plant: () => replaceMethod(TransactionQueue.prototype, "takeBack", () => undefined),
  },
];

/** The links between a validator and others are cut for a time. */
function away(
  validator: AuthorityIndex,
  others: readonly AuthorityIndex[],
  { from, until }: { readonly from: Micros; readonly until: Micros },
): readonly TimedFault[] {
  const links = others.flatMap((other) => [
    { from: validator, to: other },
    { from: other, to: validator },
  ]);
  return [
    ...links.map((link): TimedFault => ({ at: from, kind: "cut", link })),
    ...links.map((link): TimedFault => ({ at: until, kind: "mend", link })),
  ];
}

/** Broadcasts go before everything else. */
function reordered(
  core: Machine<ConsensusEvent, ConsensusEffect>,
): Machine<ConsensusEvent, ConsensusEffect> {
  return {
    step: (event) => {
      const effects = core.step(event);
      const sends = effects.filter(({ kind }) => kind === "broadcast");
      return [...sends, ...effects.filter(({ kind }) => kind !== "broadcast")];
    },
  };
}

function withoutOwnBlocks(options: ConsensusOptions): ConsensusOptions {
  const { ownIndex, recovered } = options;
  function* others(): Iterable<RecoveredRecord> {
    for (const record of recovered.records) {
      if (record.kind === "commit" || authorOf(record.bytes) !== ownIndex) yield record;
    }
  }
  return { ...options, recovered: { records: others(), highestSignedRound: 0 } };
}
