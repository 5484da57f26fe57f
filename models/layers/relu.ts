/** max(x, 0), with a gradient in two passes over memory; tfjs composes the same of six. */
import { tf, type Tensor } from "../backend.ts";

/** Where x is 0 the gradient is 0. */
export function relu<T extends Tensor>(x: T): T {
  const withGradient = tf.customGrad((input, save) => {
    const y = tf.relu(input as Tensor);
    (save as (tensors: Tensor[]) => void)([y]);
    return {
      value: y,
      gradFunc: (dy: Tensor, saved: Tensor[]) => tf.mul(dy, tf.sign(saved[0] as Tensor)),
    };
  });
  return withGradient(x) as T;
}
