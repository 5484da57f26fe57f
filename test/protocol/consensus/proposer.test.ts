import { describe, expect, test } from "vitest";
import { DrawnDag, drawnSchedule, type Drawing } from "../../../node/conformance/drawn-dag.ts";
import {
  type ConsensusParameters,
  consensusParameters,
} from "../../../protocol/base/parameters.ts";
import { EMPTY_PAYLOAD } from "../../../protocol/consensus/block.ts";
import { BlockVerifier, type VerifiedBlock } from "../../../protocol/consensus/block-verifier.ts";
import { DagState } from "../../../protocol/consensus/dag-state.ts";
import { Proposer } from "../../../protocol/consensus/proposer.ts";
import { committeeSignatures } from "../../../protocol/consensus/signatures.ts";
import { present } from "../../../base/errors.ts";
import { loopCommittee } from "../../support/consensus-loop.ts";

const { committee, signers } = loopCommittee(4);

/** A's proposer over a drawn DAG. Leaders: round r is led by validator r mod 4. */
function setUp(
  drawings: readonly Drawing[],
  changes: Partial<ConsensusParameters> = {},
): {
  readonly dag: DagState;
  readonly drawn: DrawnDag;
  readonly proposer: Proposer;
  readonly propose: (round: number, gcRound?: number) => VerifiedBlock | undefined;
  readonly ancestors: (block: VerifiedBlock | undefined) => readonly string[];
} {
  const parameters = consensusParameters({ leadersPerRound: 1, ...changes });
  const dag = new DagState(committee);
  const drawn = new DrawnDag(committee, drawings);
  for (const { id } of drawings) drawn.addTo(dag, id);
  const checkSignature = committeeSignatures(committee);
  const proposer = new Proposer({
    committee,
    ownIndex: 0,
    parameters,
    dag,
    schedule: drawnSchedule({ kind: "round-robin" }, 4, 1),
    signer: present(signers[0], "a signer"),
    verifier: new BlockVerifier({ committee, parameters, checkSignature }),
  });
  return {
    dag,
    drawn,
    proposer,
    propose: (round, gcRound = 0) =>
      proposer.propose({
        round,
        now: 1000,
        timestampMs: 1000,
        gcRound,
        commitVotes: [],
        takePayload: () => [EMPTY_PAYLOAD],
      }),
    ancestors: (block) => block?.ancestors.refs().map((ref) => drawn.nameOf(ref)) ?? [],
  };
}

const rounds = (
  count: number,
  letters: readonly string[] = ["A", "B", "C", "D"],
): readonly Drawing[] =>
  Array.from({ length: count }, (_, i) =>
    letters.map((own) => ({
      id: `${own}${i + 1}`,
      parents: [
        own,
        ...(i === 0 ? ["A", "B", "C", "D"] : letters).filter((each) => each !== own),
      ].map((each) => `${each}${i}`),
    })),
  ).flat();

describe("the round of the next block", () => {
  const roundFor = (own: number, clock: number, decidedRound: number): unknown => {
    const { proposer } = setUp([]);
    proposer.neverBelow(own);
    const readiness = proposer.readiness({ now: 10_000, clock, clockSince: 0, decidedRound });
    return readiness.kind === "ready" ? readiness.round : readiness.kind;
  };

  test.each([
    // own, clock, D, expected: max(own + 1, min(clock, D + 3))
    [4, 5, 2, 5, "the clock's, when all is decided behind it"],
    [1, 14, 0, 3, "no further than D + 3: rounds not decided are never jumped"],
    [3, 14, 0, 4, "and then round by round"],
    [13, 14, 0, 14, "up to the clock"],
    [1, 14, 6, 9, "whatever is decided may be jumped"],
    [1, 14, 20, 14, "to the clock at most"],
    [14, 14, 12, "waiting", "never the same one twice"],
    [20, 14, 12, "waiting", "never below what was signed before"],
  ] as const)("with own %i, clock %i, D %i is %s: %s", (own, clock, decided, expected, _why) => {
    expect(roundFor(own, clock, decided)).toBe(expected);
  });
});

