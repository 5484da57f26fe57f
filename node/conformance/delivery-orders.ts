/**
 * One DAG, many orders of delivery, one sequence of commits: what consensus promises, tried on the parts that decide
 * (block manager, committer, linearizer) with the network's own limits. The DAG is drawn from a seed, equivocators and
 * all. Source: guides: faults, F8; Sui's tests of a randomized order.
 */
import { DEFAULT_CONSENSUS_PARAMETERS } from "../../protocol/base/parameters.ts";
import { type BlockRef, refKey, type Slot } from "../../protocol/consensus/block.ts";
import { BlockManager } from "../../protocol/consensus/block-manager.ts";
import type { VerifiedBlock } from "../../protocol/consensus/block-verifier.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import { Committer } from "../../protocol/consensus/committer.ts";
import { DagState } from "../../protocol/consensus/dag-state.ts";
import { StakeWeightedSchedule } from "../../protocol/consensus/leader-schedule.ts";
import { Linearizer } from "../../protocol/consensus/linearizer.ts";
import { toHex } from "../../protocol/base/bytes.ts";
import { type Rng, seededRng } from "../../tokenizers/random.ts";
import { drawnCommittee } from "./drawn-dag.ts";
import { randomDag } from "./random-dag.ts";

export interface DeliveryOptions {
  readonly committee: Committee;
  readonly leadersPerRound: number;
  readonly gcDepth: number;
}

/** Most rounds by which a block overtakes others: each order draws its own, from nearly in turn to far behind. */
const SPREAD_ROUNDS_MAX = 20;

/** A random order: every block somewhere within a few rounds of its place, before or after its ancestors. */
export function shuffled(blocks: readonly VerifiedBlock[], rng: Rng): readonly VerifiedBlock[] {
  const spreadRounds = 1 + rng.uniform(SPREAD_ROUNDS_MAX);
  return blocks
    .map((block) => ({ block, at: block.round + rng.unit() * spreadRounds }))
    .sort((a, b) => a.at - b.at)
    .map(({ block }) => block);
}

/** Deliver the blocks one by one and decide after each. @returns the commits */
export function deliver(
  blocks: readonly VerifiedBlock[],
  options: DeliveryOptions,
): readonly Commit[] {
  const receiver = new Receiver(options);
  for (const block of blocks) receiver.take(block);
  return receiver.commits;
}

/** As much of a validator as decides. */
class Receiver {
  readonly commits: Commit[] = [];
  private readonly dag: DagState;
  private readonly manager: BlockManager;
  private readonly committer: Committer;
  private readonly linearizer: Linearizer;
  private last: Slot | undefined;
  /** What came and was not kept, as nobody referred to it yet: who refers to it fetches it from here. */
  private readonly passedOver = new Map<string, VerifiedBlock>();

  constructor({ committee, leadersPerRound, gcDepth }: DeliveryOptions) {
    this.dag = new DagState(committee);
    this.manager = new BlockManager(this.dag, DEFAULT_CONSENSUS_PARAMETERS);
    this.committer = new Committer({
      dag: this.dag,
      committee,
      schedule: new StakeWeightedSchedule(committee, leadersPerRound),
      waveLength: 3,
      leadersPerRound,
      pipelined: true,
      stopsOnFaults: true,
    });
    this.linearizer = new Linearizer(committee, gcDepth);
  }

  take(block: VerifiedBlock): void {
    const { accepted, missing } = this.manager.accept([block]);
    if (accepted.length > 0) this.decide();
    else if (!this.isHere(block)) this.passedOver.set(refKey(block), block);
    if (this.passedOver.size === 0) return;
    for (const ref of missing) this.fetch(ref);
  }

  private isHere(block: VerifiedBlock): boolean {
    return this.manager.suspendedBlock(block) !== undefined || this.dag.find(block) !== undefined;
  }

  private fetch(ref: BlockRef): void {
    const key = refKey(ref);
    const block = this.passedOver.get(key);
    if (block === undefined) return;
    this.passedOver.delete(key);
    this.take(block);
  }

  private decide(): void {
    for (const decision of this.committer.decide(this.last)) {
      this.last = { round: decision.round, offset: decision.offset };
      if (decision.status !== "commit") continue;
      this.commits.push(this.linearizer.commit(decision.leader).commit);
      const { gcRound } = this.linearizer;
      this.manager.collect(gcRound);
      this.dag.evict(gcRound);
      this.committer.forget(gcRound);
    }
  }
}

export interface OrdersOptions {
  readonly validators: number;
  readonly rounds: number;
  readonly orders: number;
  readonly seed: number;
  readonly leadersPerRound: number;
  readonly gcDepth: number;
  /** After each order: how many are done. */
  readonly onOrder?: (done: number) => void;
}

export interface OrdersResult {
  readonly validators: number;
  /** As many as a committee bears; each signs up to three blocks a round. */
  readonly equivocators: number;
  readonly rounds: number;
  readonly orders: number;
  readonly seed: number;
  readonly blocks: number;
  /** Of the blocks delivered in rounds upward. */
  readonly commits: number;
  /** Digest of the last of them, which names them all. */
  readonly digest: string;
  /** Distinct sequences among all orders: 1 is what is promised. */
  readonly sequences: number;
  /** The orders, counted from 1, that gave another sequence than the blocks in rounds upward. */
  readonly different: readonly number[];
}

/** Chance that a validator makes no block in a round, and that a block refers to another of the round before. */
const ABSENCE = 0.1;
const DENSITY = 0.8;

/** Draw the DAG, deliver it in order and in `orders` random orders, compare. Pure: the same options, the same result. */
export function runDeliveryOrders(options: OrdersOptions): OrdersResult {
  const { validators, rounds, orders, seed, leadersPerRound, gcDepth } = options;
  const committee = drawnCommittee(validators);
  const rng = seededRng(seed, "delivery-orders");
  const equivocators = committee.validity - 1;
  const blocks = randomDag({
    committee,
    roundCount: rounds,
    equivocatorCount: equivocators,
    absence: ABSENCE,
    density: DENSITY,
    rng,
  });
  const delivery = { committee, leadersPerRound, gcDepth };
  const nameOf = (commits: readonly Commit[]): string =>
    `${commits.length} ${toHex(commits.at(-1)?.digest ?? committee.genesisDigest)}`;
  const inOrder = deliver(blocks, delivery);
  const expected = nameOf(inOrder);
  const sequences = new Set([expected]);
  const different: number[] = [];
  for (let order = 1; order <= orders; order++) {
    const sequence = nameOf(deliver(shuffled(blocks, rng), delivery));
    sequences.add(sequence);
    if (sequence !== expected) different.push(order);
    options.onOrder?.(order);
  }
  return {
    validators,
    equivocators,
    rounds,
    orders,
    seed,
    blocks: blocks.length,
    commits: inOrder.length,
    digest: toHex(inOrder.at(-1)?.digest ?? committee.genesisDigest),
    sequences: sequences.size,
    different,
  };
}
