/**
 * Contrastive, what is drawn: `views` rows of each group. With "augment" they are views of one row (SimCLR, Chen et
 * al., arXiv 2002.05709), with "variants" they are different rows, such as drawings of one emoji by different hands.
 */
import { parseConfig, z } from "../../../base/schema.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { augmentSettings } from "../../augment.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { similaritySettings } from "../similarity-settings.ts";
import { drawRows, Groups, hasModality, Views } from "../views.ts";

const settings = z.strictObject({
  ...similaritySettings,
  modality: z.enum(["image", "text"]).default("image"),
  from: z.enum(["variants", "augment"]).default("variants"),
  /** Sequences of each group in a batch. */
  views: z.int().min(2).max(8).default(2),
  /** Texts only: probability that a row goes by its class's name instead of its own words. */
  labels: z.number().min(0).max(1).default(0),
  augment: augmentSettings.prefault({}),
});

export type ContrastiveSettings = z.output<typeof settings>;

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function contrastiveSettings(values: unknown): ContrastiveSettings {
  return parseConfig(settings, values, "objectives.contrastive");
}

/** One batch, view-major: all groups in view 0, then all in view 1, …. */
export function contrastiveSampler(context: SamplerContext): Sampler {
  const config = contrastiveSettings(context.settings);
  const { modality, from, views, labels } = config;
  const groups = new Groups(context, { [modality]: from === "augment" ? 1 : 2 });
  const rowsOf = new Views(context, config.augment);
  return {
    draw(step) {
      const rng = seededRng(context.seed, `contrastive/${step}`);
      const drawn = groups.at(step).map((rows) => {
        const fitting = rows.filter((row) => hasModality(row, modality));
        const one = from === "augment" ? drawRows(fitting, 1, rng) : fitting;
        return drawRows(one, views, rng);
      });
      const batch = Array.from({ length: views }, (_, v) =>
        drawn.map((rows) => {
          const row = rows[v % rows.length] as (typeof rows)[number];
          return modality === "image"
            ? rowsOf.image(row, rng)
            : rowsOf.text(row, rng.unit() < labels);
        }),
      ).flat();
      return [batch];
    },
  };
}
