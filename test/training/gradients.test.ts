import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startBackend, tf, type Rank, type Scalar, type Variable } from "../../models/backend.ts";
import type { TokenBatch } from "../../models/batch.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { prepareStep } from "../../training/combine.ts";
import {
  assertFinite,
  computeGradients,
  takeToHost,
  type StepGradients,
} from "../../training/gradients.ts";
import type { EmbeddingLoss, PreparedStep } from "../../training/objective.ts";
import { TINY_IMAGE_CONFIG } from "../support/tiny-encoder.ts";

let encoder: TransformerEncoder;
let a: Variable;
let b: Variable;
let idle: Variable;
beforeAll(() => startBackend());
beforeEach(() => {
  encoder = new TransformerEncoder(TINY_IMAGE_CONFIG, seededRng(1, "test"));
  a = tf.variable(tf.tensor1d([1, 2]));
  b = tf.variable(tf.scalar(3));
  idle = tf.variable(tf.scalar(4));
});
afterEach(() => {
  encoder.dispose();
  tf.dispose([a, b, idle]);
});

const parameters = (): ReadonlyMap<string, Variable> =>
  new Map([
    ["a", a],
    ["b", b],
    ["idle", idle],
  ]);

/** factor · (Σ a² + b), with gradient (2·factor·a, factor). */
function quadratic(factor: number): EmbeddingLoss {
  return () => {
    const squares = tf.mul<Scalar>(tf.sum(tf.square(a)), factor);
    const linear = tf.mul(b, factor).asScalar();
    return { total: tf.add(squares, linear), parts: { squares, linear } };
  };
}

/** A step without input: its loss depends on the parameters alone. */
function stepOf(...losses: readonly (readonly [EmbeddingLoss, number])[]): PreparedStep {
  return prepareStep(
    losses.map(() => []),
    losses.map(([lossOf, weight], i) => ({ name: ["one", "two"][i] ?? "", lossOf, weight })),
  );
}

test("loss, parts and gradients are those of the function, and nothing is left behind", () => {
  const before = tf.memory().numTensors;
  const { loss, parts, arrays, norm } = computeGradients(
    [stepOf([quadratic(2), 1])],
    encoder,
    parameters(),
  );
  expect(loss).toBe(16);
  expect(parts).toEqual({ squares: 10, linear: 6 });
  expect([...takeToHost(arrays)]).toEqual([
    ["a", Float32Array.of(4, 8)],
    ["b", Float32Array.of(2)],
  ]);
  // A kernel gives it as a float.
  expect(norm).toBeCloseTo(Math.sqrt(16 + 64 + 4), 5);
  expect(tf.memory().numTensors).toBe(before);
});

test("several batches give the mean of their gradients", () => {
  const batches = [stepOf([quadratic(1), 1]), stepOf([quadratic(3), 1])];
  const { loss, parts, arrays } = computeGradients(batches, encoder, parameters());
  expect(loss).toBe(16);
  expect(parts).toEqual({ squares: 10, linear: 6 });
  expect(arrays.has("idle")).toBe(false);
  expect(takeToHost(arrays).get("a")).toEqual(Float32Array.of(4, 8));
});

test("objectives are added by weight, and each is logged under its name", () => {
  const step = stepOf([quadratic(1), 1], [quadratic(2), 0.5]);
  const { loss, parts, arrays } = computeGradients([step], encoder, parameters());
  expect(loss).toBe(16);
  expect(parts).toMatchObject({ one: 8, two: 16, "one.squares": 5, "two.linear": 6 });
  expect(takeToHost(arrays).get("b")).toEqual(Float32Array.of(2));
});

test("one objective of weight 1 is left as it is", () => {
  const only = quadratic(1);
  expect(prepareStep([[]], [{ name: "only", lossOf: only, weight: 1 }]).lossOf).toBe(only);
  const { loss, parts } = computeGradients([stepOf([only, 0.5])], encoder, parameters());
  expect(loss).toBe(4);
  expect(parts).toMatchObject({ one: 8, "one.squares": 5 });
});

test("each objective is given the embeddings of its own batches, in the order that they were drawn in", () => {
  const batch = (size: number): TokenBatch => ({
    kind: "ids",
    size,
    units: 1,
    ids: new Int32Array(size),
    visible: new Float32Array(size),
    lengths: new Float32Array(size),
  });
  const seen: number[][] = [];
  const lossOf: EmbeddingLoss = (embeddings) => {
    seen.push(embeddings.map(({ shape }) => shape[0]));
    return { total: tf.scalar(0), parts: {} };
  };
  const step = prepareStep(
    [[batch(1), batch(2)], [batch(3)]],
    [
      { name: "one", lossOf, weight: 1 },
      { name: "two", lossOf, weight: 1 },
    ],
  );
  expect(step.exampleCount).toBe(6);
  tf.tidy(() => {
    step.lossOf(step.batches.map(({ size }) => tf.zeros<Rank.R2>([size, 4])));
  });
  expect(seen).toEqual([[1, 2], [3]]);
});

test("what is not finite is named: the part, else the loss, else the gradient", () => {
  const finite = {
    loss: 1,
    parts: { x: 1 },
    arrays: new Map([["a", Float32Array.of(1)]]),
    norm: 1,
  };
  expect(() => {
    assertFinite(finite, 0);
  }).not.toThrow();
  const cases: [Partial<StepGradients>, RegExp][] = [
    [{ loss: Number.NaN, parts: { x: Number.NaN } }, /step 8.*its part x is NaN/],
    [{ loss: Number.POSITIVE_INFINITY }, /loss became Infinity at step 8.*parts alone is finite/],
    [{ loss: Number.NaN, parts: {} }, /loss became NaN at step 8$/],
    [
      {
        norm: Number.NaN,
        arrays: new Map([
          ["ok", Float32Array.of(1)],
          ["bad", Float32Array.of(Number.NaN)],
        ]),
      },
      /gradient of bad is not finite at step 8 \(1 of 2/,
    ],
    [{ norm: Number.POSITIVE_INFINITY }, /too large to be added up at step 8/],
  ];
  for (const [broken, message] of cases) {
    expect(() => {
      assertFinite({ ...finite, ...broken }, 7);
    }).toThrow(message);
  }
});
