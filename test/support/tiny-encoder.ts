/** A random encoder of both modalities, small enough to be built in milliseconds. */
import type { ModelCard } from "../../models/card.ts";
import { parseEncoderConfig, type EncoderConfig } from "../../models/config.ts";

const imageOnly = {
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
    trim: false,
    maxPatches: 16,
  },
};

/** The same without a text tower. */
export const TINY_IMAGE_CONFIG: EncoderConfig = parseEncoderConfig(imageOnly);

export const TINY_CONFIG: EncoderConfig = parseEncoderConfig({
  ...imageOnly,
  text: { vocabularySize: 8192, width: 16, layers: 1, heads: 2, maxTokens: 64, head: 0 },
});

export const TINY_CARD: ModelCard = {
  name: "tiny",
  tags: ["test"],
  datasets: [{ name: "synthetic", licence: "Apache-2.0", digest: "0".repeat(64) }],
  training: { recipe: "none", seed: 7, steps: 0, seconds: 0, backend: "none" },
  metrics: [{ name: "R@10", value: 12.5, on: "synthetic, test split", floor: 3.2 }],
};
