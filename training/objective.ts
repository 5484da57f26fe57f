/**
 * An objective is two halves: a sampler that draws the batches of a step, without tensors and in any thread, and the
 * loss over their embeddings. The trainer knows nothing of either. Registered in objectives/registry.ts, one line each.
 */
import type { Scalar, Tensor2D } from "../models/backend.ts";
import type { TokenBatch } from "../models/batch.ts";
import type { EncoderConfig } from "../models/config.ts";
import type { Scope } from "../models/module.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import type { NamedArrays, NamedValues } from "./optimizer.ts";
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

/** One forward pass of a loss that runs the encoder itself. */
export interface Pass {
  readonly encoder: TransformerEncoder;
  /** Which batch of the training this is, 0, 1, 2, …: with the seed, what noise is a function of. */
  readonly draw: number;
}

/**
 * A loss that needs more than embeddings: token vectors, what was hidden, a teacher beside the encoder. It trains in one
 * process, as its rows cannot be embedded elsewhere.
 */
export interface PassLoss {
  /** Called inside a tidy that records gradients. @param batches  what the sampler drew, in its order */
  lossOf(batches: readonly TokenBatch[], pass: Pass): Loss;
  readonly state?: ObjectiveState;
}

/**
 * What an objective carries from step to step besides its parameters: a teacher, a queue. Saved with the optimiser, so
 * that a resumed run is the same run, and not with the encoder. Owns its tensors.
 */
export interface ObjectiveState {
  /** After each update. @param weights  of the encoder and the objectives by parameter name, where they lie */
  afterUpdate(weights: NamedValues): void;
  /** On the host, of this moment only: written out before the next update. */
  arrays(): NamedArrays;
  /** Go on from saved arrays, copied. @throws InvariantError if names or sizes are not those of `arrays` */
  restore(arrays: NamedArrays): void;
  dispose(): void;
}

export interface PassContext extends LossContext {
  /** As it was drawn, before any update or resuming: for a teacher to start from. */
  readonly trunk: TransformerEncoder;
  readonly seed: number;
}

/** An objective over embeddings: any number of processes can share it. */
export interface EmbeddingObjective {
  readonly sampler: SamplerFactory;
  readonly loss: (context: LossContext) => EmbeddingLoss;
}

/** An objective that runs the encoder itself. */
export interface PassObjective {
  readonly sampler: SamplerFactory;
  readonly pass: (context: PassContext) => PassLoss;
}

export type Objective = EmbeddingObjective | PassObjective;

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
