import { describe, expect, test } from "vitest";
import { ConsensusLoop } from "../../support/consensus-loop.ts";

describe("partitions", () => {
  test("of halves commit nothing while they last, and soon after they are healed", () => {
    const isSplit = (from: number, to: number, now: number): boolean =>
      now > 2000 && now < 12_000 && from % 2 !== to % 2;
    const loop = new ConsensusLoop({ size: 4, seed: 3, isCut: isSplit });
    loop.run(2200);
    const before = loop.nodes.map(({ delivered }) => delivered.length);
    loop.run(12_000);
    expect(loop.nodes.map(({ delivered }) => delivered.length)).toEqual(before);
    loop.run(17_000);
    expect(loop.agreed()).toBeGreaterThan(Math.max(...before) + 50);
  });

  test("of a third leave the others committing, and the third commits nothing until it is back", () => {
    const isSplit = (from: number, to: number, now: number): boolean =>
      now > 1000 && now < 6000 && (from === 3) !== (to === 3);
    const loop = new ConsensusLoop({ size: 4, seed: 5, isCut: isSplit });
    loop.run(1200);
    const alone = loop.node(3).delivered.length;
    loop.run(6000);
    expect(loop.node(3).delivered.length).toBe(alone);
    expect(loop.node(0).delivered.length).toBeGreaterThan(alone + 40);
    loop.run(10_000);
    expect(loop.agreed()).toBeGreaterThan(loop.node(0).delivered.length - 10);
    expect(loop.node(3).core.progress.suspendedCount).toBe(0);
  });

  test("a third that crashed costs the others no agreement and little time", () => {
    const loop = new ConsensusLoop({ size: 7, seed: 6 });
    loop.crash(0);
    loop.crash(4);
    loop.run(10_000);
    const commits = loop.node(1).delivered.length;
    expect(commits).toBeGreaterThan(60);
    const alive = [1, 2, 3, 5, 6].map((i) => loop.node(i).delivered.length);
    expect(Math.min(...alive)).toBeGreaterThan(commits - 6);
  });
});

test.each([
  [20, 150],
  [7, 50],
])(
  "of every %i messages one is lost: what is referred to is fetched, what nobody got is sent again",
  (every, commits) => {
    let count = 0;
    const loop = new ConsensusLoop({ size: 4, seed: 7, isCut: () => ++count % every === 0 });
    loop.run(10_000);
    expect(loop.agreed()).toBeGreaterThan(commits);
  },
);

describe("far behind", () => {
  const parameters = { commitLagStart: 10, commitLagRefuse: 40, commitsPerFetchMax: 15 };

  function late(): ConsensusLoop {
    const loop = new ConsensusLoop({ size: 4, seed: 30, parameters });
    loop.crash(2);
    loop.run(12_000);
    return loop;
  }

  test("a validator fetches commits, takes them over in order, and then keeps pace and proposes", () => {
    const loop = late();
    const there = loop.node(0).delivered.length;
    expect(there).toBeGreaterThan(100);
    loop.restart(2);
    let caughtUpAt = Infinity;
    loop.run(20_000, () => {
      if (loop.node(2).delivered.length >= there) caughtUpAt = Math.min(caughtUpAt, loop.now);
      return false;
    });
    expect(caughtUpAt).toBeLessThan(14_000);
    expect(loop.agreed()).toBeGreaterThan(there + 50);
    const { effects, core } = loop.node(2);
    const fetches = effects.filter((each) => each.kind === "fetchCommits");
    expect(fetches.length).toBeGreaterThan(there / 15 - 2);
    expect(new Set(fetches.map(({ peer }) => peer)).size).toBe(3); // from several peers
    expect(core.progress.isCatchingUp).toBe(false);
    expect(core.progress.lastOwnRound).toBeGreaterThan(loop.node(0).core.progress.clockRound - 3);
  });

  test("it proposes nothing and asks for no ancestors of live blocks meanwhile, and keeps its memory small", () => {
    const loop = late();
    loop.restart(2);
    const node = loop.node(2);
    let suspendedMax = 0;
    loop.run(14_000, () => {
      const { isCatchingUp, suspendedCount } = node.core.progress;
      if (isCatchingUp) suspendedMax = Math.max(suspendedMax, suspendedCount);
      return false;
    });
    expect(suspendedMax).toBeLessThan(100);
    const kinds = node.effects.map(({ kind }) => kind);
    const firstProposal = node.effects.findIndex(
      (each) => each.kind === "broadcast" && each.block.round > 5,
    );
    expect(firstProposal).toBeGreaterThan(kinds.lastIndexOf("fetchCommits"));
  });

  test("it votes for what it took over as well, once for each commit", () => {
    const loop = late();
    loop.restart(2);
    loop.run(20_000);
    const votes = loop
      .node(2)
      .effects.flatMap((each) => (each.kind === "broadcast" ? [...each.block.commitVotes] : []))
      .map(({ index }) => index);
    const distinct = [...new Set(votes)];
    expect(distinct).toEqual(Array.from({ length: distinct.length }, (_, i) => i + 1));
  });

  test("two that are behind at once catch up from the others", () => {
    const loop = new ConsensusLoop({ size: 7, seed: 31, parameters });
    loop.crash(2);
    loop.run(4000);
    loop.crash(5);
    loop.run(12_000);
    loop.restart(2);
    loop.restart(5);
    loop.run(20_000);
    expect(loop.agreed()).toBeGreaterThan(loop.node(0).delivered.length - 10);
  });
});
