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

  /**
   * Sums over visible tokens are divided by the length of the whole text, hidden tokens counted: what a mask and its
   * inverse leave adds up to the whole.
   * @param tokens [B·N, width]  @returns what the layers read, [B, width]
   */
  pool(tokens: Tensor2D, batch: IdBatch): Tensor2D {
    const { size: B, units: N } = batch;
    const share = new Float32Array(B * N);
    for (let b = 0; b < B; b++)
      for (let n = 0; n < N; n++)
        share[b * N + n] = (batch.visible[b * N + n] ?? 0) / Math.max(1, batch.lengths[b] ?? 0);
    return weightedSum(tokens, tf.tensor2d(share, [B, N]));
  }
}
