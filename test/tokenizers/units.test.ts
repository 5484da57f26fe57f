import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvariantError, SomaError } from "../../base/errors.ts";
import { MODALITIES, type Modality } from "../../tokenizers/modality.ts";
import {
  assertUnits,
  audioUnits,
  imageGrid,
  integerSqrt,
  videoFrames,
  videoGrid,
} from "../../tokenizers/units.ts";

const size = (): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 2 ** 32 }));

describe("the integer square root", () => {
  test("is the largest integer whose square is not above", () => {
    // Squares and their neighbours above 2^52 are where a rounded square root goes wrong.
    const root = fc.integer({ min: 0, max: 94_906_265 });
    const number = fc.oneof(
      fc.maxSafeNat(),
      fc.tuple(root, fc.integer({ min: -1, max: 1 })).map(([r, d]) => Math.max(0, r * r + d)),
    );
    fc.assert(
      fc.property(number, (n) => {
        const r = BigInt(integerSqrt(n));
        expect(r * r <= BigInt(n)).toBe(true);
        expect((r + 1n) * (r + 1n) > BigInt(n)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test("of 94906265² − 1 is 94906264, though the nearest double to its root is 94906265", () => {
    const n = 94_906_265 ** 2 - 1;
    expect(Math.floor(Math.sqrt(n))).toBe(94_906_265);
    expect(integerSqrt(n)).toBe(94_906_264);
  });

  test.each([-1, 0.5, 2 ** 53, Number.NaN])("of %s is a broken invariant", (n) => {
    expect(() => integerSqrt(n)).toThrow(InvariantError);
  });
});

describe("a picture's grid", () => {
  test("has at least one patch and at most the cap", () => {
    const cap = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(size(), size(), cap, (width, height, patchesMax) => {
        const { columns, rows, times } = imageGrid(width, height, patchesMax);
        expect(columns).toBeGreaterThanOrEqual(1);
        expect(rows).toBeGreaterThanOrEqual(1);
        expect(columns * rows).toBeLessThanOrEqual(patchesMax);
        expect(times).toBe(1);
      }),
    );
  });

  test("turns with the picture", () => {
    fc.assert(
      fc.property(size(), size(), (width, height) => {
        const { columns, rows } = imageGrid(width, height);
        expect(imageGrid(height, width)).toMatchObject({ columns: rows, rows: columns });
      }),
    );
  });

  test("of whole patches under the cap scales nothing", () => {
    const count = fc.integer({ min: 1, max: 14 });
    fc.assert(
      fc.property(count, count, (columns, rows) => {
        expect(imageGrid(16 * columns, 16 * rows)).toEqual({ columns, rows, times: 1 });
      }),
    );
  });

  test.each([0, -1, 1.5, 2 ** 32 + 1, Number.NaN])("of width %s is a broken invariant", (width) => {
    expect(() => imageGrid(width, 10)).toThrow(InvariantError);
  });
});

test("a clip's frames are even in number, ascending, at most 16, and all exist", () => {
  fc.assert(
    fc.property(size(), size(), size(), (count, width, height) => {
      const frames = videoFrames(count);
      expect(frames.length % 2).toBe(0);
      expect(frames.length).toBeLessThanOrEqual(16);
      expect(frames.every((frame, i) => frame >= (frames[i - 1] ?? 0) && frame < count)).toBe(true);
      expect(videoGrid(count, width, height).times).toBe(frames.length / 2);
    }),
  );
});

test("no decoded size gives more units than its modality allows", () => {
  fc.assert(
    fc.property(size(), size(), size(), fc.maxSafeNat(), (count, width, height, samples) => {
      const { columns, rows, times } = videoGrid(count, width, height);
      expect(columns * rows * times).toBeLessThanOrEqual(MODALITIES.video.unitsMax);
      expect(audioUnits(samples, width)).toBeLessThanOrEqual(MODALITIES.audio.unitsMax);
    }),
  );
});

describe("the network", () => {
  const modalities = Object.keys(MODALITIES) as Modality[];
  test.each(modalities)("takes %s of 8 units up to its bound", (modality) => {
    const code = (units: number): string => {
      try {
        assertUnits(modality, units);
        return "taken";
      } catch (error) {
        return error instanceof SomaError ? `${error.code} ${error.exitCode}` : String(error);
      }
    };
    const { unitsMax } = MODALITIES[modality];
    expect([0, 7, 8, unitsMax, unitsMax + 1].map(code)).toEqual([
      "TOO_FEW_UNITS 4",
      "TOO_FEW_UNITS 4",
      "taken",
      "taken",
      "TOO_MANY_UNITS 4",
    ]);
  });
});
