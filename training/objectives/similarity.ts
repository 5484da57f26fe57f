/**
 * Losses on the similarity of two aligned sets of embeddings: row i of one belongs to row i of the other, every
 * other row is a negative. Summed over Matryoshka cuts: each prefix, normalised again, must do the task alone.
 * Source: InfoNCE, van den Oord et al., arXiv 1807.03748; sigmoid, Zhai et al., arXiv 2303.15343;
 * Matryoshka, Kusupati et al., arXiv 2205.13147.
 */
import { tf, type Scalar, type Tensor2D, type Variable } from "../../models/backend.ts";
import type { Scope } from "../../models/module.ts";
import { infoNceLoss, sigmoidLoss } from "../../models/ops/contrastive-loss.ts";
import { matMul } from "../../models/ops/mat-mul.ts";

/** Similarities are never multiplied by more than this (CLIP's cap). */
const SCALE_MAX = 100;

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
    if (this.kind === "infonce") return infoNceLoss(similarities);
    return sigmoidLoss(this.bias === undefined ? similarities : tf.add(similarities, this.bias));
  }
}

/** [count · B, D] cut into `count` tensors [B, D]. One is given as it is: tfjs's gradient of a split into one fails. */
export function splitRows(x: Tensor2D, count: number): readonly Tensor2D[] {
  return count === 1 ? [x] : tf.split<Tensor2D>(x, count);
}
