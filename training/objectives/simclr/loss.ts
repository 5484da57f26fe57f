/**
 * SimCLR, the loss (NT-Xent): of all other rows of the batch, of either view, a row finds its partner.
 * Source: Chen et al., arXiv 2002.05709.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import { softmaxCrossEntropy } from "../../../models/ops/cross-entropy.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import type { EmbeddingLoss, LossContext } from "../../objective.ts";
import { Projector } from "../projector.ts";
import { splitRows } from "../similarity.ts";
import { simclrSettings } from "./sampler.ts";

/** Taken from a row's similarity with itself, which is no answer. */
const NEVER = 1e9;

export function simclrLoss({ encoder, scope, settings }: LossContext): EmbeddingLoss {
  const { views, temperature, projector: hidden } = simclrSettings(settings);
  const inputs = encoder.dimension;
  const projector =
    hidden === 0 ? undefined : new Projector(scope, { inputs, hidden, outputs: inputs });
  const cuts = projector === undefined ? encoder.matryoshka : [inputs];
  return ([embeddings]) => {
    assert(embeddings !== undefined, "the simclr sampler draws one batch");
    const seen = projector?.forward(embeddings) ?? embeddings;
    const terms: Scalar[] = [];
    for (const cut of cuts) {
      const sets = splitRows(unitPrefix(seen, cut), views);
      for (const [i, a] of sets.entries())
        for (const b of sets.slice(i + 1)) terms.push(ntXent(a, b, temperature));
    }
    return { total: tf.div(tf.addN(terms), terms.length), parts: {} };
  };
}

/** Mean cross-entropy over all 2B rows; ln(2B − 1) at chance. @param a, b  [B, d], rows of length 1, row i partners */
export function ntXent(a: Tensor2D, b: Tensor2D, temperature: number): Scalar {
  const B = a.shape[0];
  const rows = tf.concat<Tensor2D>([a, b], 0);
  const similarities = tf.div(matMul(rows, rows, false, true), temperature);
  const logits = tf.sub<Tensor2D>(similarities, tf.mul(tf.eye(2 * B), NEVER));
  const partners = Int32Array.from({ length: 2 * B }, (_, i) => (i + B) % (2 * B));
  return softmaxCrossEntropy(logits, tf.tensor1d(partners, "int32"));
}
