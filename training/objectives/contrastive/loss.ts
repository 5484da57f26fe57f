/**
 * Contrastive, the loss: rows of one group land together, apart from the other groups of the batch. The views of a
 * group are compared pair by pair.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar } from "../../../models/backend.ts";
import type { EmbeddingLoss, LossContext } from "../../objective.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { Similarity, splitRows } from "../similarity.ts";
import { contrastiveSettings } from "./sampler.ts";

export function contrastiveLoss(context: LossContext): EmbeddingLoss {
  const config = contrastiveSettings(context.settings);
  const similarity = new Similarity(context.scope, config);
  const cuts = context.encoder.matryoshka;
  return ([embeddings]) => {
    assert(embeddings !== undefined, "the contrastive sampler draws one batch");
    const terms: Scalar[] = [];
    for (const cut of cuts) {
      const sets = splitRows(unitPrefix(embeddings, cut), config.views);
      for (const [i, a] of sets.entries())
        for (const b of sets.slice(i + 1)) terms.push(similarity.loss(a, b));
    }
    return { total: tf.div(tf.addN(terms), terms.length), parts: {} };
  };
}
