/**
 * Recipes: named overrides of the defaults, each a whole experiment that one command runs.
 * `soma train RECIPE --print-config` shows what comes out.
 */
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import type { ConfigLayer } from "./config.ts";

export interface Recipe {
  readonly name: string;
  readonly summary: string;
  readonly config: ConfigLayer;
}

/** Patches apart, then placed: no attention, which in minutes costs more steps than it is worth. */
const IMAGE_TOWER = {
  channels: [64, 128],
  width: 128,
  layers: 0,
  heads: 4,
  anchors: 4,
  head: 1024,
  trim: true,
  maxPatches: 16,
};

const TEXT_TOWER = {
  vocabularySize: 8192,
  width: 256,
  layers: 0,
  heads: 4,
  maxTokens: 64,
  head: 0,
};

/** Found for 1,300 concepts: strong decay keeps what is learned from being learned by heart. */
const EMOJI_TRAINING = { batchSize: 86, weightDecay: 3, betas: [0.9, 0.99] };

const EMOJI_AUGMENT = {
  rotation: 0.25,
  zoom: 0.2,
  stretch: 0.15,
  shift: 0.08,
  tint: 0.1,
  brightness: 0.05,
  hide: 0.1,
};

const MATRYOSHKA = [32, 64, 128, 256];

export const RECIPES: readonly Recipe[] = [
  {
    name: "emoji-image",
    summary: "pictures of one concept drawn by different hands land together",
    config: {
      dataset: "emoji",
      seconds: 150,
      encoder: {
        architecture: "transformer",
        dimension: 256,
        matryoshka: MATRYOSHKA,
        image: IMAGE_TOWER,
      },
      ...EMOJI_TRAINING,
      objectives: {
        contrastive: { weight: 1, modality: "image", views: 3, augment: EMOJI_AUGMENT },
      },
    },
  },
  {
    name: "emoji-image-text",
    summary: "pictures and their names in one space: search by words, zero-shot classes",
    config: {
      dataset: "emoji",
      seconds: 150,
      encoder: {
        architecture: "transformer",
        dimension: 256,
        matryoshka: MATRYOSHKA,
        image: IMAGE_TOWER,
        text: TEXT_TOWER,
      },
      ...EMOJI_TRAINING,
      objectives: {
        pairing: {
          weight: 1,
          images: 3,
          texts: 1,
          within: 1,
          labels: 0.1,
          languages: ["en", "en-tags"],
          augment: EMOJI_AUGMENT,
        },
      },
    },
  },
  {
    name: "wordnet-text",
    summary: "a word and its definition land together",
    config: {
      dataset: "wordnet",
      seconds: 150,
      encoder: {
        architecture: "transformer",
        dimension: 256,
        matryoshka: MATRYOSHKA,
        text: { ...TEXT_TOWER, head: 1024 },
      },
      batchSize: 256,
      weightDecay: 1,
      objectives: { contrastive: { weight: 1, modality: "text", views: 2, labels: 0.05 } },
    },
  },
  {
    name: "tiny",
    summary:
      "made-up pictures, a toy encoder, seconds on one core: for tests, docs and a first look",
    config: {
      dataset: "synthetic",
      steps: 60,
      batchSize: 32,
      encoder: {
        architecture: "transformer",
        dimension: 32,
        matryoshka: [8, 16, 32],
        image: {
          channels: [8, 16],
          width: 16,
          layers: 1,
          heads: 2,
          anchors: 2,
          head: 0,
          maxPatches: 16,
        },
      },
      objectives: { contrastive: { weight: 1 } },
      validation: { everySeconds: 0, everySteps: 20, groups: 64 },
      collapse: { everySteps: 20, examples: 32 },
      logEverySteps: 5,
    },
  },
];

/** @throws SomaError RECIPE_UNKNOWN (notFound) naming the nearest */
export function findRecipe(name: string): Recipe {
  const recipe = RECIPES.find((entry) => entry.name === name);
  if (recipe !== undefined) return recipe;
  const names = RECIPES.map((entry) => entry.name);
  const nearest = nearestName(name, names);
  throw new SomaError({
    code: "RECIPE_UNKNOWN",
    kind: "notFound",
    what: `there is no recipe "${name}"`,
    next: nearest === undefined ? `there are ${names.join(", ")}` : `did you mean ${nearest}?`,
  });
}
