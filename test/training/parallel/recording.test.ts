/** A forward pass whose gradient is asked for later gives the gradient that tfjs gives at once. */
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  startBackend,
  tf,
  type Scalar,
  type Tensor,
  type Tensor2D,
} from "../../../models/backend.ts";
import { packTokens, type TokenBatch } from "../../../models/batch.ts";
import { TransformerEncoder } from "../../../models/transformer.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { Recording } from "../../../training/parallel/recording.ts";
import { randomPatches } from "../../support/patch-tokens.ts";
import { TINY_CONFIG } from "../../support/tiny-encoder.ts";

let encoder: TransformerEncoder;
let batches: readonly [TokenBatch, TokenBatch];

beforeAll(async () => {
  await startBackend();
  encoder = new TransformerEncoder(TINY_CONFIG, seededRng(3, "weights"));
  batches = [
    packTokens(Array.from({ length: 5 }, (_, i) => ({ tokens: randomPatches(2 + i, 3, i) }))),
    packTokens(
      Array.from({ length: 4 }, (_, i) => ({
        tokens: {
          kind: "ids",
          modality: "text",
          ids: Int32Array.from({ length: 3 + i }, (_, j) => 7 * i + j),
        },
      })),
    ),
  ];
});
afterAll(() => {
  encoder.dispose();
});

const variables = () => [...encoder.parameters().values()];

/** Something that mixes both outputs. */
function lossOf(a: Tensor2D, b: Tensor2D): Scalar {
  return tf.mean(tf.softplus(tf.matMul(a, b, false, true)));
}

function valuesOf(grads: Readonly<Record<string, Tensor>>): ReadonlyMap<string, Float32Array> {
  const values = Object.entries(grads).map(([name, x]) => [name, x.dataSync<"float32">()] as const);
  tf.dispose(Object.values(grads));
  return new Map(values);
}

test("the gradient after a pause is that of one pass, for every parameter, and no tensor is left", async () => {
  const whole = tf.variableGrads(() => {
    const [a, b] = batches.map((batch) => encoder.forward(batch)) as [Tensor2D, Tensor2D];
    return lossOf(a, b);
  }, variables());
  whole.value.dispose();
  const expected = valuesOf(whole.grads);

  const tensorCount = tf.memory().numTensors;
  const recording = Recording.of(() => batches.map((batch) => encoder.forward(batch)));
  await setImmediate();
  // Other gradients meanwhile are none of the recording's business.
  const upstream = tf.grads(lossOf as (a: Tensor, b: Tensor) => Tensor)([...recording.outputs]);
  const grads = recording.gradients(upstream as Tensor2D[], variables());
  tf.dispose(upstream);
  const actual = valuesOf(grads);

  expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
  expect(actual.size).toBeGreaterThan(30);
  for (const [name, values] of expected) {
    const got = actual.get(name);
    values.forEach((value, i) => {
      expect(Math.abs(value - (got?.[i] ?? Number.NaN))).toBeLessThan(1e-6);
    });
  }
  expect(tf.memory().numTensors).toBe(tensorCount);
});

test("a recording that is given up leaves no tensor, nor does a pass that fails", () => {
  const tensorCount = tf.memory().numTensors;
  Recording.of(() => batches.map((batch) => encoder.forward(batch))).dispose();
  expect(() =>
    Recording.of(() => {
      encoder.forward(batches[0]);
      throw new Error("no");
    }),
  ).toThrow("no");
  expect(tf.memory().numTensors).toBe(tensorCount);
  // The engine is as before: gradients work.
  valuesOf(
    tf.variableGrads(
      () => lossOf(encoder.forward(batches[0]), encoder.forward(batches[0])),
      variables(),
    ).grads,
  );
});
