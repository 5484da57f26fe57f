/** The exact GELU, x·Φ(x). Source: Hendrycks and Gimpel, arXiv 1606.08415. */
import { callKernel, isFused, tf, type Tensor } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { first } from "./outputs.ts";

/** @param x any shape → the same shape */
export function gelu<T extends Tensor>(x: T): T {
  if (!isFused()) return geluComposed(x);
  return differentiable([x], () => ({
    value: first(callKernel("SomaGelu", [x], 1)),
    saved: [x],
    gradient: (dy, [kept]) => [first(callKernel("SomaGeluGradient", [kept as Tensor, dy], 1))],
  })) as T;
}

export function geluComposed<T extends Tensor>(x: T): T {
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
}
