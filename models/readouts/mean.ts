/** Readout of a text: the mean of its visible tokens, mapped to the embedding. */
import { tf, type Tensor2D } from "../backend.ts";
import type { IdBatch } from "../batch.ts";
import { Linear } from "../layers/linear.ts";
import type { Scope } from "../module.ts";
import type { StackLayer } from "../ops/linear-stack.ts";
import { weightedSum } from "../ops/mean-pool.ts";

export class MeanReadout {
  private readonly project: Linear;

  constructor(scope: Scope, options: { readonly width: number; readonly dimension: number }) {
    this.project = new Linear(scope, {
      inputs: options.width,
      outputs: options.dimension,
      bias: false,
    });
  }

  /** From pooled tokens, [B, width], to the embedding, [B, dimension]. */
  get layers(): readonly StackLayer[] {
    return [this.project.inStack()];
  }

  /** @param tokens [B·N, width]  @returns what the layers read, [B, width] */
  pool(tokens: Tensor2D, batch: IdBatch): Tensor2D {
    return weightedSum(tokens, sharesOf(batch));
  }
}

/**
 * What each token weighs in the mean, [B, N]. Sums over visible tokens are divided by the length of the whole text,
 * hidden tokens counted: what a mask and its inverse leave adds up to the whole.
 */
export function sharesOf({ size: B, units: N, visible, lengths }: IdBatch): Tensor2D {
  const shares = new Float32Array(B * N);
  for (let b = 0; b < B; b++)
    for (let n = 0; n < N; n++)
      shares[b * N + n] = (visible[b * N + n] ?? 0) / Math.max(1, lengths[b] ?? 0);
  return tf.tensor2d(shares, [B, N]);
}
