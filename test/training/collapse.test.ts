import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRng } from "../../tokenizers/random.ts";
import { collapseWarning, measureCollapse, symmetricEigenvalues } from "../../training/collapse.ts";

const THRESHOLDS = { effectiveRankMin: 3, spreadMin: 0.05 };

function gaussianRows(count: number, dimension: number, seed: number): Float32Array[] {
  const rng = seededRng(seed, "rows");
  // A sum of twelve uniform numbers is near enough to a Gaussian.
  const gaussian = (): number =>
    Array.from({ length: 12 }, () => rng.unit()).reduce((a, b) => a + b) - 6;
  return Array.from({ length: count }, () => Float32Array.from({ length: dimension }, gaussian));
}

test("eigenvalues of a symmetric matrix keep its trace and the sum of its squares", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }).chain((n) =>
        fc.array(fc.double({ min: -10, max: 10, noNaN: true }), {
          minLength: n * n,
          maxLength: n * n,
        }),
      ),
      (numbers) => {
        const n = Math.sqrt(numbers.length);
        const a = Array.from({ length: n }, (_, i) =>
          Float64Array.from(
            { length: n },
            (_, j) => numbers[Math.min(i, j) * n + Math.max(i, j)] ?? 0,
          ),
        );
        const trace = a.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
        const squares = a.reduce((sum, row) => sum + row.reduce((s, x) => s + x * x, 0), 0);
        const values = symmetricEigenvalues(a);
        expect(values.reduce((sum, x) => sum + x, 0)).toBeCloseTo(trace, 6);
        expect(values.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(squares, 4);
      },
    ),
  );
});

test("k orthogonal directions of equal length have effective rank k", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 3 }), (k, repeats) => {
      const rows = Array.from({ length: k * repeats }, (_, i) => {
        const row = new Float32Array(16);
        row[i % k] = 2;
        return row;
      });
      expect(measureCollapse(rows).effectiveRank).toBeCloseTo(k, 6);
    }),
  );
});

test("a common offset lowers the effective rank, but is no collapse: the centred rank and the spread tell", () => {
  const rows = gaussianRows(64, 32, 5).map((row) => row.map((x, d) => x + (d === 0 ? 30 : 0)));
  const report = measureCollapse(rows);
  expect(report.effectiveRank).toBeLessThan(20);
  expect(report.centredRank).toBeGreaterThan(25);
  expect(collapseWarning(report, THRESHOLDS)).toBeUndefined();
});

test("evenly spread embeddings have a spread of about one and raise no alarm", () => {
  const report = measureCollapse(gaussianRows(64, 32, 1));
  expect(report.spread).toBeGreaterThan(0.9);
  expect(report.spread).toBeLessThan(1.01);
  expect(report.effectiveRank).toBeGreaterThan(25);
  expect(collapseWarning(report, THRESHOLDS)).toBeUndefined();
});

test("embeddings that all lie at one point, exactly or almost, raise the alarm", () => {
  for (const noise of [0, 1e-6, 1e-3]) {
    const rows = gaussianRows(64, 32, 2).map((row) => row.map((x) => 1 + noise * x));
    expect(collapseWarning(measureCollapse(rows), THRESHOLDS)).toMatch(/one point/);
  }
});

test("embeddings on one line raise the alarm although they spread", () => {
  const [direction = new Float32Array(32)] = gaussianRows(1, 32, 3);
  const rows = gaussianRows(64, 1, 4).map((t) => direction.map((x) => x * (t[0] ?? 0)));
  const report = measureCollapse(rows);
  expect(report.spread).toBeGreaterThan(0.5);
  expect(collapseWarning(report, THRESHOLDS)).toMatch(/few directions/);
});

test("zero and not-a-number embeddings raise the alarm instead of passing for healthy", () => {
  const zeros = Array.from({ length: 8 }, () => new Float32Array(4));
  expect(collapseWarning(measureCollapse(zeros), THRESHOLDS)).toBeDefined();
  const broken = zeros.map((row) => row.map(() => Number.NaN));
  expect(collapseWarning(measureCollapse(broken), THRESHOLDS)).toBeDefined();
});
