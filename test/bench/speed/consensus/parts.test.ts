import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LatencyHistogram } from "../../../../bench/speed/consensus/latency.ts";
import { TransactionLoad } from "../../../../bench/speed/consensus/load.ts";
import { agreedCommits } from "../../../../bench/speed/consensus/run.ts";
import type { ValidatorReport } from "../../../../bench/speed/consensus/settings.ts";
import { Reader } from "../../../../protocol/base/wire.ts";
import type { TransactionBatch } from "../../../../protocol/consensus/events.ts";

describe("the latency histogram", () => {
  test("agrees with a sorted list, to the millisecond, however it is merged", () => {
    const sample = fc.record({
      ms: fc.double({ min: 0, max: 5000, noNaN: true }),
      count: fc.integer({ min: 1, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 40 }), fc.nat(40), (samples, cut) => {
        const [first, second, all] = [
          new LatencyHistogram(),
          new LatencyHistogram(),
          new LatencyHistogram(),
        ];
        samples.forEach(({ ms, count }, i) => {
          (i < cut ? first : second).add(ms, count);
        });
        all.merge(first.toCounts());
        all.merge(second.toCounts());
        const sorted = samples
          .flatMap(({ ms, count }) => Array.from({ length: count }, () => ms))
          .sort((a, b) => a - b);
        const at = (share: number): number =>
          Math.ceil(sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)] ?? 0);
        const { p50, p90, p99, mean } = all.summary();
        expect([p50, p90, p99]).toEqual([at(0.5), at(0.9), at(0.99)]);
        expect(mean).toBeCloseTo(sorted.reduce((sum, ms) => sum + ms, 0) / sorted.length, 6);
      }),
    );
  });

  test("of nothing has no figures", () => {
    expect(new LatencyHistogram().summary().p50).toBeNaN();
  });
});

const OPTIONS = {
  transactionBytes: 10,
  batchBytesMax: 512 * 1024,
  source: 0,
  hasRoom: () => true,
  turnAway: (count: number) => {
    throw new Error(`${count} transactions are turned away`);
  },
};

describe("the clients", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test("send at their rate in whole frames, no two transactions alike", () => {
    const batches: TransactionBatch[] = [];
    const load = new TransactionLoad({
      ...OPTIONS,
      rate: 3333,
      transactionBytes: 200,
      source: 2,
      submit: (batch) => batches.push(batch),
    });
    load.start();
    vi.advanceTimersByTime(2000);
    load.stop();
    vi.advanceTimersByTime(1000);
    expect(batches.reduce((sum, { count }) => sum + count, 0)).toBe(6666);
    const seen = new Set<string>();
    for (const { frames, count } of batches) {
      const reader = new Reader(frames);
      for (let i = 0; i < count; i++) {
        const transaction = reader.bytes(1000);
        expect(transaction.length).toBe(200);
        seen.add(Buffer.from(transaction).toString("hex"));
      }
      reader.finish();
    }
    expect(seen.size).toBe(6666);
  });

  test("that were kept waiting count from when they were due", () => {
    const dueAt: number[] = [];
    const load = new TransactionLoad({
      ...OPTIONS,
      rate: 1000,
      submit: (_, at) => dueAt.push(at),
    });
    let now = 1000;
    vi.spyOn(performance, "now").mockImplementation(() => now);
    load.start();
    now += 50; // and no tick in all this time
    vi.advanceTimersByTime(5);
    load.stop();
    expect(dueAt.map((at) => at - 1000)).toEqual([0, 5, 10, 15, 20, 25, 30, 35, 40, 45]);
  });

  test("put no more into a buffer than a block holds, and one transaction at least", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 3002, max: 9000 }),
        (transactionBytes, batchBytesMax) => {
          const batches: TransactionBatch[] = [];
          const load = new TransactionLoad({
            ...OPTIONS,
            rate: 200_000, // 1,000 a tick
            transactionBytes,
            batchBytesMax,
            submit: (batch) => batches.push(batch),
          });
          load.start();
          vi.advanceTimersByTime(5);
          load.stop();
          expect(batches.reduce((sum, { count }) => sum + count, 0)).toBe(1000);
          for (const { frames } of batches)
            expect(frames.length).toBeLessThanOrEqual(batchBytesMax);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("are turned away where there is no room, and come again at the next tick", () => {
    let [sent, away, room] = [0, 0, 300];
    const load = new TransactionLoad({
      ...OPTIONS,
      rate: 10_000, // 50 a tick
      hasRoom: (sizeBytes) => sizeBytes <= room,
      submit: ({ count, frames }) => {
        room -= frames.length;
        sent += count;
      },
      turnAway: (count) => {
        away += count;
      },
    });
    load.start();
    vi.advanceTimersByTime(5);
    expect([sent, away]).toEqual([0, 50]); // 50 × 11 bytes
    room = 1100;
    vi.advanceTimersByTime(15);
    load.stop();
    expect([sent, away]).toEqual([100, 100]);
  });
});

describe("the comparison of commits", () => {
  const report = (
    index: number,
    ...marks: readonly (readonly [index: number, digest: string, transactions?: number])[]
  ): Pick<ValidatorReport, "index" | "lastCommits"> => ({
    index,
    lastCommits: marks.map(([at, digest, transactions = 0]) => ({
      index: at,
      digest,
      transactions,
    })),
  });

  test("counts those that all have", () => {
    const first = report(0, [1, "a"], [2, "b"], [3, "c"]);
    const second = report(1, [2, "b"], [3, "c"], [4, "d"]);
    expect(agreedCommits([first, second])).toBe(2);
  });

  test("fails where two differ, in digest or in number of transactions, and where none is shared", () => {
    const compare = (...reports: readonly ReturnType<typeof report>[]) => {
      return () => agreedCommits(reports);
    };
    expect(compare(report(0, [1, "a"]), report(1, [1, "b"]))).toThrow(/1 has another commit 1/);
    expect(compare(report(0, [1, "a", 7]), report(1, [1, "a", 8]))).toThrow(/8 transactions.* 7/);
    expect(compare(report(0, [1, "a"]), report(1, [2, "b"]))).toThrow(/no commit in common/);
  });
});
