/**
 * Differential, the loss: what a mask and its inverse leave of an input should add up to the whole:
 * ‖E(full) − E(mask) − E(inverse)‖² / (‖E(full)‖² + ‖E(mask)‖² + ‖E(inverse)‖²); 0 perfect, 1 unrelated, 3 worst.
 * Source: seed, "Differential Loss"; protocol part 3 (self loss). Alone it is free to cheat (a bag of tokens has 0),
 * so it is meant as an addition to another objective.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import type { EmbeddingLoss } from "../../objective.ts";
import { splitRows } from "../similarity.ts";

/** Below this an embedding's square is taken for this: nothing is divided by zero. */
const SQUARE_MIN = 1e-6;

export function differentialLoss(): EmbeddingLoss {
  return ([embeddings]) => {
    assert(embeddings !== undefined, "the differential sampler draws one batch");
    const [full, masked, inverse] = splitRows(embeddings, 3) as [Tensor2D, Tensor2D, Tensor2D];
    return { total: selfLoss(full, masked, inverse), parts: {} };
  };
}

/** Mean over rows of the self loss. @param full, masked, inverse [B, D] */
export function selfLoss(full: Tensor2D, masked: Tensor2D, inverse: Tensor2D): Scalar {
  const square = (x: Tensor2D) => tf.sum(tf.square(x), 1);
  const difference = square(tf.sub(tf.sub(full, masked), inverse));
  const scale = tf.add(tf.add(square(full), square(masked)), square(inverse));
  return tf.mean(tf.div(difference, tf.maximum(scale, SQUARE_MIN)));
}
