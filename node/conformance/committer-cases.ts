/** Committer cases: accept blocks, decide, say what was decided. */
import { SomaError } from "../../base/errors.ts";
import type { Slot } from "../../protocol/consensus/block.ts";
import type { Decision } from "../../protocol/consensus/base-committer.ts";
import { Committer } from "../../protocol/consensus/committer.ts";
import { DagState } from "../../protocol/consensus/dag-state.ts";
import type { CommitterCase } from "./case-file.ts";
import { drawnCommittee, DrawnDag, drawnSchedule } from "./drawn-dag.ts";

export interface DecidedSlot {
  readonly round: number;
  readonly offset: number;
  readonly status: "commit" | "skip";
  readonly by: "direct" | "indirect";
  readonly block?: string;
}

export interface CommitterAnswer {
  readonly name: string;
  /** One list a call. */
  readonly calls: readonly (readonly DecidedSlot[])[];
}

/**
 * Blocks are accepted on top of those of the calls before; a call that accepts fewer starts anew. Each call decides by
 * its blocks alone, whatever an earlier call decided.
 */
export function runCommitterCase(given: CommitterCase): CommitterAnswer {
  const { name, authorities, leadersPerRound, waveLength, pipeline, blocks } = given;
  const committee = drawnCommittee(authorities, given.stakes);
  const drawn = new DrawnDag(committee, blocks);
  const schedule = drawnSchedule(given.leaderRule, authorities, leadersPerRound);
  let dag = new DagState(committee);
  let acceptedCount = 0;
  const calls = given.calls.map(({ accept, lastDecided }) => {
    if (accept < acceptedCount) {
      dag = new DagState(committee);
      acceptedCount = 0;
    }
    for (const { id } of blocks.slice(acceptedCount, accept)) drawn.addTo(dag, id);
    acceptedCount = accept;
    const committer = new Committer({
      dag,
      committee,
      schedule,
      waveLength,
      leadersPerRound,
      pipelined: pipeline,
      stopsOnFaults: false,
    });
    const last = lastDecided == null ? undefined : slotOf(lastDecided, { committer, name });
    return committer.decide(last).map((decision) => decidedSlot(decision, drawn));
  });
  return { name, calls };
}

type NamedSlot = NonNullable<CommitterCase["calls"][number]["lastDecided"]>;

/** @throws SomaError BAD_CASE if the author leads no slot of the round */
function slotOf(
  { round, author, offset }: NamedSlot,
  { committer, name }: { readonly committer: Committer; readonly name: string },
): Slot | undefined {
  if (round === 0) return undefined;
  const found = offset ?? (author === undefined ? undefined : committer.offsetOf(round, author));
  if (found !== undefined) return { round, offset: found };
  throw new SomaError({
    code: "BAD_CASE",
    kind: "usage",
    what: `case "${name}": lastDecided: ${author ?? "nobody"} leads no slot of round ${round}`,
    next: "correct the case",
  });
}

function decidedSlot(decision: Decision, drawn: DrawnDag): DecidedSlot {
  const { round, offset, status, by } = decision;
  return decision.status === "commit"
    ? { round, offset, status, by, block: drawn.nameOf(decision.leader) }
    : { round, offset, status, by };
}
