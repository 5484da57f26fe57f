/** Ops one after another on one tape, with results that several read; and what is not a number, which must stay seen. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  isFused,
  startBackend,
  tf,
  useFused,
  type Tensor,
  type Tensor2D,
} from "../../../models/backend.ts";
import { attention } from "../../../models/ops/attention.ts";
import { infoNceLoss, sigmoidLoss } from "../../../models/ops/contrastive-loss.ts";
import { softmaxCrossEntropy } from "../../../models/ops/cross-entropy.ts";
import { gatherRows } from "../../../models/ops/gather.ts";
import { gelu } from "../../../models/ops/gelu.ts";
import { l2Normalise } from "../../../models/ops/l2-normalise.ts";
import { layerNorm } from "../../../models/ops/layer-norm.ts";
import { linear } from "../../../models/ops/linear.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import { meanPool } from "../../../models/ops/mean-pool.ts";
import { relu } from "../../../models/ops/relu.ts";
import { maskedSoftmax } from "../../../models/ops/softmax.ts";
import { distance, tensorOf, type Packed } from "../../support/ops-cases.ts";
import { largeCase } from "../../support/ops-random.ts";

beforeAll(() => startBackend());
afterEach(() => {
  useFused(true);
});

/** Made-up numbers of a shape. */
function numbers(rows: number, width: number): Packed {
  const { x } = largeCase("l2Normalise", { rows, width }).inputs;
  if (x === undefined) throw new Error("the case has no x");
  return x;
}

const [B, N, D] = [3, 5, 8]; // sequences, tokens, width

/** A small encoder with a loss, in which most results are read twice: where a gradient was let go of too early, it shows. */
function loss(table: Tensor2D, weight: Tensor2D, scale: Tensor, shift: Tensor): Tensor {
  const ids = tf.tensor1d([0, 3, 3, 1, 6, 2, 0, 5, 5, 5, 4, 6, 1, 0, 2], "int32");
  const visible = tf.tensor2d([1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0], [B, N]);
  const x = gatherRows(table, ids) as Tensor2D;
  const normal = layerNorm(x, scale, shift);
  const qkv = tf.concat([normal, linear(normal, weight), relu(normal)], 1);
  const mixed = attention(qkv, { size: B, units: N, heads: 2 }, visible);
  const y = linear(mixed, weight, { bias: shift, activation: "gelu", residual: x });
  const z = linear(y, weight, { bias: scale, activation: "relu", residual: y });
  const pooled = meanPool(tf.add(z, gelu(y)), visible);
  const unit = l2Normalise(pooled);
  const similarities = matMul(unit, tf.add<Tensor2D>(unit, 0.3), false, true);
  const weights = maskedSoftmax(similarities, { scale: 3 });
  const labels = tf.tensor1d([2, 0, 7], "int32");
  return tf.addN([
    infoNceLoss(similarities),
    sigmoidLoss(tf.add(similarities, weights)),
    softmaxCrossEntropy(matMul(weights, pooled), labels),
    tf.sum(tf.square(matMul(pooled, weights, true))),
  ]);
}

const PARAMETERS: readonly Packed[] = [
  numbers(7, D),
  numbers(D, D),
  { ...numbers(1, D), shape: [D] },
  { ...numbers(1, D), shape: [D], values: Array.from(numbers(2, D).values).slice(D) },
];

function valueAndGradients(): { value: number; gradients: Float32Array[] } {
  const before = tf.memory().numTensors;
  const variables = PARAMETERS.map((packed) => tf.tidy(() => tf.variable(tensorOf(packed))));
  const [table, weight, scale, shift] = variables as unknown as [
    Tensor2D,
    Tensor2D,
    Tensor,
    Tensor,
  ];
  const { value, grads } = tf.variableGrads(() => loss(table, weight, scale, shift).asScalar());
  const result = {
    value: value.dataSync()[0] ?? NaN,
    gradients: variables.map(
      ({ name }) => grads[name]?.dataSync<"float32">() ?? new Float32Array(),
    ),
  };
  tf.dispose([value, ...Object.values(grads), ...variables]);
  expect(tf.memory().numTensors).toBe(before);
  return result;
}

