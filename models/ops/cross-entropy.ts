/** Mean cross-entropy of a softmax with the right class. */
import { assert } from "../../base/errors.ts";
import {
  callKernel,
  isFused,
  tf,
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from "../backend.ts";
import { differentiable } from "./differentiable.ts";

/** @param logits [B, C]  @param labels int32 [B], each 0 … C − 1  @returns mean of −log softmax(logits)[label] */
export function softmaxCrossEntropy(logits: Tensor2D, labels: Tensor1D): Scalar {
  const text = `softmaxCrossEntropy of [${logits.shape.join(", ")}]`;
  assert(labels.size === logits.shape[0], `${text} with ${labels.size} labels`);
  if (!isFused()) return softmaxCrossEntropyComposed(logits, labels);
  return differentiable([logits], () => {
    const [loss, dlogits] = callKernel("SomaCrossEntropy", [logits, labels], 2) as [Tensor, Tensor];
    return {
      value: loss,
      saved: [dlogits],
      gradient: (dy, saved) => [tf.mul(saved[0] as Tensor, dy)],
    };
  }) as Scalar;
}

export function softmaxCrossEntropyComposed(logits: Tensor2D, labels: Tensor1D): Scalar {
  const [B, C] = logits.shape;
  // Not tf.oneHot, which refuses a single class.
  const chosen = tf.equal(tf.reshape(labels, [B, 1]), tf.range(0, C, 1, "int32"));
  const right = tf.mul(tf.cast(chosen, "float32"), tf.logSoftmax(logits));
  return tf.neg(tf.div(tf.sum(right), B));
}
