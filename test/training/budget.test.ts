import fc from "fast-check";
import { expect, test } from "vitest";
import { Budget } from "../../training/budget.ts";
import { resolveConfig, type TrainConfig } from "../../training/config.ts";
import { findRecipe } from "../../training/recipes.ts";

function configOf(values: Record<string, unknown>): TrainConfig {
  return resolveConfig([
    { where: "recipe", values: { recipe: "tiny", ...findRecipe("tiny").config } },
    { where: "test", values },
  ]);
}

test("a run of N steps makes N steps, and its progress is the share of them, seen from the middle of each", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), (steps) => {
      const budget = new Budget(configOf({ steps }), 0, () => 0);
      budget.start();
      let step = 0;
      for (; !budget.isSpent(step); step++)
        expect(budget.progress(step)).toBeCloseTo((step + 0.5) / steps, 12);
      expect(step).toBe(steps);
      expect(budget.progress(step)).toBe(1);
    }),
  );
});

test("a run of N seconds ends within them, the last validation and checkpoint included", async () => {
  const seconds = fc.double({ min: 20, max: 200, noNaN: true });
  const stepS = fc.double({ min: 0.05, max: 1, noNaN: true });
  const lastS = fc.double({ min: 0, max: 4, noNaN: true });
  await fc.assert(
    fc.asyncProperty(seconds, stepS, lastS, async (limit, step, validation) => {
      let nowMs = 1e6;
      const config = configOf({ seconds: limit, validation: { everySeconds: 10, everySteps: 0 } });
      const budget = new Budget(config, 0, () => nowMs);
      const work = async (): Promise<void> => {
        nowMs += validation * 1000;
      };
      budget.planValidation(validation);
      nowMs += 5000; // set-up does not count
      budget.start();
      let steps = 0;
      let progress = 0;
      let rises = true;
      while (!budget.isSpent(steps)) {
        nowMs += step * 1000;
        steps++;
        rises &&= budget.progress(steps) >= progress;
        progress = budget.progress(steps);
        if (budget.validationIsDue(steps)) await budget.timeValidation(work);
      }
      nowMs += validation * 1000 + 300;
      expect(rises).toBe(true);
      expect(budget.elapsedS).toBeLessThanOrEqual(limit);
      // And it does not stop early: no more than two steps' time is left unused, beyond what is kept for a checkpoint.
      expect(limit - budget.elapsedS).toBeLessThan(0.6 + 2 * step);
    }),
    { numRuns: 30 },
  );
});

test("a resumed run goes on with the seconds that are left", () => {
  let nowMs = 0;
  const budget = new Budget(configOf({ seconds: 100 }), 90, () => nowMs);
  budget.start();
  expect(budget.elapsedS).toBe(90);
  expect(budget.progress(0)).toBeGreaterThan(0.9);
  expect(budget.isSpent(0)).toBe(false);
  nowMs = 10_000;
  expect(budget.isSpent(1)).toBe(true);
});

test("with steps and seconds the run ends at whichever comes first", () => {
  let nowMs = 0;
  const budget = new Budget(configOf({ steps: 10, seconds: 100 }), 0, () => nowMs);
  budget.start();
  expect(budget.isSpent(9)).toBe(false);
  expect(budget.isSpent(10)).toBe(true);
  nowMs = 99_900;
  expect(budget.isSpent(1)).toBe(true);
  expect(budget.progress(5)).toBe(1);
});
