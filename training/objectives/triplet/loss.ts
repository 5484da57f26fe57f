/**
 * Triplet, the loss: an anchor is nearer to its partner than to a negative, by a margin. Which negative is chosen makes
 * the method: the nearest overall lets training collapse early, a random one soon teaches nothing; semi-hard ones are
 * farther than the partner, yet near.
 * Source: FaceNet, Schroff et al., arXiv 1503.03832.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import type { EmbeddingLoss, LossContext } from "../../objective.ts";
import { splitRows } from "../similarity.ts";
import { tripletSettings } from "./sampler.ts";

type Mining = "semi-hard" | "hard";

export function tripletLoss(context: LossContext): EmbeddingLoss {
  const { views, margin, mining } = tripletSettings(context.settings);
  const cuts = context.encoder.matryoshka;
  return ([embeddings]) => {
    assert(embeddings !== undefined, "the triplet sampler draws one batch");
    const terms: Scalar[] = [];
    for (const cut of cuts) {
      const sets = splitRows(unitPrefix(embeddings, cut), views);
      for (const [i, a] of sets.entries())
        for (const b of sets.slice(i + 1))
          terms.push(
            minedTriplets(a, b, { margin, mining }),
            minedTriplets(b, a, { margin, mining }),
          );
    }
    return { total: tf.div(tf.addN(terms), terms.length), parts: {} };
  };
}

/**
 * Mean over anchors of max(0, margin + d(anchor, partner) − d(anchor, negative)), d the squared distance.
 * @param anchors, others  [B, d], B ≥ 2, rows of length 1: row i of one is row i's partner, the rest are its negatives
 */
export function minedTriplets(
  anchors: Tensor2D,
  others: Tensor2D,
  { margin, mining }: { readonly margin: number; readonly mining: Mining },
): Scalar {
  const B = anchors.shape[0];
  const distances = tf.sub<Tensor2D>(2, tf.mul(matMul(anchors, others, false, true), 2)); // [B, B]
  const chosen = chooseNegatives(distances.dataSync<"float32">(), B, mining);
  const partner = tf.sum(tf.mul(distances, tf.eye(B)), 1);
  const negative = tf.sum(tf.mul(distances, chosen), 1);
  return tf.mean(tf.relu(tf.add(tf.sub(partner, negative), margin)));
}

/**
 * For each anchor one negative, as a row with a single 1: [B, B]. Semi-hard: the nearest that is farther than the
 * partner; where none is, the farthest.
 */
function chooseNegatives(distances: Float32Array, B: number, mining: Mining): Tensor2D {
  const chosen = new Float32Array(B * B);
  for (let i = 0; i < B; i++) {
    const partner = distances[i * B + i] ?? 0;
    let nearest = -1;
    let farthest = -1;
    for (let j = 0; j < B; j++) {
      if (j === i) continue;
      const d = distances[i * B + j] ?? 0;
      if (farthest < 0 || d > (distances[i * B + farthest] ?? 0)) farthest = j;
      if (mining === "semi-hard" && d <= partner) continue;
      if (nearest < 0 || d < (distances[i * B + nearest] ?? 0)) nearest = j;
    }
    chosen[i * B + (nearest < 0 ? farthest : nearest)] = 1;
  }
  return tf.tensor2d(chosen, [B, B]);
}
