/**
 * Contrastive: rows of one group land together, apart from the other groups of the batch. `views` rows a group
 * are compared pair by pair; with "augment" they are views of one row (SimCLR, Chen et al., arXiv 2002.05709),
 * with "variants" they are different rows, such as drawings of one emoji by different hands.
 */
import { parseConfig, z } from "../../../base/schema.ts";
import { packTokens } from "../../../models/batch.ts";
import { tf, type Scalar } from "../../../models/backend.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { augmentSettings } from "../../augment.ts";
import type { Objective, ObjectiveContext } from "../../objective.ts";
import { Similarity, similaritySettings, splitRows, unitPrefix } from "../similarity.ts";
import { drawRows, Groups, hasModality, Tokens } from "../views.ts";

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

export function contrastive(context: ObjectiveContext): Objective {
  const config = parseConfig(settings, context.settings, "objectives.contrastive");
  const { modality, from, views, labels } = config;
  const groups = new Groups(context, { [modality]: from === "augment" ? 1 : 2 });
  const tokens = new Tokens(context, config.augment);
  const similarity = new Similarity(context.scope, config);
  const cuts = context.encoder.config.matryoshka;
  return {
    name: "contrastive",
    prepare(step) {
      const rng = seededRng(context.seed, `contrastive/${step}`);
      const drawn = groups.at(step).map((rows) => {
        const fitting = rows.filter((row) => hasModality(row, modality));
        const one = from === "augment" ? drawRows(fitting, 1, rng) : fitting;
        return drawRows(one, views, rng);
      });
      // View-major: all groups in view 0, then all in view 1, ….
      const inputs = Array.from({ length: views }, (_, v) =>
        drawn.map((rows) => {
          const row = rows[v % rows.length] as (typeof rows)[number];
          return modality === "image"
            ? tokens.image(row, rng)
            : { tokens: tokens.text(row, rng.unit() < labels) };
        }),
      ).flat();
      const batch = packTokens(inputs);
      return {
        exampleCount: inputs.length,
        loss(encoder) {
          const embeddings = encoder.forward(batch);
          const terms: Scalar[] = [];
          for (const cut of cuts) {
            const sets = splitRows(unitPrefix(embeddings, cut), views);
            for (const [i, a] of sets.entries())
              for (const b of sets.slice(i + 1)) terms.push(similarity.loss(a, b));
          }
          return { total: tf.div(tf.addN(terms), terms.length), parts: {} };
        },
      };
    },
  };
}
