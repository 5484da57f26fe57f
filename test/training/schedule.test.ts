import fc from "fast-check";
import { expect, test } from "vitest";
import { learningRateAt } from "../../training/schedule.ts";

const schedule = (): fc.Arbitrary<{
  learningRate: number;
  warmupFraction: number;
  learningRateFloor: number;
}> =>
  fc.record({
    learningRate: fc.double({ min: 1e-6, max: 1, noNaN: true }),
    warmupFraction: fc.double({ min: 0, max: 1, noNaN: true }),
    learningRateFloor: fc.double({ min: 0, max: 1, noNaN: true }),
  });
const progress = (): fc.Arbitrary<number> => fc.double({ min: -1, max: 2, noNaN: true });

test("the learning rate lies between nothing and its peak, wherever it is asked for", () => {
  fc.assert(
    fc.property(schedule(), progress(), (s, t) => {
      const rate = learningRateAt(t, s);
      expect(rate).toBeGreaterThanOrEqual(0);
      expect(rate).toBeLessThanOrEqual(s.learningRate * (1 + 1e-12));
    }),
  );
});

test("the learning rate climbs during the warm-up and never after it", () => {
  fc.assert(
    fc.property(schedule(), progress(), progress(), (s, a, b) => {
      const [early, late] = [Math.min(a, b), Math.max(a, b)];
      const [first, second] = [learningRateAt(early, s), learningRateAt(late, s)];
      if (late <= s.warmupFraction) expect(second).toBeGreaterThanOrEqual(first);
      if (early >= s.warmupFraction) expect(second).toBeLessThanOrEqual(first * (1 + 1e-12));
    }),
  );
});

test("the schedule ends at the floor and is half way down in the middle of the decay", () => {
  const s = { learningRate: 2, warmupFraction: 0.2, learningRateFloor: 0.1 };
  expect(learningRateAt(0, s)).toBe(0);
  expect(learningRateAt(0.1, s)).toBeCloseTo(1, 12);
  expect(learningRateAt(0.2, s)).toBeCloseTo(2, 12);
  expect(learningRateAt(0.6, s)).toBeCloseTo(2 * (0.1 + 0.9 / 2), 12);
  expect(learningRateAt(1, s)).toBeCloseTo(0.2, 12);
});
