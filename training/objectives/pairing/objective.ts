/**
 * Pairing: pictures and texts of one group land together (CLIP, Radford et al., arXiv 2103.00020). Several pictures
 * of a group may each be paired with its text, and be held together among themselves by `within`: one forward pass
 * then serves search by words and search by picture.
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
  /** Pictures of each group in a batch. */
  images: z.int().min(1).max(8).default(1),
  /** Texts of each group in a batch. */
  texts: z.int().min(1).max(8).default(1),
  /** Weight of the pictures' (and texts') contrast among themselves, beside 1 for pictures against texts. */
  within: z.number().nonnegative().default(0),
  /** Variants of the texts to draw from, e.g. ["en", "en-tags"]; all if not given. */
  languages: z.array(z.string()).optional(),
  /** Probability that a group goes by its class's name instead of its own: what zero-shot classes are asked by. */
  labels: z.number().min(0).max(1).default(0),
  augment: augmentSettings.prefault({}),
});

export function pairing(context: ObjectiveContext): Objective {
  const config = parseConfig(settings, context.settings, "objectives.pairing");
  const { images, texts, within, labels } = config;
  const groups = new Groups(context, { image: 1, text: 1 });
  const tokens = new Tokens(context, config.augment);
  const across = new Similarity(context.scope, config);
  const amongImages = new Similarity(context.scope.child("within"), config);
  const cuts = context.encoder.config.matryoshka;
  const languages = config.languages === undefined ? undefined : new Set(config.languages);
  return {
    name: "pairing",
    prepare(step) {
      const rng = seededRng(context.seed, `pairing/${step}`);
      const drawn = groups.at(step).map((rows) => {
        const written = rows.filter((row) => hasModality(row, "text"));
        const chosen = written.filter((row) => languages?.has(row.variant ?? "") ?? true);
        return {
          pictures: drawRows(
            rows.filter((row) => hasModality(row, "image")),
            images,
            rng,
          ),
          words: drawRows(chosen.length > 0 ? chosen : written, texts, rng),
        };
      });
      const pictureBatch = packTokens(
        Array.from({ length: images }, (_, v) =>
          drawn.flatMap(({ pictures }) =>
            pictures.slice(v, v + 1).map((row) => tokens.image(row, rng)),
          ),
        ).flat(),
      );
      const wordBatch = packTokens(
        Array.from({ length: texts }, (_, v) =>
          drawn.flatMap(({ words }) =>
            words.slice(v, v + 1).map((row) => ({ tokens: tokens.text(row, rng.unit() < labels) })),
          ),
        ).flat(),
      );
      return {
        exampleCount: pictureBatch.size + wordBatch.size,
        loss(encoder) {
          const pictures = encoder.forward(pictureBatch);
          const words = encoder.forward(wordBatch);
          const acrossTerms: Scalar[] = [];
          const withinTerms: Scalar[] = [];
          for (const cut of cuts) {
            const pictureSets = splitRows(unitPrefix(pictures, cut), images);
            const wordSets = splitRows(unitPrefix(words, cut), texts);
            for (const a of pictureSets)
              for (const b of wordSets) acrossTerms.push(across.loss(a, b));
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
        },
      };
    },
  };
}
