/** max(x, 0), with a gradient in two passes over memory; tfjs composes the same of six. */
import { tf, type Tensor } from "../backend.ts";
import { differentiable } from "./differentiable.ts";

/** Where x is 0 the gradient is 0. */
export function relu<T extends Tensor>(x: T): T {
  return differentiable([x], () => {
    const value = tf.relu<Tensor>(x);
    return {
      value,
      saved: [value],
      gradient: (dy, [y]) => [tf.mul(dy, tf.sign(y as Tensor))],
    };
  }) as T;
}

/** tfjs's own. */
export function reluComposed<T extends Tensor>(x: T): T {
  return tf.relu(x);
}
