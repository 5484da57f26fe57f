import fc from "fast-check";
import { expect, test } from "vitest";
import { drawnCommittee } from "../../../node/conformance/drawn-dag.ts";
import { ThresholdClock } from "../../../protocol/consensus/threshold-clock.ts";

test("a quorum of a round starts the next; an author counts once, old rounds not at all", () => {
  const clock = new ThresholdClock(drawnCommittee(4), 1);
  expect(clock.add(1, 0)).toBe(false);
  expect(clock.add(1, 0)).toBe(false); // a twin
  expect(clock.add(1, 1)).toBe(false);
  expect(clock.round).toBe(1);
  expect(clock.add(1, 2)).toBe(true);
  expect(clock.round).toBe(2);
  expect(clock.add(1, 3)).toBe(false);
  expect(clock.round).toBe(2);
});

test("a block of a later round takes the clock there, and the count starts anew with it", () => {
  const clock = new ThresholdClock(drawnCommittee(4), 1);
  clock.add(1, 0);
  clock.add(1, 1);
  expect(clock.add(5, 3)).toBe(true);
  expect(clock.round).toBe(5);
  clock.add(5, 0);
  expect(clock.round).toBe(5);
  clock.add(5, 1);
  expect(clock.round).toBe(6);
});

test("who alone is a quorum moves the clock past its block, and leaves nothing behind for the next round", () => {
  const clock = new ThresholdClock(drawnCommittee(4, [7, 1, 1, 1]), 1);
  clock.add(1, 1);
  clock.add(4, 0);
  expect(clock.round).toBe(5);
  clock.add(5, 1);
  clock.add(5, 2);
  clock.add(5, 3);
  expect(clock.round).toBe(5);
});

test("it is one above the highest round with a quorum, or the highest round there is", () => {
  const block = fc.record({ round: fc.integer({ min: 1, max: 6 }), author: fc.nat(6) });
  fc.assert(
    fc.property(fc.array(block, { maxLength: 60 }), (blocks) => {
      const committee = drawnCommittee(7);
      const clock = new ThresholdClock(committee, 1);
      // Blocks come after a quorum of the round before, as the block manager sees to.
      const ascending = [...blocks].sort((a, b) => a.round - b.round);
      for (const { round, author } of ascending) clock.add(round, author);
      const authorsOf = (round: number): number =>
        new Set(ascending.filter((each) => each.round === round).map(({ author }) => author)).size;
      const highest = Math.max(1, ...ascending.map(({ round }) => round));
      expect(clock.round).toBe(authorsOf(highest) >= committee.quorum ? highest + 1 : highest);
    }),
  );
});
