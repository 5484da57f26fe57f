/** Cases of the parts around the committer: linearizer, threshold clock, block manager, leader scores. */
import { SomaError } from "../../base/errors.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import type { BlockRef } from "../../protocol/consensus/block.ts";
import { BlockManager } from "../../protocol/consensus/block-manager.ts";
import { DagState } from "../../protocol/consensus/dag-state.ts";
import { leaderScores } from "../../protocol/consensus/leader-scores.ts";
import { Linearizer, type SubDag } from "../../protocol/consensus/linearizer.ts";
import { ThresholdClock } from "../../protocol/consensus/threshold-clock.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import type { ClockCase, LinearizerCase, ManagerCase } from "./case-file.ts";
import { drawnCommittee, DrawnDag } from "./drawn-dag.ts";

export interface LinearizerAnswer {
  readonly name: string;
  /** Blocks of each commit. */
  readonly counts: readonly number[];
  /** Their names, in the order of the commit. */
  readonly commits: readonly (readonly string[])[];
}

export function runLinearizerCase(given: LinearizerCase): LinearizerAnswer {
  const { drawn, subDags } = linearize(given);
  const commits = subDags.map(({ vertices }) => vertices.map((vertex) => drawn.nameOf(vertex)));
  return { name: given.name, counts: commits.map((ids) => ids.length), commits };
}

export interface ScoringAnswer {
  readonly name: string;
  readonly scores: readonly number[];
}

export function runScoringCase(given: LinearizerCase): ScoringAnswer {
  const { committee, subDags } = linearize(given);
  return { name: given.name, scores: leaderScores(subDags, committee) };
}

function linearize(given: LinearizerCase): {
  readonly committee: Committee;
  readonly drawn: DrawnDag;
  readonly subDags: readonly SubDag[];
} {
  const committee = drawnCommittee(given.authorities, given.stakes);
  const drawn = new DrawnDag(committee, given.blocks);
  const dag = new DagState(committee);
  for (const { id } of given.blocks) drawn.addTo(dag, id);
  const linearizer = new Linearizer(committee, given.gcDepth ?? Infinity);
  const subDags = given.leaders.map((id) => {
    const leader = dag.find(drawn.ref(id));
    if (leader === undefined || leader.isCommitted) {
      throw new SomaError({
        code: "BAD_CASE",
        kind: "usage",
        what: `case "${given.name}": leaders: "${id}" is committed already`,
        next: "correct the case",
      });
    }
    return linearizer.commit(leader);
  });
  return { committee, drawn, subDags };
}

export interface ClockAnswer {
  readonly name: string;
  /** [block round, block author, clock round after] */
  readonly steps: readonly (readonly [number, number, number])[];
}

export function runClockCase(given: ClockCase): ClockAnswer {
  const clock = new ThresholdClock(
    drawnCommittee(given.authorities, given.stakes),
    given.startRound,
  );
  const steps = given.steps.map(([round = 0, author = 0]) => {
    clock.add(round, author);
    return [round, author, clock.round] as const;
  });
  return { name: given.name, steps };
}

interface ManagerStepAnswer {
  readonly op: string;
  readonly accepted?: readonly string[];
  readonly missing?: readonly string[];
  readonly state: { readonly suspended: readonly string[]; readonly missing: readonly string[] };
}

export interface ManagerAnswer {
  readonly name: string;
  readonly steps: readonly ManagerStepAnswer[];
}

export function runManagerCase(given: ManagerCase): ManagerAnswer {
  const committee = drawnCommittee(given.authorities, given.stakes);
  const drawn = new DrawnDag(committee, given.blocks);
  // A case may hold more twins than a node would keep.
  const limits = { ...consensusParameters(), twinsPerSlotMax: given.blocks.length };
  const manager = new BlockManager(new DagState(committee), limits);
  const names = (refs: Iterable<BlockRef>): readonly string[] =>
    [...refs].map((ref) => drawn.nameOf(ref)).sort(compareNames);
  const steps = given.steps.map((step): ManagerStepAnswer => {
    const outcome = runManagerStep(step, manager, drawn);
    return {
      op: step.op,
      ...(outcome.accepted === undefined ? {} : { accepted: names(outcome.accepted) }),
      ...(outcome.missing === undefined ? {} : { missing: names(outcome.missing) }),
      state: {
        suspended: names(manager.suspendedRefs()),
        missing: names(manager.wanted.values()),
      },
    };
  });
  return { name: given.name, steps };
}

function runManagerStep(
  step: ManagerCase["steps"][number],
  manager: BlockManager,
  drawn: DrawnDag,
): { readonly accepted?: readonly BlockRef[]; readonly missing?: readonly BlockRef[] } {
  switch (step.op) {
    case "accept":
      return manager.accept(step.ids.map((id) => drawn.block(id)));
    case "acceptEach": {
      const answers = step.ids.map((id) => manager.accept([drawn.block(id)]));
      return { accepted: answers.flatMap(({ accepted }) => accepted) };
    }
    case "acceptCommitted":
      return { accepted: manager.acceptCommitted(step.ids.map((id) => drawn.block(id))) };
    case "find":
      return { missing: manager.find(step.ids.map((id) => drawn.ref(id))) };
    case "gc":
      return { accepted: manager.collect(step.round) };
  }
}

function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
