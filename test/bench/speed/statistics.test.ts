import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitPowerLaw, median, ratioOf } from "../../../bench/speed/statistics.ts";

const positive = fc.double({ min: 1e-3, max: 1e3, noNaN: true });

describe("a median", () => {
  test("has as many values below it as above it, whatever their order", () => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1 }), (values) => {
        const middle = median(values);
        const below = values.filter((value) => value < middle).length;
        const above = values.filter((value) => value > middle).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(values.length / 2);
        expect(median(values.toReversed())).toBe(middle);
      }),
    );
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
});

describe("a ratio of paired runs", () => {
  test("is taken pair by pair: a machine that slows down for both changes nothing", () => {
    // Each pair has the ratio 2, though times range over a factor of ten.
    expect(ratioOf([20, 200, 40], [10, 100, 20])).toEqual({ median: 2, min: 2, max: 2 });
    expect(ratioOf([30, 10, 20], [10, 10, 10])).toEqual({ median: 2, min: 1, max: 3 });
  });
});

describe("a power law", () => {
  test("is found again from points that lie on it", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -3, max: 3, noNaN: true }),
        positive,
        fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 12 }),
        (exponent, factor, sizes) => {
          const law = fitPowerLaw(sizes.map((x) => [x, factor * x ** exponent]));
          expect(law.exponent).toBeCloseTo(exponent, 6);
          expect(law.factor / factor).toBeCloseTo(1, 6);
        },
      ),
    );
  });

  test("is the line of least squares through the logarithms, with the share that it explains", () => {
    // NumPy: polyfit(log([1, 2, 4, 8]), log([3, 5, 11, 19]), 1) and the square of corrcoef.
    const law = fitPowerLaw([
      [1, 3],
      [2, 5],
      [4, 11],
      [8, 19],
    ]);
    expect(law.exponent).toBeCloseTo(0.9126399, 6);
    expect(law.factor).toBeCloseTo(2.8970863, 6);
    expect(law.r2).toBeCloseTo(0.9931427, 6);
  });
});
