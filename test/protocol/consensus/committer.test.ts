import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawnCommittee, DrawnDag, drawnSchedule } from "../../../node/conformance/drawn-dag.ts";
import { SafetyError } from "../../../protocol/base/errors.ts";
import { consensusParameters } from "../../../protocol/base/parameters.ts";
import { BaseCommitter } from "../../../protocol/consensus/base-committer.ts";
import type { VerifiedBlock } from "../../../protocol/consensus/block-verifier.ts";
import { refKey } from "../../../protocol/consensus/block.ts";
import type { Committee } from "../../../protocol/consensus/committee.ts";
import { Committer } from "../../../protocol/consensus/committer.ts";
import { DagState } from "../../../protocol/consensus/dag-state.ts";
import { StakeWeightedSchedule } from "../../../protocol/consensus/leader-schedule.ts";
import { Rng, seededRng } from "../../../tokenizers/random.ts";
import { decisionsOf, parseDagScript } from "../../support/dag-drawing.ts";
import { randomDag } from "../../../node/conformance/random-dag.ts";

function drawing(body: string, head = "validators 4\nleaders 1 of every third round"): string {
  return decisionsOf(parseDagScript(`A test.\n\n${head}\n${body}\n\ndecided\n`));
}

describe("every count is of distinct authors", () => {
  test("a voter with twins is one voter", () => {
    // C and three twins of D are four blocks without D3, and two authors: no quorum.
    const decided = drawing(
      "1..3: A B C D\n4: A B C(* -D) D(* -D D2) D.1(* -D) D.2(D2 A3 B3 C3)\n5: A B C D",
    );
    expect(decided).toContain("3:0 by D: undecided");
  });

  test("a decider with twins is one certificate", () => {
    // Certificates by C and three twins of D only.
    const decided = drawing(
      "1..3: A B C D\n4: A B C D(* -D D2)\n5: A(A4 B4 D4) B(A4 B4 D4) C(A4 B4 C4) D(A4 B4 C4) D.1(C4 A4 B4) D.2(B4 A4 C4)",
    );
    expect(decided).toContain("3:0 by D: undecided");
    expect(decided).toContain("certificates: C5 D5 D5.1 D5.2");
  });

  test("twins of a voter may vote both ways, and each vote counts where it is", () => {
    const decided = drawing("1..3: A B C D\n4: A B C(* -D) D D.1(* -D)\n5: A B C D");
    expect(decided).toContain("D3 votes: A4 B4 D4");
    expect(decided).toContain("commit D3 direct");
  });
});

describe("a vote", () => {
  test("is for the leader of the round before, not for an older block of the same author", () => {
    // C4 refers to D2 only: it does not support D3, though it has a parent by D.
    const decided = drawing("1..3: A B C D\n4: A(* -D D2) B(* -D D2) C(* -D D2) D\n5: A B C D");
    expect(decided).toContain("3:0 by D: skip direct (D3 votes: D4");
  });

  test("in a longer wave passes from block to block, the first block of the slot met in depth first", () => {
    const committee = drawnCommittee(4);
    const all = (round: number): readonly string[] =>
      ["A", "B", "C", "D"].map((letter) => `${letter}${round}`);
    const drawn = new DrawnDag(committee, [
      ...all(1).map((id) => ({ id, parents: all(0) })),
      { id: "A1.1", parents: all(0) },
      { id: "B2", parents: ["B1", "A1", "C1"] },
      { id: "C2", parents: ["C1", "A1.1", "B1"] },
      { id: "D2", parents: ["D1", "B1", "C1"] },
      { id: "B3", parents: ["D2", "C2", "B2"] },
      { id: "C3", parents: ["B2", "C2", "D2"] },
    ]);
    const dag = new DagState(committee);
    for (const id of [...all(1), "A1.1", "B2", "C2", "D2", "B3", "C3"]) drawn.addTo(dag, id);
    const base = new BaseCommitter({
      dag,
      committee,
      schedule: drawnSchedule({ kind: "table", table: { "1": [0] } }, 4, 1),
      waveLength: 4,
      leadersPerRound: 1,
      pipelined: true,
      stopsOnFaults: true,
    });
    const votes = ["B2", "C2", "D2", "B3", "C3"].map((id) => {
      const vertex = dag.find(drawn.ref(id));
      const supported = vertex && base.supportedBy(vertex, { round: 1, offset: 0 });
      return supported === undefined ? "none" : drawn.nameOf(supported);
    });
    expect(votes).toEqual(["A1", "A1.1", "none", "A1.1", "A1"]);
  });
});

test("waves longer than 3 are refused: two honest views would decide one slot differently", () => {
  expect(() => consensusParameters({ waveLength: 4 })).toThrow("a wave has");
  // B1 has one voter in round 2. Who knows all of round 2 skips it; who lacks D2 sees all of round 3 pass the vote on.
  const committee = drawnCommittee(4);
  const drawn = new DrawnDag(committee, [
    ...["A1", "B1", "C1", "D1"].map((id) => ({ id, parents: ["A0", "B0", "C0", "D0"] })),
    { id: "A2", parents: ["A1", "C1", "D1"] },
    { id: "B2", parents: ["B1", "A1", "C1"] },
    { id: "C2", parents: ["C1", "A1", "D1"] },
    ...["A3", "B3", "C3"].map((id) => ({ id, parents: ["A2", "B2", "C2"] })),
    ...["A4", "B4", "C4"].map((id) => ({ id, parents: ["A3", "B3", "C3"] })),
    { id: "D2", parents: ["D1", "A1", "C1"] },
  ]);
  const decided = (ids: readonly string[]): string | undefined => {
    const dag = new DagState(committee);
    for (const id of ids) drawn.addTo(dag, id);
    const committer = new Committer({
      dag,
      committee,
      schedule: drawnSchedule({ kind: "round-robin" }, 4, 1),
      waveLength: 4,
      leadersPerRound: 1,
      pipelined: true,
      stopsOnFaults: true,
    });
    return committer.decide(undefined)[0]?.status;
  };
  const known = ["A1", "B1", "C1", "D1", "A2", "B2", "C2", "A3", "B3", "C3", "A4", "B4", "C4"];
  expect(decided(known)).toBe("commit");
  expect(decided([...known, "D2"])).toBe("skip");
});

