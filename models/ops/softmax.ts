/** Softmax over rows of scores, scaled and masked. */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { first } from "./outputs.ts";

export interface SoftmaxInputs {
  /** Scores are multiplied by it first. */
  readonly scale?: number;
  /** [R, C]: 1 where a column may be seen, 0 where not. */
  readonly visible?: Tensor2D | undefined;
}

/** Added to the score of what may not be seen. */
const HIDDEN = -1e9;

/** @param scores [R, C]  @returns [R, C], each row summing to 1; a row that sees nothing is all zeros */
export function maskedSoftmax(scores: Tensor2D, inputs: SoftmaxInputs = {}): Tensor2D {
  const { scale = 1, visible } = inputs;
  assert(
    visible === undefined || tf.util.arraysEqual(visible.shape, scores.shape),
    `softmax of [${scores.shape.join(", ")}] with a mask of [${visible?.shape.join(", ") ?? ""}]`,
  );
  if (!isFused()) return maskedSoftmaxComposed(scores, inputs);
  const masks = visible === undefined ? [] : [visible];
  return differentiable([scores], () => {
    const attributes = { integers: { N: masks.length }, floats: { scale } };
    const weights = first(callKernel("SomaSoftmax", [scores, ...masks], 1, attributes));
    return {
      value: weights,
      saved: [weights],
      gradient: (dy, saved) =>
        callKernel("SomaSoftmaxGradient", [...saved, dy], 1, { floats: { scale } }),
    };
  }) as Tensor2D;
}

export function maskedSoftmaxComposed(scores: Tensor2D, inputs: SoftmaxInputs = {}): Tensor2D {
  const { scale = 1, visible } = inputs;
  const scaled = scale === 1 ? scores : tf.mul<Tensor2D>(scores, scale);
  if (visible === undefined) return tf.softmax(scaled);
  const bias = tf.mul(tf.sub(1, visible), HIDDEN);
  // The product empties rows that see nothing; elsewhere it changes nothing, the weight is 0 already.
  return tf.mul(tf.softmax<Tensor2D>(tf.add(scaled, bias)), visible);
}
