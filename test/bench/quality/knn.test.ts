import fc from "fast-check";
import { expect, test } from "vitest";
import { knnAccuracy, majorityAccuracy, nearestRows } from "../../../bench/quality/knn.ts";
import { denseMatrix, innerProducts } from "../../../bench/quality/matrix.ts";
import { EVALUATION_VECTORS } from "../../support/evaluation-vectors.ts";

const alone = (labels: readonly string[], prefix: string) => ({
  labels,
  groups: labels.map((_, i) => `${prefix}${i}`),
});

test("the vote of 20 neighbours agrees with NumPy's", () => {
  const { train, test: rows, trainLabels, testLabels, accuracy } = EVALUATION_VECTORS.neighbours;
  const similarities = innerProducts(denseMatrix(rows, 6), denseMatrix(train, 6));
  const found = knnAccuracy(
    similarities,
    alone(testLabels.map(String), "test"),
    alone(trainLabels.map(String), "train"),
  );
  expect(found).toBeCloseTo(accuracy, 12);
});

test("a near neighbour outvotes several far ones", () => {
  // e^(1/.07) against 2 · e^(.9/.07): the first is larger, so weights matter and not only counts.
  const similarities = Float32Array.of(1, 0.9, 0.9);
  const train = alone(["x", "y", "y"], "train");
  expect(knnAccuracy(similarities, alone(["x"], "test"), train)).toBe(1);
  expect(knnAccuracy(Float32Array.of(1, 0.97, 0.97), alone(["x"], "test"), train)).toBe(0);
});

test("rows of the query's own group do not vote", () => {
  const train = { labels: ["x", "y"], groups: ["g", "h"] };
  const query = { labels: ["x"], groups: ["g"] };
  expect(knnAccuracy(Float32Array.of(1, 0.1), query, train)).toBe(0);
});

test("without rows there is no accuracy", () => {
  expect(knnAccuracy(new Float32Array(), alone([], "a"), alone(["x"], "b"))).toBeUndefined();
  expect(majorityAccuracy([], ["x"])).toBeUndefined();
});

test("the k nearest are those of a full sort, equal ones by position", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 12 }),
      (values, k) => {
        const expected = values
          .map((value, index) => ({ value, index }))
          .filter(({ index }) => index % 3 !== 0)
          .sort((a, b) => b.value - a.value || a.index - b.index)
          .slice(0, k)
          .map(({ index }) => index);
        expect(nearestRows(Float32Array.from(values), k, (j) => j % 3 !== 0)).toEqual(expected);
      },
    ),
  );
});

test("the majority class is that of the training rows", () => {
  expect(majorityAccuracy(["a", "b", "b", "b"], ["a", "a", "b"])).toBe(0.25);
});
