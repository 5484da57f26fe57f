/**
 * Losses on the similarity of two aligned sets of embeddings: row i of one belongs to row i of the other, every
 * other row is a negative. Summed over Matryoshka cuts: each prefix, normalised again, must do the task alone.
 * Source: InfoNCE, van den Oord et al., arXiv 1807.03748; sigmoid, Zhai et al., arXiv 2303.15343;
 * Matryoshka, Kusupati et al., arXiv 2205.13147.
 */
import {
  matMul,
  tf,
  type Scalar,
  type Tensor,
  type Tensor2D,
  type Variable,
} from "../../models/backend.ts";
import type { Scope } from "../../models/module.ts";

/** Similarities are never multiplied by more than this (CLIP's cap). */
const SCALE_MAX = 100;
const EPSILON = 1e-12;

/** The learned scale (and for the sigmoid, bias) of similarities. */
export class Similarity {
  private readonly kind: "infonce" | "sigmoid";
  private readonly logScale: Variable;
  private readonly bias: Variable | undefined;

  constructor(
    scope: Scope,
    settings: { readonly loss: "infonce" | "sigmoid"; readonly temperature: number },
  ) {
    this.kind = settings.loss;
    this.logScale = scope.parameter("logScale", [], {
      kind: "constant",
      value: -Math.log(settings.temperature),
    });
    this.bias =
      settings.loss === "sigmoid"
        ? scope.parameter("bias", [], { kind: "constant", value: -10 })
        : undefined;
  }

  /** @param a, b  [B, d], rows of unit length  @returns mean loss per row, both directions */
  loss(a: Tensor2D, b: Tensor2D): Scalar {
    const scale = tf.minimum(tf.exp(this.logScale), SCALE_MAX);
    const similarities = tf.mul<Tensor2D>(matMul(a, b, false, true), scale); // [B, B]
    return this.kind === "infonce" ? infoNce(similarities) : this.sigmoid(similarities);
  }

  private sigmoid(similarities: Tensor2D): Scalar {
    const B = similarities.shape[0];
    const logits = this.bias === undefined ? similarities : tf.add(similarities, this.bias);
    const signs = tf.sub(tf.mul(tf.eye(B), 2), 1);
    return tf.div(tf.sum(tf.softplus(tf.neg(tf.mul(signs, logits)))), B);
  }
}

/**
 * Cross-entropy of finding row i's partner among all, mean over rows and both directions. At chance it is ln(B).
 * The gradient is written down, (rows' softmax + columns' softmax − 2·identity) / 2B: composed by tfjs it is 60 small
 * ops, each dearer by its call than by its work.
 */
function infoNce(similarities: Tensor2D): Scalar {
  const withGradient = tf.customGrad((input, save) => {
    const logits = input as Tensor2D;
    const B = logits.shape[0];
    const eye = tf.eye(B);
    const rows = tf.softmax(logits);
    const columns = tf.transpose(tf.softmax(tf.transpose(logits)));
    // The partner's share may underflow: its logarithm comes from the logits instead.
    const partners = tf.mul(tf.sum(tf.mul(logits, eye)), 2);
    const all = tf.add(tf.sum(tf.logSumExp(logits, 1)), tf.sum(tf.logSumExp(logits, 0)));
    const gradient = tf.div(tf.sub(tf.add(rows, columns), tf.mul(eye, 2)), 2 * B);
    (save as (tensors: Tensor[]) => void)([gradient]);
    return {
      value: tf.div(tf.sub(all, partners), 2 * B),
      gradFunc: (dy: Tensor, saved: Tensor[]) => tf.mul(saved[0] as Tensor, dy),
    };
  });
  return withGradient(similarities) as Scalar;
}

/** The first `cut` numbers of each embedding, scaled to unit length. [B, D] → [B, cut] */
export function unitPrefix(embeddings: Tensor2D, cut: number): Tensor2D {
  const [B, D] = embeddings.shape;
  const prefix = cut === D ? embeddings : tf.slice(embeddings, [0, 0], [B, cut]);
  const square = tf.sum(tf.square(prefix), 1, true);
  return tf.mul(prefix, tf.rsqrt(tf.add(square, EPSILON)));
}

/** [count · B, D] cut into `count` tensors [B, D]. One is given as it is: tfjs's gradient of a split into one fails. */
export function splitRows(x: Tensor2D, count: number): readonly Tensor2D[] {
  return count === 1 ? [x] : tf.split<Tensor2D>(x, count);
}
