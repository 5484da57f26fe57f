/** The losses against their formulas, written down naively and in doubles. */
import fc from "fast-check";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { startBackend, tf, type Tensor2D } from "../../../models/backend.ts";
import { Scope } from "../../../models/module.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { selfLoss } from "../../../training/objectives/differential/loss.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { Similarity } from "../../../training/objectives/similarity.ts";

type Rows = readonly (readonly number[])[];

beforeAll(async () => {
  await startBackend();
});
let scope: Scope | undefined;
afterEach(() => {
  scope?.dispose();
});

function similarity(loss: "infonce" | "sigmoid", temperature: number): Similarity {
  scope = Scope.root(seededRng(1, "test"));
  return new Similarity(scope, { loss, temperature });
}

function unitRows(count: number, width: number, seed: number): number[][] {
  const rng = seededRng(seed, "rows");
  return Array.from({ length: count }, () => {
    const row = Array.from({ length: width }, () => rng.unit() - 0.5);
    const norm = Math.hypot(...row);
    return row.map((value) => value / norm);
  });
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? Number.NaN), 0);

/** −log of the share that the partner has among all, over rows, then over columns. */
function naiveInfoNce(a: Rows, b: Rows, temperature: number): number {
  const logits = a.map((x) => b.map((y) => dot(x, y) / temperature));
  const direction = (table: number[][]): number =>
    table.reduce((sum, row, i) => {
      const all = row.reduce((total, value) => total + Math.exp(value), 0);
      return sum - Math.log(Math.exp(row[i] ?? Number.NaN) / all) / table.length;
    }, 0);
  const columns = b.map((_, j) => logits.map((row) => row[j] ?? Number.NaN));
  return (direction(logits) + direction(columns)) / 2;
}

/** −log sigmoid of ±(scaled similarity + bias), over all pairs, per row. */
function naiveSigmoid(a: Rows, b: Rows, temperature: number): number {
  let sum = 0;
  a.forEach((x, i) => {
    b.forEach((y, j) => {
      const logit = (i === j ? 1 : -1) * (dot(x, y) / temperature - 10);
      sum += Math.log1p(Math.exp(-logit));
    });
  });
  return sum / a.length;
}

describe.each([
  ["infonce", naiveInfoNce],
  ["sigmoid", naiveSigmoid],
] as const)("%s", (kind, naive) => {
  test("is what its formula says", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.nat(999), (B, seed) => {
        const [a, b] = [unitRows(B, 5, seed), unitRows(B, 5, seed + 1)];
        const loss = similarity(kind, 0.2);
        const value = tf.tidy(() => loss.loss(tf.tensor2d(a), tf.tensor2d(b)).arraySync());
        expect(value).toBeCloseTo(naive(a, b, 0.2), 4);
        scope?.dispose();
      }),
      { numRuns: 20 },
    );
  });

  test("has the gradient of central differences", () => {
    const [a, b] = [unitRows(4, 3, 5), unitRows(4, 3, 6)];
    const loss = similarity(kind, 0.5);
    const gradient = tf.tidy(() =>
      tf
        .grad((x) => loss.loss(x as Tensor2D, tf.tensor2d(b)))(tf.tensor2d(a))
        .arraySync(),
    ) as number[][];
    const h = 1e-5;
    a.forEach((row, i) => {
      row.forEach((_, j) => {
        const moved = (by: number): number =>
          naive(
            a.map((r, k) => (k === i ? r.map((v, l) => (l === j ? v + by : v)) : r)),
            b,
            0.5,
          );
        expect(gradient[i]?.[j]).toBeCloseTo((moved(h) - moved(-h)) / (2 * h), 3);
      });
    });
  });
});

test("InfoNCE of unrelated embeddings is about ln(B), of equal ones about 0", () => {
  const loss = similarity("infonce", 0.07);
  const rows = unitRows(64, 64, 1);
  const same = Array.from({ length: 64 }, () => rows[0] ?? []);
  const at = (a: Rows, b: Rows): number =>
    tf.tidy(() =>
      loss.loss(tf.tensor2d(a as number[][]), tf.tensor2d(b as number[][])).arraySync(),
    );
  expect(at(same, same)).toBeCloseTo(Math.log(64), 4);
  expect(at(rows, rows)).toBeLessThan(0.1);
});

test("a prefix has unit length, and zeros stay finite", () => {
  const norms = tf.tidy(() => {
    const x = tf.tensor2d([
      [3, 4, 12],
      [0, 0, 0],
    ]);
    return [2, 3].map((cut) => unitPrefix(x, cut).norm(2, 1).arraySync() as number[]);
  });
  for (const [first, second] of norms) {
    expect(first).toBeCloseTo(1, 5);
    expect(second).toBe(0);
  }
});

test("the self loss is 0 for parts that add up, 1 for unrelated ones, 3 at worst", () => {
  const loss = (full: number[][], masked: number[][], inverse: number[][]): number =>
    tf.tidy(() =>
      selfLoss(tf.tensor2d(full), tf.tensor2d(masked), tf.tensor2d(inverse)).arraySync(),
    );
  expect(loss([[5, 7, 9]], [[1, 2, 3]], [[4, 5, 6]])).toBeCloseTo(0, 6);
  expect(loss([[1, 0, 0]], [[0, 1, 0]], [[0, 0, 1]])).toBeCloseTo(1, 6);
  expect(loss([[1, 2, 3]], [[-1, -2, -3]], [[-1, -2, -3]])).toBeCloseTo(3, 6);
  expect(loss([[0, 0, 0]], [[0, 0, 0]], [[0, 0, 0]])).toBe(0);
});
