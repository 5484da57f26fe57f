import { describe, expect, test } from "vitest";
import { DrawnDag, drawnCommittee, type Drawing } from "../../../node/conformance/drawn-dag.ts";
import {
  type ConsensusParameters,
  consensusParameters,
} from "../../../protocol/base/parameters.ts";
import type { BlockRef } from "../../../protocol/consensus/block.ts";
import { BlockManager } from "../../../protocol/consensus/block-manager.ts";
import { DagState } from "../../../protocol/consensus/dag-state.ts";

const committee = drawnCommittee(4);
const LETTERS = ["A", "B", "C", "D"];

/** Rounds 1 … roundCount in which everybody refers to everybody, and what is drawn besides. */
function fullRounds(roundCount: number, more: readonly Drawing[] = []): DrawnDag {
  const drawings: Drawing[] = [];
  for (let round = 1; round <= roundCount; round++) {
    for (const own of LETTERS) {
      const others = LETTERS.filter((letter) => letter !== own);
      drawings.push({
        id: `${own}${round}`,
        parents: [own, ...others].map((letter) => `${letter}${round - 1}`),
      });
    }
  }
  return new DrawnDag(committee, [...drawings, ...more]);
}

function setUp(
  drawn: DrawnDag,
  limits: Partial<ConsensusParameters> = {},
): {
  readonly dag: DagState;
  readonly manager: BlockManager;
  readonly accept: (...ids: readonly string[]) => readonly string[];
  readonly wanted: () => readonly string[];
  readonly suspended: () => readonly string[];
} {
  const dag = new DagState(committee);
  const manager = new BlockManager(dag, consensusParameters(limits));
  const names = (refs: Iterable<BlockRef>): readonly string[] =>
    [...refs].map((ref) => drawn.nameOf(ref));
  return {
    dag,
    manager,
    accept: (...ids) => names(manager.accept(ids.map((id) => drawn.block(id))).accepted),
    wanted: () => [...names(manager.wanted.values())].sort(),
    suspended: () => [...names(manager.suspendedRefs())].sort(),
  };
}

describe("a block whose ancestors are missing", () => {
  test("waits for them, and enters after the last of them, its ancestors first", () => {
    const { accept, wanted, suspended } = setUp(fullRounds(3));
    expect(accept("A3")).toEqual([]);
    expect(wanted()).toEqual(["A2", "B2", "C2", "D2"]);
    expect(accept("A2", "B2", "C2")).toEqual([]);
    expect(suspended()).toEqual(["A2", "A3", "B2", "C2"]);
    expect(wanted()).toEqual(["A1", "B1", "C1", "D1", "D2"]);
    accept("A1", "B1", "C1");
    expect(accept("D1")).toEqual(["D1", "A2", "B2", "C2"]);
    expect(accept("D2")).toEqual(["D2", "A3"]);
    expect([...wanted(), ...suspended()]).toEqual([]);
  });

  test("is not asked for again while it is suspended, nor accepted twice", () => {
    const drawn = fullRounds(3);
    const { manager, accept } = setUp(drawn);
    accept("A2");
    const { accepted, missing } = manager.accept([drawn.block("A3"), drawn.block("A2")]);
    expect(accepted).toEqual([]);
    expect(missing.map((ref) => drawn.nameOf(ref)).sort()).toEqual(["B2", "C2", "D2"]);
    expect(accept("A1", "B1", "C1", "D1")).toEqual(["A1", "B1", "C1", "D1", "A2"]);
    expect(accept("A2", "A1")).toEqual([]);
  });
});

describe("what is collected", () => {
  test("counts as present, lets waiting blocks in, and is wanted no more", () => {
    const drawn = fullRounds(4);
    const { manager, accept, wanted, suspended } = setUp(drawn);
    accept("A3", "B3", "C3", "D3", "A4", "A2");
    expect(suspended()).toEqual(["A2", "A3", "A4", "B3", "C3", "D3"]);
    const released = manager.collect(2).map((vertex) => drawn.nameOf(vertex));
    expect([...released].sort()).toEqual(["A3", "A4", "B3", "C3", "D3"]); // A2 itself is of the past
    expect([...wanted(), ...suspended()]).toEqual([]);
    expect(accept("A2", "B1")).toEqual([]);
  });

  test("stays collected: the round never falls", () => {
    const { manager } = setUp(fullRounds(1));
    manager.collect(5);
    manager.collect(3);
    expect(manager.gcRound).toBe(5);
  });
});

