/**
 * Pairing, the loss: pictures and texts of one group land together (CLIP, Radford et al., arXiv 2103.00020). Several
 * pictures of a group may each be paired with its text, and be held together among themselves by `within`: one forward
 * pass then serves search by words and search by picture.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar } from "../../../models/backend.ts";
import type { EmbeddingLoss, LossContext } from "../../objective.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { Similarity, splitRows } from "../similarity.ts";
import { pairingSettings } from "./sampler.ts";

export function pairingLoss(context: LossContext): EmbeddingLoss {
  const config = pairingSettings(context.settings);
  const { images, texts, within } = config;
  const across = new Similarity(context.scope, config);
  const amongImages = new Similarity(context.scope.child("within"), config);
  const cuts = context.encoder.matryoshka;
  return ([pictures, words]) => {
    assert(pictures !== undefined && words !== undefined, "the pairing sampler draws two batches");
    const acrossTerms: Scalar[] = [];
    const withinTerms: Scalar[] = [];
    for (const cut of cuts) {
      const pictureSets = splitRows(unitPrefix(pictures, cut), images);
      const wordSets = splitRows(unitPrefix(words, cut), texts);
      for (const a of pictureSets) for (const b of wordSets) acrossTerms.push(across.loss(a, b));
      for (const [i, a] of pictureSets.entries())
        for (const b of pictureSets.slice(i + 1)) withinTerms.push(amongImages.loss(a, b));
    }
    const paired = tf.div<Scalar>(tf.addN(acrossTerms), acrossTerms.length);
    if (within === 0 || withinTerms.length === 0) return { total: paired, parts: {} };
    const together = tf.div<Scalar>(tf.addN(withinTerms), withinTerms.length);
    return {
      total: tf.add(paired, tf.mul(together, within)),
      parts: { paired, within: together },
    };
  };
}
