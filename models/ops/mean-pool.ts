/** Weighted sums and means over the tokens of a sequence. */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { first } from "./outputs.ts";

/**
 * Σ w·x over the tokens of each sequence. The weights are data: they have no gradient.
 * @param x [B·N, D]  @param weights [B, N]  @returns [B, D]
 */
export function weightedSum(x: Tensor2D, weights: Tensor2D): Tensor2D {
  const [B, N] = weights.shape;
  assert(x.shape[0] === B * N, `weightedSum of [${x.shape.join(", ")}] with weights [${B}, ${N}]`);
  if (!isFused()) return weightedSumComposed(x, weights);
  return differentiable([x], () => ({
    value: first(callKernel("SomaWeightedSum", [x, weights], 1)),
    saved: [weights],
    gradient: (dy, [kept]) => callKernel("SomaWeightedSumGradient", [dy, kept as Tensor], 1),
  })) as Tensor2D;
}

export function weightedSumComposed(x: Tensor2D, weights: Tensor2D): Tensor2D {
  const [B, N] = weights.shape;
  const weighted = tf.mul(tf.reshape(x, [B, N, x.shape[1]]), tf.reshape(weights, [B, N, 1]));
  return tf.sum(weighted, 1);
}

/** Σ w·x / Σ w; a sequence without weight gives zeros. [B·N, D] → [B, D] */
export function meanPool(x: Tensor2D, weights: Tensor2D): Tensor2D {
  return weightedSum(x, shares(weights));
}

export function meanPoolComposed(x: Tensor2D, weights: Tensor2D): Tensor2D {
  return weightedSumComposed(x, shares(weights));
}

function shares(weights: Tensor2D): Tensor2D {
  return tf.div(weights, tf.maximum(tf.sum(weights, 1, true), 1e-6));
}
