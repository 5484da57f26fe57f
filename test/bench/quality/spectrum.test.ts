import fc from "fast-check";
import { expect, test } from "vitest";
import { symmetricEigen } from "../../../bench/quality/eigen.ts";
import { denseMatrix, normaliseRows } from "../../../bench/quality/matrix.ts";
import { effectiveRank, spectrumOf } from "../../../bench/quality/spectrum.ts";
import { EVALUATION_VECTORS } from "../../support/evaluation-vectors.ts";

test("eigenvalues agree with LAPACK's, repeated and zero ones too", () => {
  for (const { matrix, values } of EVALUATION_VECTORS.eigen) {
    const n = values.length;
    const found = symmetricEigen(Float64Array.from(matrix), n, 0).values;
    found.forEach((value, i) => {
      expect(Math.abs(value - (values[i] ?? 0))).toBeLessThan(1e-11);
    });
  }
});

test("eigenvectors rebuild the matrix and are orthonormal, for any symmetric matrix", () => {
  const entries = fc.integer({ min: -4, max: 4 }); // small integers make repeated values and zero rows common
  fc.assert(
    fc.property(
      fc
        .integer({ min: 1, max: 8 })
        .chain((n) =>
          fc.tuple(fc.constant(n), fc.array(entries, { minLength: n * n, maxLength: n * n })),
        ),
      ([n, raw]) => {
        const a = Float64Array.from(raw, (value, at) => {
          const mirrored = raw[(at % n) * n + Math.floor(at / n)] ?? 0;
          return value + mirrored;
        });
        const { values, vectors } = symmetricEigen(a, n, n);
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++) {
            let rebuilt = 0;
            let product = 0;
            for (let k = 0; k < n; k++) {
              rebuilt += (values[k] ?? 0) * (vectors[k * n + i] ?? 0) * (vectors[k * n + j] ?? 0);
              product += (vectors[i * n + k] ?? 0) * (vectors[j * n + k] ?? 0);
            }
            expect(Math.abs(rebuilt - (a[i * n + j] ?? 0))).toBeLessThan(1e-10);
            expect(Math.abs(product - (i === j ? 1 : 0))).toBeLessThan(1e-10);
          }
        }
      },
    ),
  );
});

test("effective rank, spread, alignment and uniformity agree with NumPy's", () => {
  const vector = EVALUATION_VECTORS.spectrum;
  const found = spectrumOf(denseMatrix(vector.rows, 8), vector.groups);
  expect(found.effectiveRank).toBeCloseTo(vector.effectiveRank, 6);
  expect(found.deviationMin).toBeCloseTo(vector.deviations[0] ?? 0, 9);
  expect(found.deviationMedian).toBeCloseTo(vector.deviations[4] ?? 0, 9);
  expect(found.alignment).toBeCloseTo(vector.alignment, 6);
  expect(found.uniformity).toBeCloseTo(vector.uniformity, 6);
});

test("a matrix of low rank has its few eigenvalues, and the rest are 0 to rounding", () => {
  // 3 rows of 40 numbers: rank 3, as of pictures with more pixels than there are pictures.
  const n = 40;
  const rows = [0, 1, 2].map((i) =>
    Float64Array.from({ length: n }, (_, k) => Math.sin(1 + k * (i + 1))),
  );
  const gram = new Float64Array(n * n);
  for (const row of rows) {
    row.forEach((a, i) => {
      row.forEach((b, j) => (gram[i * n + j] = (gram[i * n + j] ?? 0) + a * b));
    });
  }
  const { values, vectors } = symmetricEigen(gram, n, n);
  const trace = rows.reduce((sum, row) => sum + row.reduce((s, value) => s + value * value, 0), 0);
  expect(values.slice(0, 3).reduce((sum, value) => sum + value, 0)).toBeCloseTo(trace, 10);
  expect(values.slice(3).every((value) => Math.abs(value) < 1e-12)).toBe(true);
  expect(vectors.every(Number.isFinite)).toBe(true);
});

test("n orthogonal directions have effective rank n, one point has 1, nothing has 0", () => {
  const axes = Array.from({ length: 6 }, (_, i) =>
    Array.from({ length: 6 }, (_, k) => (i === k ? 1 : 0)),
  );
  expect(effectiveRank(denseMatrix(axes, 6))).toBeCloseTo(6, 10);
  expect(effectiveRank(denseMatrix([axes[0] ?? [], axes[0] ?? []], 6))).toBeCloseTo(1, 10);
  expect(effectiveRank(denseMatrix([[0, 0]], 2))).toBe(0);
});

test("a few rows of many dimensions have the effective rank of the same rows with the zeros left out", () => {
  const short = [
    [3, 1],
    [1, 2],
    [0, 1],
  ];
  const long = short.map((row) => [...row, 0, 0, 0, 0]);
  expect(effectiveRank(denseMatrix(long, 6))).toBeCloseTo(effectiveRank(denseMatrix(short, 2)), 10);
});

test("collapsed embeddings are seen: rank 1, no spread, uniformity 0", () => {
  const rows = normaliseRows(
    denseMatrix(
      Array.from({ length: 12 }, () => [1, 2, 3]),
      3,
    ),
  );
  const found = spectrumOf(
    rows,
    Array.from({ length: 12 }, (_, i) => String(i)),
  );
  expect(found.effectiveRank).toBeCloseTo(1, 5);
  expect(found.deviationMedian).toBeCloseTo(0, 12);
  expect(found.uniformity).toBeCloseTo(0, 12);
  expect(found.alignment).toBeUndefined();
});
