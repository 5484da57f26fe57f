/**
 * Losses on a matrix of similarities of two aligned sets: row i's partner is column i, every other is a negative.
 * The gradient is written down and made with the loss: composed by tfjs it is 60 small ops, each dearer by its call
 * than by its work.
 */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Scalar, type Tensor, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";

/**
 * Cross-entropy of finding row i's partner among all, mean over rows and both directions. At chance it is ln(B).
 * Source: InfoNCE, van den Oord et al., arXiv 1807.03748.
 * @param similarities [B, B], already scaled
 */
export function infoNceLoss(similarities: Tensor2D): Scalar {
  return pairLoss("infoNceLoss", "SomaInfoNce", similarities, infoNceComposed);
}

/**
 * Every pair judged alone, Σ softplus(−z·logit) / B with z = 1 for partners and −1 for all else.
 * Source: Zhai et al., arXiv 2303.15343.
 * @param logits [B, B], already scaled and biased
 */
export function sigmoidLoss(logits: Tensor2D): Scalar {
  return pairLoss("sigmoidLoss", "SomaSigmoidLoss", logits, sigmoidLossComposed);
}

function pairLoss(
  name: string,
  kernel: string,
  similarities: Tensor2D,
  composed: (similarities: Tensor2D) => Scalar,
): Scalar {
  const [rows, columns] = similarities.shape;
  assert(rows === columns, `${name} of [${rows}, ${columns}], which is not square`);
  if (!isFused()) return composed(similarities);
  return differentiable([similarities], () => {
    const [loss, gradient] = callKernel(kernel, [similarities], 2) as [Tensor, Tensor];
    return {
      value: loss,
      saved: [gradient],
      gradient: (dy, saved) => [tf.mul(saved[0] as Tensor, dy)],
    };
  }) as Scalar;
}

/** The gradient is (rows' softmax + columns' softmax − 2·identity) / 2B. */
export function infoNceComposed(similarities: Tensor2D): Scalar {
  return differentiable([similarities], () => {
    const B = similarities.shape[0];
    const eye = tf.eye(B);
    const rows = tf.softmax(similarities);
    const columns = tf.transpose(tf.softmax(tf.transpose(similarities)));
    // The partner's share may underflow: its logarithm comes from the logits instead.
    const partners = tf.mul(tf.sum(tf.mul(similarities, eye)), 2);
    const all = tf.add(
      tf.sum(tf.logSumExp(similarities, 1)),
      tf.sum(tf.logSumExp(similarities, 0)),
    );
    return {
      value: tf.div(tf.sub(all, partners), 2 * B),
      saved: [tf.div(tf.sub(tf.add(rows, columns), tf.mul(eye, 2)), 2 * B)],
      gradient: (dy, saved) => [tf.mul(saved[0] as Tensor, dy)],
    };
  }) as Scalar;
}

export function sigmoidLossComposed(logits: Tensor2D): Scalar {
  const B = logits.shape[0];
  const signs = tf.sub(tf.mul(tf.eye(B), 2), 1);
  return tf.div(tf.sum(tf.softplus(tf.neg(tf.mul(signs, logits)))), B);
}
