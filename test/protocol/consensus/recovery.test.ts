import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { Block, refKey } from "../../../protocol/consensus/block.ts";
import { decodeCommit } from "../../../protocol/consensus/commit.ts";
import type { RecoveredRecord } from "../../../protocol/consensus/events.ts";
import { ConsensusLoop, type LoopNode } from "../../support/consensus-loop.ts";
import {
  accepted,
  coreOfA,
  firstBlock,
  loneCore,
  proposedRounds,
} from "../../support/lone-core.ts";

/** No validator but the equivocators ever signed two blocks of a round, as far as anybody has seen. */
function expectNoEquivocation(loop: ConsensusLoop): void {
  const digests = new Map<string, string>();
  for (const { blocks, effects } of loop.nodes) {
    expect(
      effects.filter((each) => each.kind === "equivocation" || each.kind === "halted"),
    ).toEqual([]);
    for (const bytes of blocks.values()) {
      const block = new Block(bytes, 1000);
      const slot = `${block.author}/${block.round}`;
      const key = refKey(block);
      expect(digests.get(slot) ?? key).toBe(key);
      digests.set(slot, key);
    }
  }
}

describe("a validator that is killed", () => {
  test("before any effect, and starts again from its log, signs nothing twice and commits the same", () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.integer({ min: 1, max: 150 }), (seed, at) => {
        let count = 0;
        const loop = new ConsensusLoop({
          size: 4,
          seed,
          dies: (node) => node === 0 && ++count === at,
        });
        loop.run(1500);
        expect(loop.node(0).isUp).toBe(false);
        loop.restart(0);
        loop.run(4000);
        expectNoEquivocation(loop);
        expect(loop.node(0).core.progress.lastOwnRound).toBeGreaterThan(30);
        expect(loop.agreed()).toBeGreaterThan(50);
      }),
      { numRuns: 25 },
    );
  });

  test("again and again, every time after a few effects, still gets on", () => {
    let count = 0;
    const loop = new ConsensusLoop({
      size: 4,
      seed: 8,
      dies: (node) => node === 2 && ++count % 97 === 0,
    });
    for (let now = 100; now <= 6000; now += 100) {
      loop.run(now);
      if (!loop.node(2).isUp) loop.restart(2);
    }
    loop.run(8000);
    expectNoEquivocation(loop);
    expect(loop.agreed()).toBeGreaterThan(150);
  });

  test("sends its last block again at once: nobody may have got it", () => {
    const { own } = loneCore();
    const records: RecoveredRecord[] = [{ kind: "block", bytes: own.bytes }];
    const core = coreOfA({}, { records, highestSignedRound: 1 });
    const effects = core.step({ kind: "started", now: 500 });
    expect(effects).toContainEqual(expect.objectContaining({ kind: "broadcast" }));
    expect(proposedRounds(effects)).toEqual([1]);
    expect(effects).not.toContainEqual({ kind: "askOwnBlock" });
  });
});

describe("a log", () => {
  /** A run of four, of which node 3 starts anew with what `keep` leaves of its log. */
  function restarted(keep: (old: LoopNode) => LoopNode | undefined): ConsensusLoop {
    const loop = new ConsensusLoop({ size: 4, seed: 12, parameters: { gcDepthRounds: 8 } });
    loop.run(3000);
    loop.crash(3);
    loop.run(3200);
    loop.restart(3, keep);
    loop.run(6000);
    expectNoEquivocation(loop);
    return loop;
  }

  test("that lost its tail of commits is no harm: they are decided again, and are the same", () => {
    const loop = restarted((old) => {
      const last = old.records.findLastIndex(({ kind }) => kind === "commit");
      const records = old.records.filter(({ kind }, i) => kind === "block" || i < last - 10);
      return { ...old, records, delivered: [] };
    });
    expect(loop.agreed()).toBeGreaterThan(150);
  });

  test("without a single commit is enough", () => {
    const loop = restarted((old) => ({
      ...old,
      records: old.records.filter(({ kind }) => kind === "block"),
    }));
    expect(loop.agreed()).toBeGreaterThan(150);
  });

  test("from its middle on is enough, if it reaches down to the gc round", () => {
    const loop = restarted((old) => {
      const lastCommit = present(old.commits.at(-1), "a commit");
      const gcRound = lastCommit.leader.round - 8;
      const records = old.records.filter((record) =>
        record.kind === "block"
          ? new Block(record.bytes, 1000).round > gcRound
          : decodeCommit(record.bytes).leader.round > gcRound,
      );
      expect(records.length).toBeLessThan(old.records.length / 2);
      return { ...old, records };
    });
    expect(loop.agreed()).toBeGreaterThan(150);
  });

  test("whose last write was cut off within a commit's blocks is no harm", () => {
    for (const lost of [1, 2, 3, 5, 8, 13]) {
      const loop = restarted((old) => {
        // Only what was not durable may be lost: nothing up to our own last block.
        const own = old.records.findLastIndex(
          (record) => record.kind === "block" && new Block(record.bytes, 1000).author === 3,
        );
        const end = Math.max(own + 1, old.records.length - lost);
        return { ...old, records: old.records.slice(0, end) };
      });
      expect(loop.agreed()).toBeGreaterThan(150);
    }
  });
});

