/**
 * An objective is two halves: a sampler that draws the batches of a step, without tensors and in any thread, and the
 * loss over their embeddings. The trainer knows nothing of either. Registered in objectives/registry.ts, one line each.
 */
import type { Scalar, Tensor2D } from "../models/backend.ts";
import type { TokenBatch } from "../models/batch.ts";
import type { EncoderConfig } from "../models/config.ts";
import type { Scope } from "../models/module.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import type { SamplerFactory } from "./sampler.ts";

export interface Loss {
  /** What is minimised. */
  readonly total: Scalar;
  /** Named parts for the log, e.g. { contrastive, matryoshka64 }. Kept by the caller's tidy. */
  readonly parts: Readonly<Record<string, Scalar>>;
}

export interface LossContext {
  readonly encoder: EncoderConfig;
  /** Where the objective makes its own trainable parameters (temperature, predictor); saved with the optimiser, not with the encoder. */
  readonly scope: Scope;
  /** As for the sampler. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/**
 * @param embeddings  of each batch that the sampler drew, in its order: [rows, D], not normalised
 * Called inside a tidy that records gradients.
 */
export type EmbeddingLoss = (embeddings: readonly Tensor2D[]) => Loss;

export interface Objective {
  readonly sampler: SamplerFactory;
  readonly loss: (context: LossContext) => EmbeddingLoss;
}

/** A step's batches on the host, ready for one forward and backward pass. */
export interface PreparedStep {
  /** Sequences embedded in this step, for the rate. */
  readonly exampleCount: number;
  /** Inside tf.variableGrads' tidy: builds the graph and returns the loss. */
  loss(encoder: TransformerEncoder): Loss;
}

/** A step whose two halves can be done apart, with whatever has to happen between embedding and loss. */
export interface EmbeddingStep extends PreparedStep {
  readonly batches: readonly TokenBatch[];
  readonly lossOf: EmbeddingLoss;
}
