/** Layer normalisation over the last axis with a learned scale and shift. Source: Ba et al., arXiv 1607.06450. */
import { tf, type Tensor2D, type Variable } from "../backend.ts";
import type { Scope } from "../module.ts";

const EPSILON = 1e-5;

export class LayerNorm {
  private readonly scale: Variable;
  private readonly shift: Variable;

  constructor(scope: Scope, width: number) {
    this.scale = scope.parameter("scale", [width], { kind: "constant", value: 1 });
    this.shift = scope.parameter("shift", [width], { kind: "constant", value: 0 });
  }

  /** @param x [R, width] → [R, width] */
  forward(x: Tensor2D): Tensor2D {
    const { mean, variance } = tf.moments(x, -1, true);
    const normal = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, EPSILON)));
    return tf.add(tf.mul(normal, this.scale), this.shift);
  }
}
