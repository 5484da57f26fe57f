/**
 * What the objectives on views draw: `views` rows of each group. With "augment" they are views of one row (SimCLR, Chen
 * et al., arXiv 2002.05709), with "variants" they are different rows, such as drawings of one emoji by different hands.
 */
import { z } from "../../base/schema.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { augmentSettings, type AugmentSettings } from "../augment.ts";
import type { Sampler, SamplerContext } from "../sampler.ts";
import { drawRows, Groups, hasModality, Views } from "./views.ts";

export const viewSettings = {
  modality: z.enum(["image", "text"]).default("image"),
  from: z.enum(["variants", "augment"]).default("variants"),
  /** Sequences of each group in a batch. */
  views: z.int().min(2).max(8).default(2),
  /** Texts only: probability that a row goes by its class's name instead of its own words. */
  labels: z.number().min(0).max(1).default(0),
  augment: augmentSettings.prefault({}),
} as const;

export interface ViewSettings {
  readonly modality: "image" | "text";
  readonly from: "variants" | "augment";
  readonly views: number;
  readonly labels: number;
  readonly augment: AugmentSettings;
}

/**
 * One batch, view-major: all groups in view 0, then all in view 1, ….
 * @param name  of the objective: its draws are independent of every other's
 */
export function viewsSampler(name: string, context: SamplerContext, config: ViewSettings): Sampler {
  const { modality, from, views, labels } = config;
  const groups = new Groups(context, { [modality]: from === "augment" ? 1 : 2 }, name);
  const rowsOf = new Views(context, config.augment);
  return {
    draw(step) {
      const rng = seededRng(context.seed, `${name}/${step}`);
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