describe("amnesia", () => {
  test("a validator with an empty disk learns its last block before it proposes, and signs nothing twice", () => {
    const loop = new ConsensusLoop({ size: 4, seed: 20 });
    loop.run(3000);
    const before = loop.node(1).core.progress.lastOwnRound;
    loop.crash(1);
    loop.run(3100);
    loop.restart(1, () => undefined);
    loop.run(9000);
    expectNoEquivocation(loop);
    const own = loop
      .node(1)
      .effects.flatMap((each) => (each.kind === "broadcast" ? [each.block.round] : []));
    expect(Math.min(...own)).toBeGreaterThan(before);
    expect(loop.node(1).core.progress.lastOwnRound).toBeGreaterThan(before + 50);
    expect(loop.agreed()).toBeGreaterThan(200);
  });

  test("it waits for so many answers that one is honest, asks again, and takes no forged one", () => {
    const core = coreOfA();
    expect(core.step({ kind: "started", now: 0 })).toContainEqual({ kind: "askOwnBlock" });
    const answer = (from: number, block: Uint8Array | undefined, now: number): readonly number[] =>
      proposedRounds(core.step({ kind: "ownBlockReported", from, block, now }));
    expect(answer(1, undefined, 10)).toEqual([]);
    expect(answer(1, undefined, 11)).toEqual([]); // the same peer again
    const forged = core.step({
      kind: "ownBlockReported",
      from: 2,
      block: firstBlock(0, { signedBy: 2 }),
      now: 12,
    });
    expect(forged).toContainEqual(expect.objectContaining({ kind: "misbehaved", peer: 2 }));
    const foreign = core.step({ kind: "ownBlockReported", from: 2, block: firstBlock(2), now: 13 });
    expect(foreign).toContainEqual(
      expect.objectContaining({ kind: "misbehaved", code: "NOT_ASKED_FOR" }),
    );
    expect(core.step({ kind: "timerFired", timer: "ownBlock", now: 5000 })).toContainEqual({
      kind: "askOwnBlock",
    });
    expect(answer(3, undefined, 5010)).toEqual([1]);
  });

  test("a block of ours that a peer knows is the end of its round for us", () => {
    const core = coreOfA();
    core.step({ kind: "started", now: 0 });
    const block = firstBlock(0, { timestampMs: 3 });
    core.step({ kind: "ownBlockReported", from: 1, block, now: 1 });
    const effects = core.step({ kind: "ownBlockReported", from: 2, block: undefined, now: 2 });
    expect(proposedRounds(effects)).toEqual([]);
    expect(core.progress.lastOwnRound).toBe(1);
  });

  test("the round in the file of signed rounds stands, though log and peers know nothing", () => {
    const core = coreOfA({}, { records: [], highestSignedRound: 1 });
    core.step({ kind: "started", now: 0 });
    for (const from of [1, 2, 3]) {
      core.step({ kind: "ownBlockReported", from, block: undefined, now: 1 });
    }
    const round1 = [1, 2, 3].map((author) => accepted(firstBlock(author)));
    const effects = core.step({
      kind: "blocksReceived",
      from: 1,
      blocks: round1.map(({ bytes }) => bytes),
      now: 2,
    });
    expect(proposedRounds(effects)).toEqual([2]);
  });
});
