/** How an op of ours enters tfjs's gradient tape: a thin, typed face on `tf.customGrad`. */
import { tf, type Tensor } from "../backend.ts";

export interface Differentiable {
  readonly value: Tensor;
  /** What the gradient needs besides `dy`. */
  readonly saved: readonly Tensor[];
  /** One gradient for each input, of its shape. */
  readonly gradient: (dy: Tensor, saved: readonly Tensor[]) => Tensor[];
}

/**
 * Run `forward` as one differentiable op.
 * @param inputs  what may have gradients, in order; what is constant stays out and costs nothing
 */
export function differentiable(inputs: readonly Tensor[], forward: () => Differentiable): Tensor {
  const op = tf.customGrad((...args) => {
    const save = args[args.length - 1] as unknown as (tensors: Tensor[]) => void;
    const { value, saved, gradient } = forward();
    save([...saved]);
    return { value, gradFunc: (dy: Tensor, kept: Tensor[]) => gradient(dy, kept) };
  });
  return op(...inputs);
}
