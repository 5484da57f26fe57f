/** Differential, what is drawn: a row of each group, whole, under a mask, and under the inverse of that mask. */
import { parseConfig, z } from "../../../base/schema.ts";
import { drawMask, invert } from "../../../tokenizers/mask.ts";
import { MODALITIES } from "../../../tokenizers/modality.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { augmentSettings } from "../../augment.ts";
import { unitsOfRow, type Row, type Sampler, type SamplerContext } from "../../sampler.ts";
import { drawRows, Groups, hasModality, Views } from "../views.ts";

const settings = z.strictObject({
  modality: z.enum(["image", "text"]).default("image"),
});

/** One batch: all rows whole, then all under their masks, then all under the inverses. */
export function differentialSampler(context: SamplerContext): Sampler {
  const { modality } = parseConfig(settings, context.settings, "objectives.differential");
  const groups = new Groups(context, { [modality]: 1 });
  const rowsOf = new Views(context, augmentSettings.parse({}));
  const ratio = MODALITIES[modality].maskRatio;
  return {
    draw(step) {
      const rng = seededRng(context.seed, `differential/${step}`);
      const full: Row[] = [];
      const masked: Row[] = [];
      const inverse: Row[] = [];
      for (const rows of groups.at(step)) {
        for (const row of drawRows(
          rows.filter((r) => hasModality(r, modality)),
          1,
          rng,
        )) {
          const whole = modality === "image" ? rowsOf.plainImage(row) : rowsOf.text(row);
          const T = unitsOfRow(whole);
          if (T < 2) continue; // nothing to hide from a single unit
          const mask = drawMask(T, ratio, rng);
          full.push(whole);
          masked.push({ ...whole, visible: mask.hidden });
          inverse.push({ ...whole, visible: invert(mask).hidden });
        }
      }
      return [[...full, ...masked, ...inverse]];
    },
  };
}
