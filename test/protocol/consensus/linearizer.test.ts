import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawnCommittee, DrawnDag } from "../../../node/conformance/drawn-dag.ts";
import { compareRefs, refKey } from "../../../protocol/consensus/block.ts";
import { sealCommit } from "../../../protocol/consensus/commit.ts";
import { DagState, Vertex } from "../../../protocol/consensus/dag-state.ts";
import { Linearizer, medianTimestamp } from "../../../protocol/consensus/linearizer.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { deliver } from "../../../node/conformance/delivery-orders.ts";
import { randomDag } from "../../../node/conformance/random-dag.ts";

const committee = drawnCommittee(4);

/** Commit the leaders in turn. @returns the names of each commit's blocks, and its time */
function commits(
  blocks: readonly {
    readonly id: string;
    readonly parents: readonly string[];
    readonly timestampMs?: number;
  }[],
  leaders: readonly string[],
  gcDepth = Infinity,
): readonly { readonly ids: readonly string[]; readonly timestampMs: number }[] {
  const drawn = new DrawnDag(committee, blocks);
  const dag = new DagState(committee);
  for (const { id } of blocks) drawn.addTo(dag, id);
  const linearizer = new Linearizer(committee, gcDepth);
  return leaders.map((id) => {
    const leader = dag.find(drawn.ref(id));
    if (leader === undefined) throw new Error(`no ${id}`);
    const { commit, vertices } = linearizer.commit(leader);
    return { ids: vertices.map((vertex) => drawn.nameOf(vertex)), timestampMs: commit.timestampMs };
  });
}

const genesis = ["A0", "B0", "C0", "D0"];

test("both twins of an equivocator are ordered when both are in the history: by digest, each once", () => {
  const [first] = commits(
    [
      { id: "A1", parents: genesis },
      { id: "D1", parents: genesis },
      { id: "D1.1", parents: genesis },
      { id: "B2", parents: ["D1", "A1"] },
      { id: "C2", parents: ["D1.1", "A1"] },
      { id: "A3", parents: ["A1", "B2", "C2"] },
    ],
    ["A3"],
  );
  expect([...(first?.ids ?? [])].sort()).toEqual(["A1", "A3", "B2", "C2", "D1", "D1.1"]);
  expect(first?.ids.at(-1)).toBe("A3");
});

test("a block below the gc round cuts off what is behind it, even what is above", () => {
  // D's only way to C4 leads through D1, which is collected when A6 is committed (gc round 5 − 3 = 2).
  const blocks = [
    ...["A1", "B1", "D1"].map((id) => ({ id, parents: genesis })),
    ...["A2", "B2"].map((id) => ({ id, parents: ["A1", "B1"] })),
    ...["A3", "B3"].map((id) => ({ id, parents: ["A2", "B2"] })),
    { id: "D3", parents: ["D1", "A2", "B2"] },
    ...["A4", "B4"].map((id) => ({ id, parents: ["A3", "B3"] })),
    ...["A5", "B5"].map((id) => ({ id, parents: ["A4", "B4"] })),
    { id: "A6", parents: ["A5", "B5", "D3"] },
  ];
  const [first, second] = commits(blocks, ["B5", "A6"], 3);
  expect(first?.ids).not.toContain("D1");
  expect(second?.ids).toEqual(["D3", "A5", "A6"]);
});

describe("the gc round", () => {
  test("is below the commit before, whatever the DAG holds, and never below 0", () => {
    const linearizer = new Linearizer(committee, 60);
    expect(linearizer.gcRound).toBe(0);
    const at = (index: number, round: number): ReturnType<typeof sealCommit> => {
      const leader = { round, author: 0, digest: new Uint8Array(32) };
      return sealCommit({
        index,
        previousDigest: linearizer.lastDigest,
        leader,
        blocks: [leader],
        timestampMs: 0,
      });
    };
    linearizer.resume(at(1, 59));
    expect(linearizer.gcRound).toBe(0);
    linearizer.resume(at(2, 100));
    expect(linearizer.gcRound).toBe(40);
    expect(() => {
      linearizer.resume(at(4, 101));
    }).toThrow("follow one another");
  });
});

