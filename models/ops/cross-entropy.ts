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
  assert(labels.size === logits.shape[0], `${labels.size} labels for ${logits.shape[0]} rows`);
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
  const chosen = tf.oneHot(labels, C) as Tensor2D;
  const right = tf.sum(tf.mul(logits, tf.cast(chosen, "float32")));
  return tf.div(tf.sub(tf.sum(tf.logSumExp(logits, 1)), right), B);
}
