/**
 * An objective makes the batches that it needs and the loss over them. The trainer knows nothing of either.
 * Registered in objectives/registry.ts, one line each.
 */
import type { Dataset } from "../datasets/dataset.ts";
import type { ImageStore } from "../datasets/images.ts";
import type { Scalar } from "../models/backend.ts";
import type { Scope } from "../models/module.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import type { TextTokenizer } from "../tokenizers/text/sentencepiece.ts";

export interface Loss {
  /** What is minimised. */
  readonly total: Scalar;
  /** Named parts for the log, e.g. { contrastive, matryoshka64 }. Kept by the caller's tidy. */
  readonly parts: Readonly<Record<string, Scalar>>;
}

/** A batch on the host, ready for one forward and backward pass. */
export interface PreparedStep {
  /** Sequences embedded in this step, for the rate. */
  readonly exampleCount: number;
  /** Inside tf.variableGrads' tidy: builds the graph and returns the loss. */
  loss(encoder: TransformerEncoder): Loss;
}

export interface Objective {
  readonly name: string;
  /**
   * The batch of step `step` (0, 1, 2, …): a pure function of (seed, step), so that resuming needs no sampler
   * state. Draw with seededRng(seed, `${name}/${step}`), order groups by pass with seededRng(seed, `pass/${pass}`).
   */
  prepare(step: number): PreparedStep;
}

export interface ObjectiveContext {
  readonly dataset: Dataset;
  /** Decoded pictures of the train and validation split; undefined if the recipe uses none. */
  readonly images: ImageStore | undefined;
  readonly tokenizer: TextTokenizer | undefined;
  readonly encoder: TransformerEncoder;
  /** Where the objective makes its own trainable parameters (temperature, predictor); saved with the optimiser, not with the encoder. */
  readonly scope: Scope;
  readonly seed: number;
  /** Groups in a batch. */
  readonly batchSize: number;
  /** The objective's own settings from TrainConfig.objectives[name], validated by the objective. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export type ObjectiveFactory = (context: ObjectiveContext) => Objective;
