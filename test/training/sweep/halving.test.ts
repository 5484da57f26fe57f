import fc from "fast-check";
import { expect, test } from "vitest";
import { bestTrials, keptCount, rungsOf } from "../../../training/sweep/halving.ts";

test("nine trials halved by three are 9, 3 and 1, each with three times the budget", () => {
  expect(rungsOf({ trialCount: 9, min: 10, max: 90, factor: 3, unit: "steps" })).toEqual([
    { budget: 10, trialCount: 9 },
    { budget: 30, trialCount: 3 },
    { budget: 90, trialCount: 1 },
  ]);
});

test("rungs begin at the least budget, end at the greatest, grow, and never run out of trials", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 0, max: 5000 }),
      fc.integer({ min: 2, max: 16 }),
      (trialCount, min, more, factor) => {
        const rungs = rungsOf({ trialCount, min, max: min + more, factor, unit: "steps" });
        expect(rungs[0]).toMatchObject({ budget: min, trialCount });
        expect(rungs.at(-1)?.budget).toBe(min + more);
        for (const [i, rung] of rungs.entries()) {
          const before = rungs[i - 1];
          if (before === undefined) continue;
          expect(rung.budget).toBeGreaterThan(before.budget);
          expect(rung.trialCount).toBe(keptCount(before.trialCount, factor));
          expect(rung.trialCount).toBeGreaterThan(0);
        }
      },
    ),
  );
});

test("those that go on are the best of those that did not fail, and of equals the earlier", () => {
  fc.assert(
    fc.property(
      fc.array(fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined })),
      fc.nat(10),
      fc.boolean(),
      (values, count, lowerIsBetter) => {
        const results = values.map((value, trial) => ({ trial, value }));
        const kept = bestTrials(results, { count, lowerIsBetter });
        const good = results.filter(({ value }) => value !== undefined);
        expect(kept).toHaveLength(Math.min(count, good.length));
        const sign = lowerIsBetter ? 1 : -1;
        for (const { trial, value = 0 } of good) {
          if (kept.includes(trial)) continue;
          for (const one of kept) {
            const other = sign * (values[one] ?? 0);
            expect(other < sign * value || (other === sign * value && one < trial)).toBe(true);
          }
        }
      },
    ),
  );
});
