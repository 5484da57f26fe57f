/** Pairing, what is drawn: pictures and texts of each group. */
import { parseConfig, z } from "../../../base/schema.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { augmentSettings } from "../../augment.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { similaritySettings } from "../similarity-settings.ts";
import { drawRows, Groups, hasModality, Views } from "../views.ts";

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

export type PairingSettings = z.output<typeof settings>;

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function pairingSettings(values: unknown): PairingSettings {
  return parseConfig(settings, values, "objectives.pairing");
}

/** Two batches, pictures and texts, both view-major: the first picture of every group, then the second of every group, …. */
export function pairingSampler(context: SamplerContext): Sampler {
  const config = pairingSettings(context.settings);
  const { images, texts, labels } = config;
  const groups = new Groups(context, { image: 1, text: 1 });
  const rowsOf = new Views(context, config.augment);
  const languages = config.languages === undefined ? undefined : new Set(config.languages);
  return {
    draw(step) {
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
      const pictures = Array.from({ length: images }, (_, v) =>
        drawn.flatMap((group) =>
          group.pictures.slice(v, v + 1).map((row) => rowsOf.image(row, rng)),
        ),
      ).flat();
      const words = Array.from({ length: texts }, (_, v) =>
        drawn.flatMap((group) =>
          group.words.slice(v, v + 1).map((row) => rowsOf.text(row, rng.unit() < labels)),
        ),
      ).flat();
      return [pictures, words];
    },
  };
}
