import { describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { DrawnDag, drawnCommittee } from "../../../node/conformance/drawn-dag.ts";
import { DagState } from "../../../protocol/consensus/dag-state.ts";
import { parseDagScript } from "../../support/dag-drawing.ts";

const committee = drawnCommittee(4);

function setUp(body: string): {
  readonly dag: DagState;
  readonly drawn: DrawnDag;
  readonly names: (vertices: readonly unknown[]) => readonly string[];
} {
  const { blocks } = parseDagScript(`A test.\n\n${body}\n\ndecided\n`);
  const drawn = new DrawnDag(committee, blocks);
  const dag = new DagState(committee);
  for (const { id } of blocks) drawn.addTo(dag, id);
  return { dag, drawn, names: (vertices) => vertices.map((each) => drawn.nameOf(each as never)) };
}

describe("looking up", () => {
  const { dag, drawn, names } = setUp("1: A B C D D.1\n2: A B C(* -D D1.1)");

  test("finds a block by round, author and digest, and tells twins apart", () => {
    expect(names(dag.blocksOf(1, 3))).toEqual(["D1", "D1.1"]);
    expect(drawn.nameOf(present(dag.find(drawn.ref("D1.1")), "D1.1"))).toBe("D1.1");
    expect(dag.find(drawn.ref("D1.2"))).toBeUndefined();
    expect(dag.find(drawn.ref("A7"))).toBeUndefined();
    expect(names(present(dag.find(drawn.ref("C2")), "C2").parents)).toEqual([
      "A1",
      "B1",
      "C1",
      "D1.1",
    ]);
  });

  test("gives a block's parents in its own order, or nothing if one that must be here is not", () => {
    const incomplete = new DagState(committee);
    for (const id of ["A1", "B1", "C1"]) drawn.addTo(incomplete, id);
    const { ancestors } = drawn.block("A2");
    expect(incomplete.parentsOf(ancestors, -1)).toBeUndefined();
    expect(names(incomplete.parentsOf(ancestors, 1) ?? [])).toEqual(["A1", "B1", "C1"]);
    expect(incomplete.hasAncestor(ancestors, 0)).toBe(true);
    expect(incomplete.hasAncestor(ancestors, 3)).toBe(false);
  });

  test("counts the stake of a round by author, and knows what it has none of", () => {
    expect([0, 1, 2, 3].map((round) => dag.stakeAt(round))).toEqual([4, 4, 3, 0]);
    expect(names(dag.at(2))).toEqual(["A2", "B2", "C2"]);
    expect(dag.highestRound).toBe(2);
  });

  test("finds an author's newest block up to a round, above another", () => {
    const at = (author: number, round: number, above: number): string | undefined => {
      const vertex = dag.latestUpTo(author, round, above);
      return vertex && drawn.nameOf(vertex);
    };
    expect([at(0, 9, -1), at(0, 1, -1), at(0, 1, 1), at(0, 2, 2)]).toEqual([
      "A2",
      "A1",
      undefined,
      undefined,
    ]);
    expect([at(3, 9, -1), at(3, 9, 0), at(3, 9, 1), at(3, 0, -1)]).toEqual([
      "D1",
      "D1",
      undefined,
      "D0",
    ]);
  });
});

describe("forgetting", () => {
  test("keeps genesis until a later round goes", () => {
    const { dag } = setUp("1..3: A B C D");
    dag.evict(0);
    expect(dag.at(0).length).toBe(4);
    dag.evict(1);
    expect([0, 1, 2].map((round) => dag.at(round).length)).toEqual([0, 0, 4]);
  });

  test("leaves no chain of parents behind that would keep every block since genesis", () => {
    const { dag, drawn } = setUp("1..5: A B C D");
    const [old, young] = ["B3", "B4"].map((id) => present(dag.find(drawn.ref(id)), id));
    dag.evict(3);
    expect(old?.parents).toEqual([]);
    expect(old?.block).toBeUndefined();
    expect(young?.parents.length).toBe(4); // the last that anyone holds
  });

  test("forgets who was last seen there, and takes no block of such a round any more", () => {
    const { dag, drawn } = setUp("1: A B C D\n2..4: A B C");
    expect(dag.latest(3)?.round).toBe(1);
    dag.evict(2);
    expect(dag.latest(3)).toBeUndefined();
    expect(dag.latest(0)?.round).toBe(4);
    expect(() => drawn.addTo(dag, "D2")).toThrow("forgotten");
  });
});
