/**
 * What consensus costs a committee of a given size: a faultless network in the simulator, one thread, where every node
 * checks every signature. Counted between two rounds, so that start-up and a cold compiler are left out. The driver,
 * core and log are those of a real node; the simulator's own work is in the figures, which are bounds from above.
 */
import { assert } from "../../../base/errors.ts";
import { consensusParameters } from "../../../protocol/base/parameters.ts";
import type { Machine } from "../../../protocol/base/effects.ts";
import type { Round } from "../../../protocol/consensus/block.ts";
import { ConsensusCore } from "../../../protocol/consensus/core.ts";
import type { ConsensusEffect, ConsensusEvent } from "../../../protocol/consensus/events.ts";
import { drawPlan } from "../../../node/simulation/fault-plan.ts";
import { parseFaults } from "../../../node/simulation/faults.ts";
import { takeSeats } from "../../../node/simulation/seats.ts";
import { World } from "../../../node/simulation/world.ts";

export interface CommitteeRun {
  readonly validators: number;
  /** Before anything counts. */
  readonly warmUpRounds: Round;
  /** That count. */
  readonly rounds: Round;
  readonly seed: number;
}

/** Of all validators together, between two rounds. */
export interface CommitteeCost {
  readonly validators: number;
  readonly rounds: Round;
  /** Blocks that each validator committed. */
  readonly committedBlocks: number;
  /** References that those blocks carry, mean of one. */
  readonly refsPerBlock: number;
  readonly cpuMs: number;
  readonly messages: number;
  readonly bytes: number;
  /** JavaScript objects alive at the end, less those before: the DAGs. Bytes of blocks, which all share, and of simulated disks are not among them. */
  readonly heapMiB: number;
  /** Peak of the process, simulated disks included. */
  readonly rssMiB: number;
}

interface Reading {
  readonly round: Round;
  readonly cpuMicros: number;
  readonly messages: number;
  readonly bytes: number;
  readonly blocks: number;
  readonly refs: number;
}

/** To be run in a process of its own: its memory is reported whole. */
export function measureCommittee(run: CommitteeRun): CommitteeCost {
  const { validators, warmUpRounds, rounds, seed } = run;
  const parameters = consensusParameters();
  const seats = takeSeats(
    Array.from({ length: validators }, () => 1),
    false,
  );
  const plan = drawPlan({
    seed,
    allowed: parseFaults("none"),
    committee: seats.committee,
    horizon: 0,
  });
  const meter = new Meter(run, liveHeapMiB());
  const world = new World({
    seed,
    seats,
    parameters,
    plan,
    rounds: warmUpRounds + rounds,
    makeCore: (options) => {
      const core = new ConsensusCore(options);
      return options.ownIndex === 0 ? meter.watch(core) : core;
    },
  });
  meter.traffic = () => world.network.traffic;
  world.run();
  assert(world.checks.violations.length === 0, "a network without faults breaks no rule");
  return meter.cost();
}

/** Reads the clocks when the first validator commits leaders of two rounds. */
class Meter {
  private readonly run: CommitteeRun;
  traffic: () => { readonly messages: number; readonly bytes: number } = () => ({
    messages: 0,
    bytes: 0,
  });
  private blocks = 0;
  private refs = 0;
  private start: Reading | undefined;
  private end: Reading | undefined;
  private heapMiB: number;

  /** @param heapMiB of everything else */
  constructor(run: CommitteeRun, heapMiB: number) {
    this.run = run;
    this.heapMiB = -heapMiB;
  }

  watch(core: ConsensusCore): Machine<ConsensusEvent, ConsensusEffect> {
    return {
      step: (event) => {
        const effects = core.step(event);
        for (const effect of effects) if (effect.kind === "commit") this.committed(effect);
        return effects;
      },
    };
  }

  private committed({
    commit,
    blocks,
  }: Extract<ConsensusEffect, { readonly kind: "commit" }>): void {
    const { warmUpRounds, rounds } = this.run;
    const { round } = commit.leader;
    this.blocks += blocks.length;
    for (const { ancestors } of blocks) this.refs += ancestors.count;
    if (round >= warmUpRounds) this.start ??= this.read(round);
    if (round < warmUpRounds + rounds || this.end !== undefined) return;
    this.end = this.read(round);
    this.heapMiB += liveHeapMiB();
  }

  private read(round: Round): Reading {
    const { user, system } = process.cpuUsage();
    const { messages, bytes } = this.traffic();
    const { blocks, refs } = this;
    return { round, cpuMicros: user + system, messages, bytes, blocks, refs };
  }

  cost(): CommitteeCost {
    const { start, end, heapMiB } = this;
    assert(start !== undefined && end !== undefined, "a run passes the rounds that count");
    const of = (name: keyof Reading): number => end[name] - start[name];
    return {
      validators: this.run.validators,
      rounds: of("round"),
      committedBlocks: of("blocks"),
      refsPerBlock: of("refs") / of("blocks"),
      cpuMs: of("cpuMicros") / 1000,
      messages: of("messages"),
      bytes: of("bytes"),
      heapMiB,
      rssMiB: process.resourceUsage().maxRSS / 1024,
    };
  }
}

/** Without garbage where the process may collect it: `node --expose-gc`. */
function liveHeapMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
}
