import fc from "fast-check";
import { expect, test } from "vitest";
import {
  denseMatrix,
  innerProducts,
  normaliseRows,
  prefix,
  rowOf,
  selectRows,
} from "../../../bench/quality/matrix.ts";
import { sparseRows } from "../../support/sparse-rows.ts";

/** Rows of one dimension, small integers, so that every product is exact. */
const rows = (dimension: number) =>
  fc.array(
    fc.array(fc.integer({ min: -8, max: 8 }), { minLength: dimension, maxLength: dimension }),
    { minLength: 1, maxLength: 11 },
  );

test("inner products equal the plain triple loop for any number of rows", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }).chain((d) => fc.tuple(fc.constant(d), rows(d), rows(d))),
      ([d, a, b]) => {
        const products = innerProducts(denseMatrix(a, d), denseMatrix(b, d));
        const expected = a.flatMap((x) =>
          b.map((y) => x.reduce((sum, value, k) => sum + value * (y[k] ?? 0), 0)),
        );
        expect(Array.from(products, (value) => value + 0)).toEqual(
          expected.map((value) => value + 0),
        );
      },
    ),
  );
});

test("sparse rows give the products of the same rows written out", () => {
  fc.assert(
    fc.property(rows(5), rows(5), (a, b) => {
      expect(Array.from(innerProducts(sparseRows(a), sparseRows(b)))).toEqual(
        Array.from(innerProducts(denseMatrix(a, 5), denseMatrix(b, 5)), (value) => value + 0),
      );
    }),
  );
});

test("equal rows have bit-equal similarities wherever they stand", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }),
      fc.integer({ min: 1, max: 9 }),
      (query, row, count) => {
        const products = innerProducts(
          denseMatrix([query], 7),
          denseMatrix(
            Array.from({ length: count }, () => row),
            7,
          ),
        );
        expect(new Set(products).size).toBe(1);
      },
    ),
  );
});

test("a prefix that is normalised again has rows of length 1, and a row of zeros stays zero", () => {
  const matrix = denseMatrix(
    [
      [3, 4, 12],
      [0, 0, 5],
    ],
    3,
  );
  const cut = normaliseRows(prefix(matrix, 2));
  expect(Array.from(rowOf(cut, 0))).toEqual([Math.fround(0.6), Math.fround(0.8)]);
  expect(Array.from(rowOf(cut, 1))).toEqual([0, 0]);
});

test("selecting rows keeps their order, dense and sparse alike", () => {
  fc.assert(
    fc.property(rows(4), fc.array(fc.nat(), { maxLength: 8 }), (a, picks) => {
      const indices = picks.map((pick) => pick % a.length);
      const dense = selectRows(denseMatrix(a, 4), indices);
      expect(dense).toEqual(
        denseMatrix(
          indices.map((i) => a[i] ?? []),
          4,
        ),
      );
      expect(selectRows(sparseRows(a, 4), indices)).toEqual(
        sparseRows(
          indices.map((i) => a[i] ?? []),
          4,
        ),
      );
    }),
  );
});
