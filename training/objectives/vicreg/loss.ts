/**
 * VICReg, the loss: views agree, every number keeps varying over the batch, and no two numbers say the same. No
 * negatives: the variance term is what stands against collapse.
 * Source: Bardes et al., arXiv 2105.04906 (batch norm in its projector is left out: rows here stay independent).
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import type { EmbeddingLoss, LossContext } from "../../objective.ts";
import { Projector } from "../projector.ts";
import { splitRows } from "../similarity.ts";
import { vicregSettings } from "./sampler.ts";

/** Inside the root of the variance, whose slope at 0 is infinite. */
const VARIANCE_MIN = 1e-4;

export function vicregLoss({ encoder, scope, settings }: LossContext): EmbeddingLoss {
  const { views, invariance, variance, covariance, projector: hidden } = vicregSettings(settings);
  const inputs = encoder.dimension;
  const projector =
    hidden === 0 ? undefined : new Projector(scope, { inputs, hidden, outputs: hidden });
  return ([embeddings]) => {
    assert(embeddings !== undefined, "the vicreg sampler draws one batch");
    const sets = splitRows(projector?.forward(embeddings) ?? embeddings, views);
    const agreement: Scalar[] = [];
    for (const [i, a] of sets.entries())
      for (const b of sets.slice(i + 1)) agreement.push(tf.mean(tf.square(tf.sub(a, b))));
    const meanOf = (terms: readonly Scalar[]): Scalar => tf.div(tf.addN([...terms]), terms.length);
    const parts = {
      invariance: meanOf(agreement),
      variance: meanOf(sets.map(varianceTerm)),
      covariance: meanOf(sets.map(covarianceTerm)),
    };
    const total = tf.addN([
      tf.mul<Scalar>(parts.invariance, invariance),
      tf.mul<Scalar>(parts.variance, variance),
      tf.mul<Scalar>(parts.covariance, covariance),
    ]);
    return { total, parts };
  };
}

/** Mean over numbers of max(0, 1 − standard deviation over the batch). @param x [B, D], B ≥ 2 */
export function varianceTerm(x: Tensor2D): Scalar {
  const B = x.shape[0];
  const centred = tf.sub(x, tf.mean(x, 0, true));
  const variance = tf.div(tf.sum(tf.square(centred), 0), B - 1);
  return tf.mean(tf.relu(tf.sub(1, tf.sqrt(tf.add(variance, VARIANCE_MIN)))));
}

/** Sum of the squares of all covariances of two different numbers, over D. @param x [B, D], B ≥ 2 */
export function covarianceTerm(x: Tensor2D): Scalar {
  const [B, D] = x.shape;
  const centred = tf.sub<Tensor2D>(x, tf.mean(x, 0, true));
  const covariances = tf.div(matMul(centred, centred, true, false), B - 1); // [D, D]
  return tf.div(tf.sum(tf.square(tf.mul(covariances, tf.sub(1, tf.eye(D))))), D);
}
