/** Layer normalisation over the last axis. Source: Ba et al., arXiv 1607.06450. */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";

const EPSILON = 1e-5;

/** @param x [R, D]  @param scale, shift  [D]  @returns [R, D] */
export function layerNorm(x: Tensor2D, scale: Tensor, shift: Tensor, epsilon = EPSILON): Tensor2D {
  const D = x.shape[1];
  assert(scale.size === D, `layerNorm of [${x.shape.join(", ")}] with a scale of ${scale.size}`);
  assert(shift.size === D, `layerNorm of [${x.shape.join(", ")}] with a shift of ${shift.size}`);
  if (!isFused()) return layerNormComposed(x, scale, shift, epsilon);
  return differentiable([x, scale, shift], () => {
    const floats = { epsilon };
    const [y, moments] = callKernel("SomaLayerNorm", [x, scale, shift], 2, { floats }) as [
      Tensor,
      Tensor,
    ];
    return {
      value: y,
      saved: [x, scale, moments],
      gradient: (dy, saved) => callKernel("SomaLayerNormGradient", [...saved, dy], 3),
    };
  }) as Tensor2D;
}

export function layerNormComposed(
  x: Tensor2D,
  scale: Tensor,
  shift: Tensor,
  epsilon = EPSILON,
): Tensor2D {
  const { mean, variance } = tf.moments(x, -1, true);
  const normal = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon)));
  return tf.add(tf.mul(normal, scale), shift);
}
