import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawnCommittee } from "../../../node/conformance/drawn-dag.ts";
import { Committee, StakeAggregator } from "../../../protocol/consensus/committee.ts";

const stakes = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 12 });

describe("thresholds", () => {
  test.each([
    [1, 1, 1],
    [2, 2, 1],
    [3, 3, 1],
    [4, 3, 2],
    [5, 4, 2],
    [6, 5, 2], // 2f + 1 = 3 and ceil(2n/3) = 4 are both unsafe here
    [7, 5, 3],
    [9, 7, 3],
    [10, 7, 4],
    [100, 67, 34],
  ])("of %i equal validators %i are a quorum and %i hold an honest one", (n, quorum, validity) => {
    const committee = drawnCommittee(n);
    expect([committee.quorum, committee.validity]).toEqual([quorum, validity]);
  });

  test("two quorums share more stake than can be faulty, and the honest alone are a quorum", () => {
    fc.assert(
      fc.property(stakes, (given) => {
        const committee = drawnCommittee(given.length, given);
        const faulty = committee.validity - 1;
        expect(2 * committee.quorum - committee.totalStake).toBeGreaterThan(faulty);
        expect(committee.totalStake - faulty).toBeGreaterThanOrEqual(committee.quorum);
        expect(3 * faulty).toBeLessThan(committee.totalStake);
      }),
    );
  });

  test("stakes up to all that exists are summed exactly", () => {
    const committee = drawnCommittee(
      3,
      [333_333_333_333_333, 333_333_333_333_333, 333_333_333_333_334],
    );
    expect(committee.totalStake).toBe(1e15);
    expect(committee.quorum).toBe(1e15 - 333_333_333_333_333);
    expect(() => drawnCommittee(2, [1e15, 1])).toThrow("more stake than exists");
  });
});

describe("the committee", () => {
  const authority = (
    first: number,
    stake = 1,
  ): { address: Uint8Array; publicKey: Uint8Array; stake: number } => ({
    address: Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? first : 0)),
    publicKey: new Uint8Array(32).fill(first),
    stake,
  });
  const genesis = { epoch: 7, genesisDigest: new Uint8Array(32), genesisTimestampMs: 5 };

  test("numbers its validators by ascending address, in whatever order they come", () => {
    const committee = new Committee({
      ...genesis,
      authorities: [authority(9), authority(200), authority(3)],
    });
    expect([0, 1, 2].map((i) => committee.authority(i).address[0])).toEqual([3, 9, 200]);
  });

  test("refuses two of one address, and stakes that are none", () => {
    expect(() => new Committee({ ...genesis, authorities: [authority(1), authority(1)] })).toThrow(
      "one address",
    );
    for (const stake of [0, -1, 1.5, NaN]) {
      expect(() => new Committee({ ...genesis, authorities: [authority(1, stake)] })).toThrow(
        "no stake",
      );
    }
    expect(() => new Committee({ ...genesis, authorities: [] })).toThrow("1 … 65,535");
  });

  test("has other genesis blocks in another epoch, on another history, at another time", () => {
    const authorities = [authority(1), authority(2)];
    const made = [
      genesis,
      { ...genesis, epoch: 8 },
      { ...genesis, genesisTimestampMs: 6 },
      { ...genesis, genesisDigest: new Uint8Array(32).fill(1) },
    ].flatMap((each) => new Committee({ ...each, authorities }).genesis);
    expect(new Set(made.map(({ digest }) => Buffer.from(digest).toString("hex"))).size).toBe(8);
  });
});

describe("StakeAggregator", () => {
  test("counts every author once, whatever is added", () => {
    fc.assert(
      fc.property(stakes, fc.array(fc.nat(11)), (given, added) => {
        const committee = drawnCommittee(given.length, given);
        const aggregator = new StakeAggregator(committee);
        const authors = added.filter((author) => author < given.length);
        const seen = new Set<number>();
        for (const author of authors) {
          expect(aggregator.add(author)).toBe(!seen.has(author));
          seen.add(author);
        }
        const stake = [...new Set(authors)].reduce((sum, author) => sum + (given[author] ?? 0), 0);
        expect(aggregator.stake).toBe(stake);
        expect(aggregator.isQuorum).toBe(stake >= committee.quorum);
        expect(aggregator.isValidity).toBe(stake >= committee.validity);
        aggregator.clear();
        expect([aggregator.stake, aggregator.has(0)]).toEqual([0, false]);
      }),
    );
  });
});
