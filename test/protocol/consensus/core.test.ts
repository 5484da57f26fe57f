import { describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { refKey } from "../../../protocol/consensus/block.ts";
import { transactionsOf } from "../../../protocol/consensus/duplicates.ts";
import { ConsensusLoop } from "../../support/consensus-loop.ts";
import {
  accepted,
  firstBlock,
  kindsOf,
  loneCore,
  proposedRounds,
  signedBlock,
} from "../../support/lone-core.ts";

describe("validators that are all honest", () => {
  test.each([1, 2, 3, 4, 7])("%i of them agree, and every round commits", (size) => {
    const leadersPerRound = Math.min(2, size);
    const loop = new ConsensusLoop({ size, seed: size, parameters: { leadersPerRound } });
    loop.run(5000);
    const rounds = loop.node(0).core.progress.clockRound;
    expect(rounds).toBeGreaterThan(60);
    expect(loop.agreed()).toBeGreaterThan((rounds - 8) * leadersPerRound);
  });

  test("do the same from the same seed, effect by effect", () => {
    const run = (seed: number): string => {
      const loop = new ConsensusLoop({ size: 4, seed });
      loop.run(1500);
      return JSON.stringify(loop.nodes.map(({ effects }) => effects));
    };
    expect(run(5)).toBe(run(5));
    expect(run(5)).not.toBe(run(6));
  });
});

describe("the order of effects", () => {
  test("an own block is on disk, with all before it, before anyone gets it; a commit is logged before it is handed out", () => {
    const loop = new ConsensusLoop({ size: 4, seed: 3 });
    loop.run(3000);
    for (const { effects } of loop.nodes) {
      const logged = new Set<string>();
      const durable = new Set<string>();
      let commits = 0;
      for (const effect of effects) {
        if (effect.kind === "persist") {
          for (const record of effect.records) {
            logged.add(
              record.kind === "block" ? refKey(record.block) : `commit ${record.commit.index}`,
            );
          }
          if (effect.durable) for (const each of logged) durable.add(each);
          if (effect.durable) expect(effect.highestSignedRound).toBeGreaterThan(0);
        } else if (effect.kind === "broadcast") {
          expect(durable).toContain(refKey(effect.block));
          for (const ref of effect.block.ancestors.refs()) {
            if (ref.round > 0) expect(durable).toContain(refKey(ref));
          }
        } else if (effect.kind === "commit") {
          expect(logged).toContain(`commit ${effect.commit.index}`);
          expect(effect.commit.index).toBe(++commits);
          expect(effect.blocks.map(refKey)).toEqual(effect.commit.blocks.map(refKey));
        }
      }
      expect(commits).toBeGreaterThan(50);
    }
  });

  test("foreign blocks alone are logged without waiting for the disk", () => {
    const { feed } = loneCore();
    const effects = feed({ kind: "blocksReceived", from: 1, blocks: [firstBlock(1)], now: 5 });
    expect(effects).toMatchObject([{ kind: "persist", durable: false }]);
  });
});

describe("pace", () => {
  test("a round that our own block began has a leader timeout too", () => {
    const { core, feed, own } = loneCore({ roundDelayMinMs: 50 });
    // Round 1: all but C. B led it and is there, so A would go on, but for the distance between its blocks.
    const [b1, d1] = [accepted(firstBlock(1)), accepted(firstBlock(3))];
    feed({ kind: "blocksReceived", from: 1, blocks: [b1.bytes], now: 1 });
    feed({ kind: "blocksReceived", from: 3, blocks: [d1.bytes], now: 1 });
    expect(core.progress.clockRound).toBe(2);
    // B2 and D2 come; C, who leads round 2, is silent. Two of four: A's own block completes the round.
    const second = [signedBlock(1, 2, [b1, own, d1]), signedBlock(3, 2, [d1, own, b1])];
    feed({ kind: "blocksReceived", from: 1, blocks: second, now: 10 });
    expect(core.progress.clockRound).toBe(2);
    const effects = feed({ kind: "timerFired", timer: "roundDelay", now: 50 });
    expect(proposedRounds(effects)).toEqual([2]);
    expect(core.progress.clockRound).toBe(3);
    // The timer of round 2 is still set, for 201 ms: when it fires, the one of round 3 is.
    const early = feed({ kind: "timerFired", timer: "leaderTimeout", now: 201 });
    expect(early).toEqual([{ kind: "setTimer", timer: "leaderTimeout", at: 250 }]);
    const late = feed({ kind: "timerFired", timer: "leaderTimeout", now: 250 });
    expect(proposedRounds(late)).toEqual([3]);
  });

  test("a clock that is set back an hour, or jumps ahead, holds nobody up", () => {
    const hour = 3_600_000;
    const skews = [-hour, 5000, 120, 0];
    const skewMs = (node: number, now: number): number => (now < 1000 ? 0 : (skews[node] ?? 0));
    const loop = new ConsensusLoop({ size: 4, seed: 9, skewMs });
    loop.run(4000);
    for (const { core } of loop.nodes) expect(core.progress.lastOwnRound).toBeGreaterThan(50);
    expect(loop.agreed()).toBeGreaterThan(80);
    const times = loop.node(0).delivered.map(({ timestampMs }) => timestampMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.max(...times)).toBeLessThan(4000 + 5000);
  });

  test("a clock ahead of ours is told once, and no block is refused for it", () => {
    const { feed } = loneCore();
    const ahead = (timestampMs: number): readonly unknown[] =>
      feed({
        kind: "blocksReceived",
        from: 1,
        blocks: [firstBlock(1, { timestampMs })],
        now: 100,
      });
    const effects = ahead(700);
    expect(effects).toContainEqual({ kind: "clockAhead", author: 1, aheadMs: 600 });
    expect(effects).toContainEqual(expect.objectContaining({ kind: "persist" }));
    expect(ahead(9000)).not.toContainEqual(expect.objectContaining({ kind: "clockAhead" }));
  });

  test("an idle validator sends its last block again, a busy one does not", () => {
    const { feed } = loneCore();
    const fire = (now: number): readonly number[] =>
      proposedRounds(feed({ kind: "timerFired", timer: "rebroadcast", now }));
    expect([fire(999), fire(1000)]).toEqual([[], [1]]);
  });
});

describe("what peers send", () => {
  test("is charged to them when it breaks a rule, and the rest of the message is taken", () => {
    const { feed } = loneCore();
    const forged = firstBlock(2, { signedBy: 3 });
    const effects = feed({
      kind: "blocksReceived",
      from: 3,
      blocks: [Uint8Array.of(1, 2, 3), forged, firstBlock(1), new Uint8Array(0)],
      now: 1,
    });
    const charged = effects.flatMap((each) =>
      each.kind === "misbehaved" ? [[each.peer, each.code]] : [],
    );
    expect(charged).toEqual([
      [3, "TRUNCATED"],
      [3, "BAD_SIGNATURE"],
      [3, "TRUNCATED"],
    ]);
    expect(effects.find((each) => each.kind === "persist")?.records.length).toBe(1);
  });

  test("twice costs nothing and changes nothing", () => {
    const { feed } = loneCore();
    feed({ kind: "blocksReceived", from: 1, blocks: [firstBlock(1)], now: 1 });
    expect(feed({ kind: "blocksReceived", from: 2, blocks: [firstBlock(1)], now: 2 })).toEqual([]);
  });

  test("as an answer is taken only if it was asked for", () => {
    const { core, feed } = loneCore({ fetchDelayMs: 10 });
    const [b1, c1, d1] = [
      accepted(firstBlock(1)),
      accepted(firstBlock(2)),
      accepted(firstBlock(3)),
    ];
    const b2 = signedBlock(1, 2, [b1, c1, d1]);
    feed({ kind: "blocksReceived", from: 1, blocks: [b1.bytes, b2], now: 1 });
    expect(core.progress.wantedCount).toBe(2);
    const asked = feed({ kind: "timerFired", timer: "synchronize", now: 11 });
    const fetch = present(
      asked.find((each) => each.kind === "fetchBlocks"),
      "a request",
    );
    expect([fetch.peer, fetch.refs.length]).toEqual([1, 2]);
    const { request } = fetch;
    const blocks = [firstBlock(3, { timestampMs: 7 }), c1.bytes];
    const wrong = feed({ kind: "blocksFetched", request, blocks, now: 12 });
    expect(wrong[0]).toMatchObject({ kind: "misbehaved", peer: 1, code: "NOT_ASKED_FOR" });
    expect(core.progress.wantedCount).toBe(1);
    // The request is closed: another answer to it is no answer.
    expect(feed({ kind: "blocksFetched", request, blocks: [d1.bytes], now: 13 })).toEqual([]);
    expect(core.progress.wantedCount).toBe(1);
  });
});

describe("equivocation", () => {
  test("is told once for a slot, when both blocks are in the log", () => {
    const { feed } = loneCore();
    const twins = [0, 1, 2].map((timestampMs) => firstBlock(3, { timestampMs }));
    feed({ kind: "blocksReceived", from: 3, blocks: twins.slice(0, 1), now: 1 });
    const effects = feed({ kind: "blocksReceived", from: 2, blocks: twins.slice(1), now: 2 });
    const told = effects.flatMap((each) => (each.kind === "equivocation" ? [each.evidence] : []));
    expect(told).toMatchObject([{ author: 3, round: 1 }]);
    expect(told[0]?.first).not.toEqual(told[0]?.second);
    const logged = effects.flatMap((each) => (each.kind === "persist" ? each.records : []));
    expect(logged.length).toBe(1); // the third twin is idle
  });

  test("with our own key stops us for good: two of us are running", () => {
    const { core, feed } = loneCore();
    const twin = firstBlock(0, { timestampMs: 9 });
    const effects = feed({ kind: "blocksReceived", from: 2, blocks: [twin], now: 1 });
    expect(kindsOf(effects)).toEqual(["halted"]);
    expect(core.progress.isHalted).toBe(true);
    expect(feed({ kind: "blocksReceived", from: 1, blocks: [firstBlock(1)], now: 2 })).toEqual([]);
  });
});

describe("transactions", () => {
  const texts = (payloads: readonly Uint8Array[]): readonly string[] =>
    payloads.flatMap(transactionsOf).map((each) => Buffer.from(each).toString());

  test("come out in the order of commits, once, with their bytes untouched", () => {
    const loop = new ConsensusLoop({ size: 4, seed: 1 });
    const sent = Array.from({ length: 40 }, (_, i) => `transaction ${i}`);
    sent.forEach((text, i) => {
      loop.submit(i % 4, i, [Buffer.from(text)]);
      loop.run(50 * (i + 1));
    });
    loop.run(4000);
    const [first] = loop.nodes;
    expect([...texts(first?.payloads ?? [])].sort()).toEqual([...sent].sort());
    for (const { payloads } of loop.nodes)
      expect(texts(payloads)).toEqual(texts(first?.payloads ?? []));
    const proposals = loop
      .node(2)
      .effects.flatMap((each) => (each.kind === "transactionsProposed" ? each.batches : []));
    expect(proposals).toEqual([2, 6, 10, 14, 18, 22, 26, 30, 34, 38]);
  });

  test("of a block that nobody got before it was collected are proposed again, and ordered once", () => {
    const isCut = (from: number, _to: number, now: number): boolean =>
      from === 3 && now > 500 && now < 4000;
    const loop = new ConsensusLoop({ size: 4, seed: 4, isCut, parameters: { gcDepthRounds: 5 } });
    loop.run(1000);
    loop.submit(3, 1, [Buffer.from("lost and found")]);
    loop.run(9000);
    loop.agreed();
    for (const { payloads } of loop.nodes) expect(texts(payloads)).toEqual(["lost and found"]);
  });

  test("that the queue cannot hold are refused by their id", () => {
    const { feed } = loneCore();
    const wrong = { id: 77, count: 2, frames: Uint8Array.of(1, 1) };
    const effects = feed({ kind: "transactionsSubmitted", batch: wrong, now: 1 });
    expect(effects).toEqual([{ kind: "transactionsRefused", batch: 77 }]);
  });
});

describe("the end of an epoch", () => {
  const parameters = { epochLengthRounds: 20 };

  test("is the same commit for everybody, and the last; blocks still flow, and then stop", () => {
    const loop = new ConsensusLoop({ size: 4, seed: 2, parameters });
    loop.run(20_000);
    const last = present(loop.node(0).delivered.at(-1), "a last commit");
    expect(last.leader.round).toBeGreaterThanOrEqual(20);
    expect(loop.node(0).delivered.at(-2)?.leader.round).toBeLessThan(20);
    for (const { core, delivered, effects } of loop.nodes) {
      expect(delivered.at(-1)?.digest).toEqual(last.digest);
      expect(effects.filter((each) => each.kind === "epochEnded").length).toBe(1);
      expect(core.progress.lastOwnRound).toBeGreaterThan(60);
      expect(core.progress.lastOwnRound).toBeLessThanOrEqual(last.leader.round + 60);
      expect(core.progress.hasEpochEnded).toBe(true);
    }
  });

  test("is known to who restarts after it: nothing more is committed, and his blocks still flow", () => {
    const loop = new ConsensusLoop({ size: 4, seed: 2, parameters });
    loop.run(20_000, () => loop.node(1).core.progress.hasEpochEnded);
    const { length } = loop.node(1).delivered;
    const lastOwnRound = loop.node(1).core.progress.lastOwnRound;
    loop.crash(1);
    loop.restart(1);
    expect(loop.node(1).core.progress.hasEpochEnded).toBe(true);
    loop.run(30_000);
    expect(loop.node(1).delivered.length).toBe(length);
    expect(loop.node(1).core.progress.lastOwnRound).toBeGreaterThan(lastOwnRound + 20);
    expect(loop.agreed()).toBe(length);
  });

  test("takes no transaction into blocks that are ordered no more", () => {
    const loop = new ConsensusLoop({ size: 4, seed: 2, parameters });
    loop.run(5000);
    loop.submit(0, 1, [Buffer.from("for the next epoch")]);
    loop.run(6000);
    expect(loop.node(0).core.progress.pendingTransactionBytes).toBeGreaterThan(0);
  });

  test("is reached by who was cut off when it came", () => {
    const isCut = (from: number, to: number, now: number): boolean =>
      (from === 1 || to === 1) && now > 300 && now < 3000;
    const loop = new ConsensusLoop({ size: 4, seed: 2, parameters, isCut });
    loop.run(10_000);
    expect(loop.node(1).core.progress.hasEpochEnded).toBe(true);
    expect(loop.agreed()).toBe(loop.node(0).delivered.length);
  });
});