describe("blocks of certified commits", () => {
  test("enter without their ancestors, and let in those that waited for them", () => {
    const drawn = fullRounds(6);
    const { manager, accept, wanted, suspended } = setUp(drawn);
    accept("A6", "A5");
    manager.acceptCommitted(["B5", "C5", "D5", "A5"].map((id) => drawn.block(id)));
    expect([...wanted(), ...suspended()]).toEqual([]);
    expect(manager.acceptCommitted([drawn.block("A6")])).toEqual([]);
  });
});

describe("twins", () => {
  const twins = ["D2.1", "D2.2", "D2.3"].map((id) => ({ id, parents: ["D1", "A1", "B1", "C1"] }));
  const child = { id: "A3.1", parents: ["A2", "B2", "C2", "D2.3"] };

  test("beyond two of a slot are passed over while nobody refers to them", () => {
    const { dag, accept } = setUp(fullRounds(2, twins));
    accept("A1", "B1", "C1", "D1", "D2", "D2.1");
    expect(accept("D2.2", "D2.3")).toEqual([]);
    expect(dag.blocksOf(2, 3).length).toBe(2);
  });

  test("that somebody refers to are fetched and accepted, however many there are", () => {
    const { dag, accept, wanted } = setUp(fullRounds(2, [...twins, child]));
    accept("A1", "B1", "C1", "D1", "A2", "B2", "C2", "D2", "D2.1");
    expect(accept("D2.3")).toEqual([]);
    expect(accept("A3.1")).toEqual([]);
    expect(wanted()).toEqual(["D2.3"]);
    expect(accept("D2.3")).toEqual(["D2.3", "A3.1"]);
    expect(dag.blocksOf(2, 3).length).toBe(3);
  });

  test("that are in our own log were referred to by what follows them there", () => {
    const drawn = fullRounds(2, [...twins, child]);
    const { manager, accept } = setUp(drawn);
    accept("A1", "B1", "C1", "D1", "A2", "B2", "C2", "D2", "D2.1");
    expect(manager.restore(drawn.block("D2.3")).length).toBe(1);
    expect(accept("A3.1")).toEqual(["A3.1"]);
  });
});

describe("who floods us with blocks that cannot enter", () => {
  /** D's chain, of which round 1 never comes. */
  const chain = Array.from({ length: 40 }, (_, i) => ({
    id: `D${i + 2}`,
    parents: [`D${i + 1}`, `A${i + 1}`, `B${i + 1}`, `C${i + 1}`],
  }));
  const drawn = new DrawnDag(committee, [
    ...chain,
    { id: "C30", parents: ["C29", "A29", "B29", "D29"] },
  ]);

  test("fills its own share only, and the farthest future goes first", () => {
    const { manager, accept, suspended } = setUp(drawn, { suspendedPerAuthorMax: 5 });
    for (let round = 41; round >= 2; round--) accept(`D${round}`);
    expect(suspended()).toEqual(["D2", "D3", "D4", "D5", "D6"]);
    accept("D40", "D41");
    expect(manager.suspendedCount).toBe(5);
    accept("C30");
    expect(suspended()).toEqual(["C30", "D2", "D3", "D4", "D5", "D6"]);
  });

  test("leaves nothing wanted for the blocks that were pushed out", () => {
    const { accept, wanted } = setUp(drawn, { suspendedPerAuthorMax: 2 });
    accept("D30");
    accept("D20");
    accept("D10");
    expect(wanted()).toEqual(["A19", "A9", "B19", "B9", "C19", "C9", "D19", "D9"]);
  });

  test("is bounded by bytes too", () => {
    const sizeBytes = drawn.block("D2").bytes.length;
    const { manager, accept } = setUp(drawn, { suspendedBytesPerAuthorMax: 3 * sizeBytes });
    for (let round = 2; round <= 41; round++) accept(`D${round}`);
    expect(manager.suspendedCount).toBe(3);
  });

  test("a block that others wait for is wanted again when it is pushed out", () => {
    const { accept, wanted } = setUp(drawn, { suspendedPerAuthorMax: 2 });
    accept("C30"); // waits for D29
    accept("D29");
    expect(wanted()).not.toContain("D29");
    accept("D10", "D11");
    expect(wanted()).toContain("D29");
  });
});

test("what is sought is what is neither here nor waiting, and is wanted from then on", () => {
  const drawn = fullRounds(3);
  const { manager, accept, wanted } = setUp(drawn);
  accept("A1", "A3");
  const refs = ["A1", "A3", "B3", "C3"].map((id) => drawn.ref(id));
  expect(manager.find(refs).map((ref) => drawn.nameOf(ref))).toEqual(["B3", "C3"]);
  expect(wanted()).toEqual(["A2", "B2", "B3", "C2", "C3", "D2"]);
  accept("B3");
  expect(wanted()).not.toContain("B3");
});
