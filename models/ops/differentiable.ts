/** How an op of ours enters tfjs's gradient tape: a thin, typed face on `tf.customGrad`. */
import { isRecording, tf, type Tensor } from "../backend.ts";

export interface Differentiable {
  readonly value: Tensor;
  /** What the gradient needs besides `dy`. */
  readonly saved: readonly Tensor[];
  /** One gradient for each input, of its shape; none may be `dy` or a saved tensor itself. */
  readonly gradient: (dy: Tensor, saved: readonly Tensor[]) => Tensor[];
}

/** Gradients that our ops made: each is read by one op, the one before it, which may let go of it. */
const passing = new WeakSet<Tensor>();

/**
 * Run `forward` as one differentiable op. The tape would hold every activation and every gradient until the last is
 * computed; here each is disposed as soon as it has been used, so a backward pass needs less memory the further it
 * gets.
 * @param inputs  what may have gradients, in order; what is constant stays out and costs nothing
 * @param forward  asked whether a gradient may follow; if not, what it saves is disposed at once
 */
export function differentiable(
  inputs: readonly Tensor[],
  forward: (recorded: boolean) => Differentiable,
): Tensor {
  // Half the time of a small op would go into a tape that is not written.
  if (!isRecording()) return tf.tidy(() => forward(false).value);
  const op = tf.customGrad((...args) => {
    const save = args[args.length - 1] as unknown as (tensors: Tensor[]) => void;
    const { value, saved, gradient } = forward(true);
    save([...saved]);
    return {
      value,
      gradFunc: (dy: Tensor, kept: Tensor[]) => {
        const gradients = gradient(dy, kept);
        for (const made of gradients) passing.add(made);
        // Copies that the tape made for this call alone; it disposes them again at its end, to no effect.
        tf.dispose(kept);
        if (passing.has(dy)) dy.dispose();
        return gradients;
      },
    };
  });
  return op(...inputs);
}