test("a chain of all ops, with results read twice, has the gradients of its composition", (context) => {
  if (!isFused()) context.skip("no fused kernels are active here");
  const fused = valueAndGradients();
  useFused(false);
  const composed = valueAndGradients();
  expect(Math.abs(fused.value / composed.value - 1)).toBeLessThan(2e-6);
  expect(fused.gradients).toHaveLength(4);
  for (const [i, gradient] of fused.gradients.entries())
    expect(distance(gradient, composed.gradients[i] ?? [], 0.1), `${i}`).toBeLessThan(1e-5);
});

test("the same step twice gives the same bits", () => {
  expect(valueAndGradients()).toEqual(valueAndGradients());
});

test("for inputs that are data, a linear layer's other gradients are the same", () => {
  const gradientsOf = (isData: boolean): number[][] =>
    tf.tidy(() => {
      const [x, w, b] = [tensorOf(numbers(5, 7)), tensorOf(numbers(7, 6)), tensorOf(numbers(1, 6))];
      const total = (weight: Tensor, bias: Tensor): Tensor => {
        const inputs = { bias: tf.reshape(bias, [6]), activation: "gelu", isData } as const;
        return tf.sum(tf.square(linear(x as Tensor2D, weight as Tensor2D, inputs)));
      };
      return tf
        .grads(total)([w, b])
        .map((gradient) => Array.from(gradient.dataSync()));
    });
  expect(gradientsOf(true)).toEqual(gradientsOf(false));
});

describe("a number that is none", () => {
  const SCALE = Float32Array.of(1, 1, 1);
  const OPS: readonly (readonly [string, (x: Tensor2D) => Tensor])[] = [
    ["layerNorm", (x) => layerNorm(x, tf.tensor1d(SCALE), tf.tensor1d(SCALE))],
    ["linear", (x) => linear(x, tf.eye(3))],
    ["linear, relu", (x) => linear(x, tf.eye(3), { activation: "relu" })],
    ["linear, gelu", (x) => linear(x, tf.eye(3), { activation: "gelu" })],
    [
      "linear, bias",
      (x) => linear(tf.eye(3), tf.eye(3), { bias: tf.reshape(tf.slice(x, 1, 1), [3]) }),
    ],
    ["linear, residual", (x) => linear(tf.eye(3), tf.eye(3), { residual: x })],
    ["attention", (x) => attention(tf.tile(x, [1, 3]), { size: 1, units: 3, heads: 1 })],
    ["maskedSoftmax", (x) => maskedSoftmax(x)],
    ["softmaxCrossEntropy", (x) => softmaxCrossEntropy(x, tf.tensor1d([0, 1, 2], "int32"))],
    ["infoNceLoss", (x) => infoNceLoss(x)],
    ["sigmoidLoss", (x) => sigmoidLoss(x)],
    ["gatherRows", (x) => gatherRows(x, tf.tensor1d([1], "int32"))],
    ["l2Normalise", (x) => l2Normalise(x)],
    ["meanPool", (x) => meanPool(x, tf.ones([1, 3]))],
    ["matMul", (x) => matMul(x, tf.eye(3))],
    ["gelu", (x) => gelu(x)],
    ["relu", (x) => relu(x)],
  ];
  // Every column, since a vector's lanes differ from its rest.
  test.each(OPS)("comes out of %s", (_name, op) => {
    for (const column of [0, 1, 2]) {
      const values = Array.from({ length: 9 }, (_, i) => (i === 3 + column ? NaN : i / 10));
      const result = tf.tidy(() => Array.from(op(tf.tensor2d(values, [3, 3])).dataSync()));
      expect(result.some(Number.isNaN), `column ${column}`).toBe(true);
    }
  });

  test("comes out of rows longer than a vector as well", () => {
    for (const at of [0, 1, 15, 16, 31, 36]) {
      const values = Array.from({ length: 37 }, (_, i) => (i === at ? NaN : i / 10));
      const weights = tf.tidy(() =>
        Array.from(maskedSoftmax(tf.tensor2d(values, [1, 37])).dataSync()),
      );
      expect(weights.every(Number.isNaN), `column ${at}`).toBe(true);
    }
  });
});
