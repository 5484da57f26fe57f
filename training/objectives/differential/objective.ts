/**
 * Differential: what a mask and its inverse leave of an input should add up to the whole:
 * ‖E(full) − E(mask) − E(inverse)‖² / (‖E(full)‖² + ‖E(mask)‖² + ‖E(inverse)‖²); 0 perfect, 1 unrelated, 3 worst.
 * Source: seed, "Differential Loss"; protocol part 3 (self loss). Alone it is free to cheat (a bag of tokens has 0),
 * so it is meant as an addition to another objective.
 */
import { parseConfig, z } from "../../../base/schema.ts";
import { packTokens } from "../../../models/batch.ts";
import { tf, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import { drawMask, invert } from "../../../tokenizers/mask.ts";
import { MODALITIES } from "../../../tokenizers/modality.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { unitCount, type MaskedTokens } from "../../../tokenizers/tokenizer.ts";
import { augmentSettings } from "../../augment.ts";
import type { Objective, ObjectiveContext } from "../../objective.ts";
import { drawRows, Groups, hasModality, Tokens } from "../views.ts";

const settings = z.strictObject({
  modality: z.enum(["image", "text"]).default("image"),
});

/** Below this an embedding's square is taken for this: nothing is divided by zero. */
const SQUARE_MIN = 1e-6;

export function differential(context: ObjectiveContext): Objective {
  const { modality } = parseConfig(settings, context.settings, "objectives.differential");
  const groups = new Groups(context, { [modality]: 1 });
  const tokens = new Tokens(context, augmentSettings.parse({}));
  const ratio = MODALITIES[modality].maskRatio;
  return {
    name: "differential",
    prepare(step) {
      const rng = seededRng(context.seed, `differential/${step}`);
      const views: { full: MaskedTokens; masked: MaskedTokens; inverse: MaskedTokens }[] = [];
      for (const rows of groups.at(step)) {
        for (const row of drawRows(
          rows.filter((r) => hasModality(r, modality)),
          1,
          rng,
        )) {
          const sequence = modality === "image" ? tokens.plainImage(row) : tokens.text(row);
          const T = unitCount(sequence);
          if (T < 2) continue; // nothing to hide from a single unit
          const mask = drawMask(T, ratio, rng);
          views.push({
            full: { tokens: sequence },
            masked: { tokens: sequence, visible: mask.hidden },
            inverse: { tokens: sequence, visible: invert(mask).hidden },
          });
        }
      }
      const batch = packTokens([
        ...views.map((view) => view.full),
        ...views.map((view) => view.masked),
        ...views.map((view) => view.inverse),
      ]);
      return {
        exampleCount: batch.size,
        loss(encoder) {
          const [full, masked, inverse] = tf.split(encoder.forward(batch), 3) as [
            Tensor2D,
            Tensor2D,
            Tensor2D,
          ];
          return { total: selfLoss(full, masked, inverse), parts: {} };
        },
      };
    },
  };
}

/** Mean over rows of the self loss. @param full, masked, inverse [B, D] */
export function selfLoss(full: Tensor2D, masked: Tensor2D, inverse: Tensor2D): Scalar {
  const square = (x: Tensor2D) => tf.sum(tf.square(x), 1);
  const difference = square(tf.sub(tf.sub(full, masked), inverse));
  const scale = tf.add(tf.add(square(full), square(masked)), square(inverse));
  return tf.mean(tf.div(difference, tf.maximum(scale, SQUARE_MIN)));
}
