import fc from "fast-check";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { drawnCommittee } from "../../../node/conformance/drawn-dag.ts";
import { StakeWeightedSchedule } from "../../../protocol/consensus/leader-schedule.ts";

/** The page's words once more, slowly: parts 1 and 9. */
function leadersByThePage(
  epoch: number,
  round: number,
  stakes: readonly number[],
  k: number,
): readonly number[] {
  const u64 = (value: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const seed = createHash("sha256")
    .update("soma/leaders/v1\0")
    .update(u64(epoch))
    .update(u64(round))
    .digest();
  const words: number[] = [];
  for (let counter = 0; counter < 20; counter++) {
    const block = createHash("sha256").update(seed).update(u64(counter)).digest();
    for (let i = 0; i < 8; i++) words.push(block.readUInt32LE(4 * i));
  }
  const word = (): bigint => BigInt(words.shift() ?? 0);
  const uniform = (bound: bigint): bigint => {
    const isWide = bound > 2n ** 32n;
    const range = isWide ? 2n ** 64n : 2n ** 32n;
    for (;;) {
      const low = word();
      const drawn = isWide ? low + (word() << 32n) : low;
      if (drawn < range - (range % bound)) return drawn % bound;
    }
  };
  const remaining = stakes.map((stake, author) => ({ author, stake: BigInt(stake) }));
  return Array.from({ length: k }, () => {
    let drawn = uniform(remaining.reduce((sum, { stake }) => sum + stake, 0n));
    const place = remaining.findIndex(({ stake }) => {
      if (drawn < stake) return true;
      drawn -= stake;
      return false;
    });
    return remaining.splice(place, 1)[0]?.author ?? -1;
  });
}

describe("leaders of a round", () => {
  test("are those that the protocol's page draws, for small stakes and for stakes in nano", () => {
    const stake = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 5e13 }));
    fc.assert(
      fc.property(
        fc.array(stake, { minLength: 1, maxLength: 10 }),
        fc.nat(1000),
        fc.nat(1e6),
        (stakes, epoch, round) => {
          const k = Math.min(3, stakes.length);
          const schedule = new StakeWeightedSchedule(
            drawnCommittee(stakes.length, stakes, { epoch }),
            k,
          );
          expect(schedule.leaders(round)).toEqual(leadersByThePage(epoch, round, stakes, k));
        },
      ),
    );
  });

  test("are distinct, and the same however often one asks", () => {
    const schedule = new StakeWeightedSchedule(drawnCommittee(7), 7);
    for (const round of [1, 5000, 9999, 1]) {
      expect([...schedule.leaders(round)].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
      expect(schedule.leaders(round)).toEqual(
        new StakeWeightedSchedule(drawnCommittee(7), 7).leaders(round),
      );
    }
  });

  test("follow the stake: three times as much leads three times as often", () => {
    const schedule = new StakeWeightedSchedule(drawnCommittee(4, [3, 1, 1, 1]), 1);
    const counts = [0, 0, 0, 0];
    for (let round = 1; round <= 6000; round++) {
      const leader = schedule.leaders(round)[0] ?? 0;
      counts[leader] = (counts[leader] ?? 0) + 1;
    }
    // Standard deviation below 40 each: five of them.
    expect(Math.abs((counts[0] ?? 0) - 3000)).toBeLessThan(200);
    for (const count of counts.slice(1)) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });

  test("cannot be more than there are validators", () => {
    expect(() => new StakeWeightedSchedule(drawnCommittee(2), 3)).toThrow("3 leaders among 2");
  });
});
