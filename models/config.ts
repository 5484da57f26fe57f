/** What an encoder is made of: the content of a checkpoint's config.json. */
import { parseConfig, z } from "../base/schema.ts";

const count = z.int().positive();
/** Of the hidden layers inside transformer layers. */
const activation = z.enum(["relu", "gelu"]).default("relu");

const imageTower = z
  .strictObject({
    /** Output channels of the two convolutions inside each 16×16 patch. */
    channels: z.array(count).length(2),
    /** Width of a token after the stem. */
    width: count,
    /** Transformer layers over the tokens; 0 = none. */
    layers: z.int().nonnegative(),
    heads: count,
    activation,
    /** Side of the readout's anchor grid: tokens are resampled onto anchors × anchors places. */
    anchors: count,
    /** Hidden width of the network after the readout; 0 = none, and the embedding is a sum over patches if layers is 0. */
    head: z.int().nonnegative().default(0),
    /** Are white margins of a picture cut away before it is scaled? Drawings by different hands then fill their frames alike. */
    trim: z.boolean().default(false),
    /** A picture is scaled to a grid of at most this many patches before training and embedding (network: 196). */
    maxPatches: count.max(196),
  })
  .superRefine(splitsAmongHeads);

const textTower = z
  .strictObject({
    vocabularySize: count,
    width: count,
    layers: z.int().nonnegative(),
    heads: count,
    activation,
    /** Tokens of a text at most; the rest is cut. */
    maxTokens: count.max(512),
    /** Hidden width of the network after the readout; 0 = none. */
    head: z.int().nonnegative().default(0),
  })
  .superRefine(splitsAmongHeads);

const encoderConfig = z
  .strictObject({
    architecture: z.literal("transformer"),
    /** Length of an embedding. */
    dimension: count.max(4096),
    /** Prefix lengths trained to stand alone, ascending; the last is `dimension`. */
    matryoshka: z.array(count).min(1),
    image: imageTower.optional(),
    text: textTower.optional(),
  })
  .superRefine(({ matryoshka, dimension }, context) => {
    const ascending = matryoshka.every((cut, i) => cut > (matryoshka[i - 1] ?? 0));
    if (ascending && matryoshka.at(-1) === dimension) return;
    const message = `[${matryoshka.join(", ")}] must ascend and end in the dimension, ${dimension}`;
    context.addIssue({ code: "custom", path: ["matryoshka"], message });
  });

export type ImageTowerConfig = z.output<typeof imageTower>;
export type TextTowerConfig = z.output<typeof textTower>;
export type EncoderConfig = z.output<typeof encoderConfig>;

/** @throws SomaError for unknown keys and wrong types, naming the place. */
export function parseEncoderConfig(value: unknown, where = "encoder config"): EncoderConfig {
  return parseConfig(encoderConfig, value, where);
}

/** Attention gives each head an equal part of a token. Without layers nobody asks. */
function splitsAmongHeads(
  tower: { readonly width: number; readonly heads: number; readonly layers: number },
  context: z.RefinementCtx,
): void {
  const { width, heads, layers } = tower;
  if (layers === 0 || width % heads === 0) return;
  const message = `width ${width} is not a multiple of ${heads} heads`;
  context.addIssue({ code: "custom", path: ["heads"], message });
}
