import { expect, test } from "vitest";
import { minimise } from "../../../bench/quality/lbfgs.ts";
import { denseMatrix } from "../../../bench/quality/matrix.ts";
import { fitDenseLogistic, linearProbe } from "../../../bench/quality/probe.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { EVALUATION_VECTORS } from "../../support/evaluation-vectors.ts";
import { sparseRows } from "../../support/sparse-rows.ts";

const { probe } = EVALUATION_VECTORS;

test("weights and biases agree with scikit-learn's LogisticRegression", () => {
  const { rows, labels, weights, biases } = probe.plain;
  const fit = fitDenseLogistic(denseMatrix(rows, 5), Int32Array.from(labels), { classes: 3, c: 1 });
  expect(fit.converged).toBe(true);
  const expected = weights.flat();
  expect(fit.weights.length).toBe(expected.length);
  // A gradient below 1e-5 leaves weights within 1e-5 / penalty strength (1/40) of the optimum.
  fit.weights.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] ?? 0))).toBeLessThan(4e-4);
  });
  fit.biases.forEach((value, k) => {
    expect(Math.abs(value - (biases[k] ?? 0))).toBeLessThan(4e-4);
  });
});

test("the probe's accuracy is scikit-learn's, with features of scales 1e-3 to 1e3 and one that is constant", () => {
  const result = linearProbe(
    { matrix: denseMatrix(probe.train, 7), labels: probe.trainLabels.map(String) },
    { matrix: denseMatrix(probe.test, 7), labels: probe.testLabels.map(String) },
  );
  expect(result?.converged).toBe(true);
  expect(result?.accuracy).toBeCloseTo(probe.accuracy, 12);
});

test("neither the order of rows nor the scale of a dense feature changes the answer", () => {
  const rng = seededRng(5, "probe");
  const labels = Array.from({ length: 60 }, (_, i) => ["x", "y", "z"][i % 3] ?? "");
  const rows = labels.map((label) =>
    ["x", "y", "z"].map((name) => (name === label ? 0.6 : 0) + rng.unit()),
  );
  const accuracy = (order: readonly number[], scale: number): number | undefined => {
    const matrix = denseMatrix(
      order.map((i) => (rows[i] ?? []).map((value, k) => (k === 0 ? value * scale : value))),
      3,
    );
    const reordered = order.map((i) => labels[i] ?? "");
    return linearProbe({ matrix, labels: reordered }, { matrix, labels: reordered })?.accuracy;
  };
  const inOrder = labels.map((_, i) => i);
  const first = accuracy(inOrder, 1);
  expect(first).toBeGreaterThan(0.6);
  expect(accuracy([...inOrder].reverse(), 1)).toBe(first);
  expect(accuracy(inOrder, 1000)).toBe(first);
});

test("sparse rows give scikit-learn's accuracy", () => {
  const { rows, labels, trainCount, accuracy } = probe.sparse;
  const part = (from: number, to: number) => ({
    matrix: sparseRows(rows.slice(from, to)),
    labels: labels.slice(from, to).map(String),
  });
  const result = linearProbe(part(0, trainCount), part(trainCount, rows.length));
  expect(result?.converged).toBe(true);
  expect(result?.accuracy).toBeCloseTo(accuracy, 12);
});

test("more classes than the limit are not probed: nearly unique labels would take hours", () => {
  const labels = Array.from({ length: 501 }, (_, i) => String(i));
  const matrix = denseMatrix(
    labels.map((_, i) => [i]),
    1,
  );
  expect(linearProbe({ matrix, labels }, { matrix, labels })).toBeUndefined();
});

test("one class cannot be probed", () => {
  const matrix = denseMatrix([[1], [2]], 1);
  expect(linearProbe({ matrix, labels: ["a", "a"] }, { matrix, labels: ["a", "a"] })).toBe(
    undefined,
  );
});

test("L-BFGS finds the minimum of a badly scaled quadratic", () => {
  const scales = [1e-3, 1, 1e3];
  const result = minimise(
    {
      start: Float64Array.of(1, 1, 1),
      evaluate(x, gradient) {
        let value = 0;
        scales.forEach((scale, i) => {
          const offset = (x[i] ?? 0) - i;
          value += (scale / 2) * offset * offset;
          gradient[i] = scale * offset;
        });
        return value;
      },
    },
    { tolerance: 1e-9, iterationsMax: 200 },
  );
  expect(result.converged).toBe(true);
  expect(result.x[0]).toBeCloseTo(0, 5);
  expect(result.x[1]).toBeCloseTo(1, 8);
  expect(result.x[2]).toBeCloseTo(2, 10);
});