describe("pace", () => {
  test("waits for the leader of the round before, until the timeout", () => {
    const { proposer } = setUp(rounds(5, ["A", "C", "D"])); // B leads round 5
    const at = (now: number): string =>
      proposer.readiness({ now, clock: 6, clockSince: 100, decidedRound: 4 }).kind;
    expect([at(100), at(299), at(300)]).toEqual(["waiting", "waiting", "ready"]);
  });

  /** Five rounds by all, led by B in the last; then, in the sixth, votes for B5 and blocks without it. */
  const votes = (voters: readonly string[], others: readonly string[]): readonly Drawing[] => [
    ...rounds(5),
    ...voters.map((own) => ({
      id: `${own}6`,
      parents: [own, ...["A", "B", "C", "D"].filter((each) => each !== own)].map((l) => `${l}5`),
    })),
    ...others.map((own) => ({
      id: `${own}6`,
      parents: [own, ...["A", "C", "D"].filter((each) => each !== own)].map((l) => `${l}5`),
    })),
  ];

  test.each([
    [["A", "B", "C"], ["D"], "ready", "a quorum has voted"],
    [["A", "C"], ["D"], "waiting", "the vote of B would make a certificate"],
    [["C"], ["A", "D"], "ready", "two of four are against it: one of them is honest"],
  ] as const)(
    "with votes of %j and blocks of %j without one is %s: %s",
    (voters, others, expected, _why) => {
      const { proposer } = setUp(votes(voters, others)); // C leads round 6, and C6 is there
      const at = (now: number): string =>
        proposer.readiness({ now, clock: 7, clockSince: 100, decidedRound: 5 }).kind;
      expect([at(100), at(299), at(300)]).toEqual([expected, expected, "ready"]);
    },
  );

  test("does not wait for a leader that is there, or that is ourselves", () => {
    const { proposer } = setUp(rounds(5, ["B", "C", "D"]));
    const at = (clock: number): string =>
      proposer.readiness({ now: 0, clock, clockSince: 0, decidedRound: clock - 2 }).kind;
    expect(at(6)).toBe("ready"); // B5 is there
    expect(at(5)).toBe("ready"); // round 4 is led by A
  });

  test("does not wait for a leader that has gone on without a block of that round", () => {
    const gone = { id: "B6", parents: ["B0", "A5", "C5", "D5"] };
    const { proposer } = setUp([...rounds(5, ["A", "C", "D"]), gone]); // B leads round 5
    const { kind } = proposer.readiness({ now: 100, clock: 6, clockSince: 100, decidedRound: 4 });
    expect(kind).toBe("ready");
  });

  test("does not wait for a leader that has made no block for long", () => {
    // B leads round 5 and has made nothing but the genesis block.
    const blocks = rounds(5, ["A", "C", "D"]);
    const ready = (leaderAwayRounds: number): string =>
      setUp(blocks, { leaderAwayRounds }).proposer.readiness({
        now: 100,
        clock: 6,
        clockSince: 100,
        decidedRound: 4,
      }).kind;
    expect(ready(5)).toBe("waiting");
    expect(ready(4)).toBe("ready");
  });

  test("keeps a distance between blocks at the clock, not while it fills a gap behind it", () => {
    const { proposer, propose } = setUp(rounds(6), { roundDelayMinMs: 50 });
    propose(5); // at 1000
    const at = (now: number, clock: number): unknown =>
      proposer.readiness({ now, clock, clockSince: 0, decidedRound: 1 });
    proposer.neverBelow(5);
    expect(at(1049, 6)).toEqual({ kind: "early", at: 1050 });
    expect(at(1050, 6)).toEqual({ kind: "ready", round: 6 });
    expect(at(1001, 7)).toEqual({ kind: "ready", round: 6 });
  });

  test("never asks for less than a quorum, however late it is", () => {
    const { propose } = setUp(rounds(1).filter(({ id }) => id !== "A1" && id !== "B1"));
    expect(propose(2)).toBeUndefined();
  });
});