describe("the time of a commit", () => {
  const parents = (times: readonly number[], stakes?: readonly number[]): number =>
    medianTimestamp(
      times.map(
        (timestampMs, author) =>
          new Vertex({ round: 1, author, digest: new Uint8Array(32), timestampMs }, []),
      ),
      drawnCommittee(times.length, stakes),
    );

  test("is the smallest that half the stake does not exceed", () => {
    expect(parents([10, 20, 30])).toBe(20);
    expect(parents([10, 20, 30, 40])).toBe(20);
    expect(parents([40, 10, 30, 20])).toBe(20);
    expect(parents([10, 20, 30], [1, 1, 2])).toBe(20);
    expect(parents([10, 20, 30], [1, 1, 3])).toBe(30);
  });

  test("is bounded by honest clocks, whatever a third of the stake says", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1000, max: 2000 }), { minLength: 3, maxLength: 7 }),
        fc.maxSafeNat(),
        (honest, lie) => {
          const faulty = Math.floor((honest.length - 1) / 2);
          const times = [...honest, ...Array.from({ length: faulty }, () => lie)];
          const median = parents(times);
          expect(median).toBeGreaterThanOrEqual(Math.min(...honest));
          expect(median).toBeLessThanOrEqual(Math.max(...honest));
        },
      ),
    );
  });

  test("asks the leader's parents of the round just before, not older ones, and never runs backwards", () => {
    const all = (
      round: number,
      times: readonly number[],
    ): readonly { id: string; parents: readonly string[]; timestampMs: number }[] =>
      ["A", "B", "C"].map((letter, i) => ({
        id: `${letter}${round}`,
        parents: round === 1 ? genesis : ["A", "B", "C"].map((each) => `${each}${round - 1}`),
        timestampMs: times[i] ?? 0,
      }));
    const blocks = [
      ...all(1, [100, 200, 300]),
      ...all(2, [400, 500, 600]),
      { id: "D3", parents: ["A2", "B2", "C1"], timestampMs: 9000 },
      ...all(3, [50, 50, 50]),
      ...all(4, [50, 50, 50]),
    ];
    const times = commits(blocks, ["A1", "D3", "A4"]).map(({ timestampMs }) => timestampMs);
    // Genesis says 0; A2 and B2 say 400 and 500; the clocks of round 3 were set back.
    expect(times).toEqual([0, 400, 400]);
  });
});

test("on random DAGs every block is ordered at most once, in its commit's order, and commits are chained", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      const rng = seededRng(seed, "linearizer");
      const blocks = randomDag({
        committee,
        roundCount: 25,
        equivocatorCount: 1,
        absence: 0.2,
        density: 0.6,
        rng,
      });
      const made = deliver(blocks, { committee, leadersPerRound: 2, gcDepth: 5 });
      const seen = new Set<string>();
      made.forEach((commit, i) => {
        const before = made[i - 1];
        expect(commit.index).toBe(i + 1);
        expect(commit.previousDigest).toEqual(before?.digest ?? committee.genesisDigest);
        expect(commit.timestampMs).toBeGreaterThanOrEqual(before?.timestampMs ?? 0);
        expect([...commit.blocks].sort(compareRefs)).toEqual(commit.blocks);
        expect(commit.blocks.at(-1)).toEqual(commit.leader);
        for (const ref of commit.blocks) {
          expect(seen.has(refKey(ref))).toBe(false);
          seen.add(refKey(ref));
          expect(ref.round).toBeGreaterThan(Math.max(0, (before?.leader.round ?? 0) - 5));
        }
      });
    }),
    { numRuns: 20 },
  );
});