test("a leader with a quorum for it and a quorum against it stops everything: more than a third is faulty", () => {
  // Four voters sign twins: a quorum of votes, and of certificates, for D3 and for D3.1.
  const body =
    "1..2: A B C D\n3: A B C D D.1\n4: A B C D(A3 B3 C3 D3) A.1(A3 B3 C3 D3.1) B.1(A3 B3 C3 D3.1) C.1(A3 B3 C3 D3.1) D.1(A3 B3 C3 D3.1)\n5: A B C D A.1(A4.1 B4.1 C4.1 D4.1) B.1(A4.1 B4.1 C4.1 D4.1) C.1(A4.1 B4.1 C4.1 D4.1)";
  expect(() => drawing(body)).toThrow(SafetyError);
  expect(() => drawing(body)).toThrow("block D3 of slot 3:0 can be committed and skipped");
});

/** A committer over a DAG of its own. */
function committerOver(
  committee: Committee,
  leadersPerRound: number,
): { readonly dag: DagState; readonly committer: Committer } {
  const dag = new DagState(committee);
  const schedule = new StakeWeightedSchedule(committee, leadersPerRound);
  return {
    dag,
    committer: new Committer({
      dag,
      committee,
      schedule,
      waveLength: 3,
      leadersPerRound,
      pipelined: true,
      stopsOnFaults: true,
    }),
  };
}

function add(dag: DagState, block: VerifiedBlock): void {
  dag.add(block, dag.parentsOf(block.ancestors, -1) ?? [], block);
}

function outcome(decision: ReturnType<Committer["decide"]>[number]): string {
  const { round, offset, status } = decision;
  return `${round}:${offset} ${status === "commit" ? refKey(decision.leader) : "skip"}`;
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

describe("on random DAGs with equivocators", () => {
  const generated = (
    seed: number,
  ): { committee: Committee; blocks: readonly VerifiedBlock[]; rng: Rng; leaders: number } => {
    const rng = seededRng(seed, "committer");
    const size = [4, 5, 7][rng.uniform(3)] ?? 4;
    const committee = drawnCommittee(size);
    const equivocatorCount = committee.validity - 1;
    const density = rng.unit();
    const blocks = randomDag({
      committee,
      roundCount: 14,
      equivocatorCount,
      absence: 0.2,
      density,
      rng,
    });
    return { committee, blocks, rng, leaders: 1 + rng.uniform(3) };
  };

  test("no two views ever disagree on a slot that both have decided", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { committee, blocks, rng, leaders } = generated(seed);
        const decidedBy = new Map<string, string>();
        for (let view = 0; view < 6; view++) {
          const { dag, committer } = committerOver(committee, leaders);
          // Causally closed: a block is left out, or one of its ancestors is.
          for (const block of blocks) {
            const isWhole = dag.parentsOf(block.ancestors, -1) !== undefined;
            if (isWhole && rng.unit() < 0.9) add(dag, block);
          }
          for (const decision of committer.decide(undefined)) {
            const slot = `${decision.round}:${decision.offset}`;
            expect(decidedBy.get(slot) ?? outcome(decision)).toBe(outcome(decision));
            decidedBy.set(slot, outcome(decision));
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("what is decided stays decided as the DAG grows, and asking step by step is asking once", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { committee, blocks, leaders } = generated(seed);
        const { dag, committer } = committerOver(committee, leaders);
        const steps: string[] = [];
        let last: { round: number; offset: number } | undefined;
        for (const block of blocks) {
          add(dag, block);
          for (const decision of committer.decide(last)) {
            last = { round: decision.round, offset: decision.offset };
            steps.push(outcome(decision));
          }
        }
        const whole = committerOver(committee, leaders);
        for (const block of blocks) add(whole.dag, block);
        expect(whole.committer.decide(undefined).map(outcome)).toEqual(steps);
        expect(committer.decide(undefined).map(outcome)).toEqual(steps); // from the start again
      }),
      { numRuns: 60 },
    );
  });

  test("a slot is committed to a block that is there, and slots come in order without a gap", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { committee, blocks, leaders } = generated(seed);
        const { dag, committer } = committerOver(committee, leaders);
        for (const block of blocks) add(dag, block);
        let expected = committer.slotAfter(undefined);
        for (const decision of committer.decide(undefined)) {
          expect({ round: decision.round, offset: decision.offset }).toEqual(expected);
          expected = committer.slotAfter(expected);
          if (decision.status !== "commit") continue;
          expect(dag.find(decision.leader)).toBe(decision.leader);
          expect(committer.offsetOf(decision.round, decision.leader.author)).toBe(decision.offset);
        }
      }),
      { numRuns: 30 },
    );
  });
});
