/**
 * The half of an objective that draws: which rows make up a step, and how their pictures are changed. No tensors here
 * nor in anything that a sampler imports, so that a worker thread which draws ahead starts in a moment
 * (training/input/).
 */
import type { Dataset, Example } from "../datasets/dataset.ts";
import type { ImageStore } from "../datasets/image-store.ts";
import type { EncoderConfig } from "../models/config.ts";
import type { Image } from "../tokenizers/tokenizer.ts";
import type { TextTokenizer } from "../tokenizers/text/sentencepiece.ts";
import { PATCH_SIDE } from "../tokenizers/units.ts";
import type { View } from "./augment.ts";

/** A picture as it will stand in a batch. Its pixels are not made yet, so a row costs next to nothing to draw. */
export interface PictureRow {
  readonly kind: "picture";
  readonly image: Image;
  /** How it is moved and tinted; undefined: not at all. */
  readonly view?: View;
  /** Ascending positions of the patches that may be seen; undefined = all. */
  readonly visible?: Uint32Array;
}

/** A text as it will stand in a batch. */
export interface TextRow {
  readonly kind: "text";
  /** Int32Array [units], shared with other rows: not to be changed. */
  readonly ids: Int32Array;
  /** Ascending positions of the ids that may be seen; undefined = all. */
  readonly visible?: Uint32Array;
}

export type Row = PictureRow | TextRow;

/** Tokens of the whole row, hidden ones counted. */
export function unitsOfRow(row: Row): number {
  return row.kind === "text"
    ? row.ids.length
    : (row.image.width / PATCH_SIDE) * (row.image.height / PATCH_SIDE);
}

/** Rows of one kind, which the encoder embeds in one pass; at least one. */
export type Rows = readonly Row[];

export interface Sampler {
  /**
   * The batches of step `step` (0, 1, 2, …), in the order that the objective's loss takes their embeddings in: a pure
   * function of (seed, step), so that resuming needs no state and any thread may draw any step. Draw with
   * seededRng(seed, `${name}/${step}`), order groups by pass with seededRng(seed, `pass/${pass}`).
   */
  draw(step: number): readonly Rows[];
}

/** An example as a sampler sees it: that it has a picture, and not where that comes from. */
export interface SampleExample extends Omit<Example, "image"> {
  readonly image?: unknown;
}

export interface SamplerContext {
  readonly dataset: Pick<Dataset, "name"> & { readonly examples: readonly SampleExample[] };
  /** Decoded pictures of the train split at least; undefined if the recipe uses none. */
  readonly images: Pick<ImageStore, "get"> | undefined;
  readonly tokenizer: Pick<TextTokenizer, "encode"> | undefined;
  readonly encoder: EncoderConfig;
  readonly seed: number;
  /** Groups in a batch. */
  readonly batchSize: number;
  /** The objective's own settings from TrainConfig.objectives[name], validated by the objective. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY, TOO_FEW_GROUPS (usage) */
export type SamplerFactory = (context: SamplerContext) => Sampler;