describe("ancestors", () => {
  test("are our own block first, then the newest of every other author", () => {
    const { propose, ancestors, drawn, proposer } = setUp(rounds(3));
    proposer.noteOwn(drawn.block("A3"));
    expect(ancestors(propose(4))).toEqual(["A3", "B3", "C3", "D3"]);
  });

  test("start at genesis, and are then those that are newer than the ones before", () => {
    const { propose, ancestors, proposer } = setUp([
      ...rounds(3, ["B", "C", "D"]),
      { id: "B4", parents: ["B3", "C3", "D3"] },
    ]);
    const first = propose(3);
    expect(ancestors(first)).toEqual(["A0", "B2", "C2", "D2"]);
    if (first !== undefined) proposer.noteOwn(first);
    const second = propose(4);
    expect(ancestors(second).slice(1)).toEqual(["B3", "C3", "D3"]);
    expect(second?.ancestors.round(0)).toBe(3);
  });

  test("are below the block's round, though the DAG has gone on", () => {
    const { propose, ancestors } = setUp(rounds(6, ["B", "C", "D"]));
    expect(ancestors(propose(3))).toEqual(["A0", "B2", "C2", "D2"]);
  });

  test("are one of an equivocator's blocks, and older ones where nothing is newer", () => {
    const { propose, ancestors, proposer, drawn } = setUp([
      ...rounds(1),
      ...["A2", "B2", "C2"].map((id) => ({ id, parents: [`${id.charAt(0)}1`, "A1", "B1", "C1"] })),
      { id: "B2.1", parents: ["B1", "A1", "C1", "D1"] },
    ]);
    proposer.noteOwn(drawn.block("A2"));
    expect(ancestors(propose(3))).toEqual(["A2", "B2", "C2", "D1"]);
  });

  test("are nothing that is collected", () => {
    // D was seen last in round 4.
    const drawings = [
      ...rounds(4),
      ...rounds(9, ["A", "B", "C"]).filter(({ id }) => Number(id.slice(1)) > 4),
    ];
    const ancestorsWith = (gcRound: number): readonly string[] => {
      const { propose, ancestors, proposer, drawn } = setUp(drawings);
      proposer.noteOwn(drawn.block("A9")); // refers to no D: the last that D was seen with is D4
      return ancestors(propose(10, gcRound));
    };
    expect(ancestorsWith(3)).toEqual(["A9", "B9", "C9", "D4"]);
    expect(ancestorsWith(4)).toEqual(["A9", "B9", "C9"]);
  });
});

test("a block is signed by us, and its time never runs backwards", () => {
  const { proposer, propose } = setUp(rounds(3, ["B", "C", "D"]));
  const first = propose(2);
  expect(first?.timestampMs).toBe(1000);
  if (first === undefined) return;
  const check = committeeSignatures(committee);
  expect(check(0, first.digest, first.signature)).toBe(true);
  proposer.noteOwn(first);
  const second = proposer.propose({
    round: 3,
    now: 2000,
    timestampMs: 400.9,
    gcRound: 0,
    commitVotes: [],
    takePayload: () => [EMPTY_PAYLOAD],
  });
  expect(second?.timestampMs).toBe(1000);
  expect(
    second?.ancestors.hasDigest(
      0,
      Int32Array.from(new Int32Array(Uint8Array.from(first.digest).buffer)),
    ),
  ).toBe(true);
});

test("the payload is asked for only when the block can be made", () => {
  const { proposer } = setUp(rounds(1, ["B", "C"]));
  let asked = 0;
  const made = proposer.propose({
    round: 2,
    now: 0,
    timestampMs: 0,
    gcRound: 0,
    commitVotes: [],
    takePayload: () => {
      asked++;
      return [EMPTY_PAYLOAD];
    },
  });
  expect([made, asked]).toEqual([undefined, 0]);
});
